"""The Protocol that every backend follows, and the values that pass through it.

A backend streams Deltas. For a failure it raises BackendError; it never returns text that describes one.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from her.types import Message, Sampling, Value

FinishReason = Literal["stop", "length"]
CHOICES_KEPT = 24
"""Tokens at the end of an answer whose log-probabilities are kept: a verdict or a score is its last line, of a dozen tokens."""
LEAST_LOGPROB = -1e4
"""Stands for minus infinity, which JSON cannot say; servers send -9999 or -100."""


class Usage(Value):
    """Token counts as the server or the tokenizer reported them."""

    prompt_tokens: int
    completion_tokens: int


class Delta(Value):
    """One piece of a streamed answer.

    Args:
        text: content.
        reasoning: text of an API-native reasoning field; it becomes system_thinking.
        finish: set on the last delta only.
        usage: set on the last delta, where it is known.
        model: name that the server answered under, on the last delta; empty where it is the one that was asked.
    """

    text: str = ""
    reasoning: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None
    model: str = ""


class TokenChoice(Value):
    """One token of an answer, and what the model might have written in its place.

    Args:
        text: the token that was written.
        logprobs: texts with their natural log-probabilities, that of `text` included.
    """

    text: str
    logprobs: tuple[tuple[str, float], ...]


class Completion(Value):
    """One whole answer: the deltas joined.

    Args:
        choices: its last `CHOICES_KEPT` tokens, where log-probabilities were asked for and the backend gives them.
        model: as in `Delta`.
    """

    text: str
    reasoning: str = ""
    finish: FinishReason
    usage: Usage | None = None
    choices: tuple[TokenChoice, ...] = ()
    model: str = ""


class Description(Value):
    """Name and limits of a backend, for badges, records and the token meter. Holds no key.

    Args:
        spec: the spec it was opened with, without credentials.
        model: name that every generation is recorded with.
        revision: commit or hash; empty when unknown.
        context: longest prompt plus reply in tokens.
        scripted: True when no model is connected and lines are written ones.
        counts_exactly: True when `count_tokens` uses the model's own tokenizer.
    """

    spec: str
    model: str
    revision: str = ""
    context: int = 8192
    scripted: bool = False
    counts_exactly: bool = False


@runtime_checkable
class Backend(Protocol):
    """Continues messages. Several tasks may call its methods at once."""

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream the next assistant message. When the last message is the assistant's, continue that one.

        Raises:
            BackendError: with one of `her.errors.Reason`. Deltas that were yielded before it stay valid.
        """
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the next assistant message whole; raises as `stream`."""
        ...

    def describe(self) -> Description:
        """Describe this backend without a call to the model."""
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages as a prompt; an estimate unless `counts_exactly`."""
        ...

    async def check(self) -> str:
        """Test that the backend answers. Return one sentence, or raise BackendError."""
        ...

    async def close(self) -> None:
        """Free connections and memory."""
        ...


@runtime_checkable
class WholeAnswerBackend(Protocol):
    """A backend with a cheaper way for many calls: answers that are not streamed, following a JSON schema where it can."""

    async def ask(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        schema: Mapping[str, Any] | None = None,
        seconds: float = 600,
        choices: int = 0,
    ) -> Completion:
        """Return the next assistant message whole, within `seconds`, with so many `choices` for each of its last tokens.

        Raises:
            BackendError: as `Backend.stream`, and `bad_request` when the backend takes no schema or gives no log-probabilities.
        """
        ...


class TableOfAbilities(Protocol):
    """Table of what a server can do."""

    def table(self) -> str:
        """Return one ability a line."""
        ...


@runtime_checkable
class AbleBackend(Protocol):
    """A backend that can try what its server can do."""

    async def abilities(self) -> TableOfAbilities:
        """Try it with a few short calls; raises BackendError when the server does not answer at all."""
        ...


async def join_deltas(deltas: AsyncIterator[Delta]) -> Completion:
    """Return the whole answer that these deltas make up."""
    text: list[str] = []
    reasoning: list[str] = []
    last = Delta()
    async for last in deltas:
        text.append(last.text)
        reasoning.append(last.reasoning)
    return Completion(
        text="".join(text),
        reasoning="".join(reasoning),
        finish=last.finish or "stop",
        usage=last.usage,
        model=last.model,
    )


def replace_surrogates(text: str) -> str:
    """Join surrogate pairs and replace lone surrogates by U+FFFD, so that the text can be encoded as UTF-8."""
    # JSON allows "\\ud83d\\ude00" in two escapes, and some servers split the pair over two events.
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
