"""Try what a server can do with a few short calls, and make a table of what came of them, for `her backends check`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from her.backends.base import Completion, Delta, Description
from her.backends.openai_terms import Terms
from her.errors import BackendError
from her.types import Message, Sampling, Value


class TriedBackend(Protocol):
    """The part of the OpenAI backend that is tried; its module imports this one."""

    @property
    def terms(self) -> Terms:  # noqa: D102
        ...

    @property
    def context_known(self) -> bool:  # noqa: D102
        ...

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:  # noqa: D102
        ...

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:  # noqa: D102
        ...

    async def ask(self, messages: Sequence[Message], sampling: Sampling, *, seconds: float = 600, choices: int = 0) -> Completion:  # noqa: D102
        ...

    def describe(self) -> Description:  # noqa: D102
        ...


_HELLO = Message(role="user", content="Say hello in one short sentence.")
_COUNT = Message(role="user", content="Count from one to nine, in words.")
_SHORT = Sampling(max_tokens=48, temperature=0)


class Ability(Value):
    """One line of the table: what, whether the server can do it (None: it could not be tried), and what was seen."""

    name: str
    can: bool | None
    seen: str


class Abilities(NamedTuple):
    """Findings: the sentence of `check`, the table, and what the server refused on the way."""

    said: str
    rows: tuple[Ability, ...]
    refused: tuple[str, ...]

    def table(self) -> str:
        """Return the table as text, one ability a line."""
        marks = {True: "yes", False: "no", None: "?"}
        lines = [f"  {row.name:<18} {marks[row.can]:<4} {row.seen}" for row in self.rows]
        return "\n".join([self.said, *lines, *(f"  It {sentence}." for sentence in self.refused)])


async def probe(backend: TriedBackend, said: str) -> Abilities:
    """Try each ability with at most one short call; a call that fails makes its line `no`, with the reason."""
    rows = [await _tried(name, trial, backend) for name, trial in _TRIALS]
    context = backend.describe().context if backend.context_known else 0
    rows.append(
        Ability(name="context length", can=bool(context), seen=f"{context:,} tokens" if context else "the server does not say it")
    )
    return Abilities(said, tuple(rows), tuple(backend.terms.sentences()))


async def _tried(name: str, trial: Callable[[TriedBackend], Awaitable[Ability]], backend: TriedBackend) -> Ability:
    try:
        return await trial(backend)
    except BackendError as error:
        return Ability(name=name, can=False, seen=str(error))


async def _streaming(backend: TriedBackend) -> Ability:
    pieces, reasoning, usage = 0, 0, None
    async for delta in backend.stream([_HELLO], _SHORT):
        pieces += bool(delta.text or delta.reasoning)
        reasoning += len(delta.reasoning)
        usage = delta.usage or usage
    counted = f"{usage.completion_tokens} tokens counted" if usage else "tokens are not counted"
    seen = f"{pieces} pieces, {counted}" if pieces > 1 else f"the whole answer came at once, {counted}"
    return Ability(name="streaming", can=pieces > 1, seen=seen)


async def _reasoning(backend: TriedBackend) -> Ability:
    answer = await backend.complete([_HELLO], _SHORT)
    seen = (
        f"{len(answer.reasoning)} characters in a field of its own"
        if answer.reasoning
        else "none came; the model may write it as text"
    )
    return Ability(name="reasoning field", can=bool(answer.reasoning), seen=seen)


async def _seed(backend: TriedBackend) -> Ability:
    drawn = _SHORT.model_copy(update={"temperature": 1.0, "seed": 7, "max_tokens": 24})
    first, second = [await backend.complete([_COUNT], drawn) for _ in range(2)]
    if "seed" in backend.terms.dropped:
        return Ability(name="seed", can=False, seen="refused; replies cannot be repeated")
    same = (first.text, first.reasoning) == (second.text, second.reasoning)
    return Ability(name="seed", can=same, seen="two answers with one seed were " + ("equal" if same else "different"))


async def _continuing(backend: TriedBackend) -> Ability:
    begun = "one, two, three, four,"
    answer = await backend.complete([_COUNT, Message(role="assistant", content=begun)], _SHORT)
    anew = answer.text.strip().lower().startswith("one")
    ways = {
        "flags": "the last message is continued",
        "plain": "without vLLM's flags",
        "prefix": "with prefix: true",
        "asked": "by asking for it in a message",
    }
    seen = "it begins anew; the playground merges the two" if anew else ways[backend.terms.continuing]
    return Ability(name="continue", can=not anew and backend.terms.continuing != "asked", seen=seen)


async def _stop_words(backend: TriedBackend) -> Ability:
    answer = await backend.complete([_COUNT], _SHORT.model_copy(update={"stop": ("three",)}))
    if "stop" in backend.terms.dropped:
        return Ability(name="stop words", can=False, seen="refused")
    kept = "three" not in answer.text.lower()
    return Ability(name="stop words", can=kept, seen="kept" if kept else "written all the same")


async def _logprobs(backend: TriedBackend) -> Ability:
    answer = await backend.ask([_HELLO], _SHORT.model_copy(update={"max_tokens": 8}), seconds=120, choices=2)
    return Ability(name="log-probabilities", can=bool(answer.choices), seen="sent" if answer.choices else "asked for, none came")


_TRIALS: tuple[tuple[str, Callable[[TriedBackend], Awaitable[Ability]]], ...] = (
    ("streaming", _streaming),
    ("reasoning field", _reasoning),
    ("seed", _seed),
    ("continue", _continuing),
    ("stop words", _stop_words),
    ("log-probabilities", _logprobs),
)
