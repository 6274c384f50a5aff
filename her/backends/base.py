"""What continues messages: the Protocol every backend keeps, and the values that cross it.

A backend streams Deltas and raises BackendError, nothing else. It never returns text for a failure.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from her.types import Message, Sampling, Value

FinishReason = Literal["stop", "length"]


class Usage(Value):
    """Token counts as the server or tokenizer reported them."""

    prompt_tokens: int
    completion_tokens: int


class Delta(Value):
    """A piece of an answer. `reasoning` is text from an API-native reasoning field and becomes system_thinking.

    The last delta carries `finish`; `usage` comes with it when it is known.
    """

    text: str = ""
    reasoning: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None


class Completion(Value):
    """A whole answer, the deltas joined."""

    text: str
    reasoning: str = ""
    finish: FinishReason
    usage: Usage | None = None


class Description(Value):
    """What a backend is, for badges, records and the token meter. Holds no secret and no key.

    Args:
        spec: the spec it was opened with, without credentials.
        model: model name as recorded with every generation.
        revision: commit, hash or empty when unknown.
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
    """Continues messages. All methods may be called from several tasks at once."""

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream the next assistant message; when the last message is the assistant's, continue it.

        Raises:
            BackendError: with one of `her.errors.Reason`; deltas already yielded stay valid.
        """
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The same, whole."""
        ...

    def describe(self) -> Description:
        """What this backend is; no call to the model."""
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of these messages as a prompt; an estimate unless `counts_exactly`."""
        ...

    async def check(self) -> str:
        """Ask the backend for a sign of life; one sentence on success, BackendError otherwise."""
        ...

    async def close(self) -> None:
        """Free connections and memory."""
        ...


@runtime_checkable
class WholeAnswerBackend(Protocol):
    """A backend that has a cheaper door for many calls: whole answers, held to a JSON schema where it can."""

    async def ask(
        self, messages: Sequence[Message], sampling: Sampling, *, schema: Mapping[str, Any] | None = None, seconds: float = 600
    ) -> Completion:
        """As `complete`, within `seconds`.

        Raises:
            BackendError: also `bad_request` when it takes no schema.
        """
        ...


async def join_deltas(deltas: AsyncIterator[Delta]) -> Completion:
    """A whole answer from its deltas."""
    text: list[str] = []
    reasoning: list[str] = []
    last = Delta()
    async for last in deltas:
        text.append(last.text)
        reasoning.append(last.reasoning)
    return Completion(text="".join(text), reasoning="".join(reasoning), finish=last.finish or "stop", usage=last.usage)


def replace_surrogates(text: str) -> str:
    """The text with surrogate pairs joined and lone surrogates replaced by U+FFFD, so that it can be sent and stored."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
