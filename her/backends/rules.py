"""A backend without a model whose answers follow from the messages alone, for trials on a new machine and for tests."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from her.backends.base import Completion, Delta, Description, Usage, join_deltas
from her.tokens import estimate_tokens
from her.types import Message, Sampling


class RuleBackend(ABC):
    """A `her.backends.base.Backend` by rules; the same messages get the same answer.

    Args:
        description: its name in records must not be taken for a model.
    """

    def __init__(self, description: Description) -> None:
        self._description = description

    @abstractmethod
    def answer(self, messages: Sequence[Message]) -> str:
        """Return the whole answer.

        Raises:
            BackendError: `bad_request` for messages that the rules do not know.
        """

    def describe(self) -> Description:
        """Return the description."""
        return self._description

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an estimate, see `estimate_tokens`."""
        return estimate_tokens(messages)

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Yield the whole answer as one delta."""
        text = self.answer(messages)
        await asyncio.sleep(0)  # an answer that never waits would keep other tasks of the loop from running
        written = estimate_tokens([Message(role="assistant", content=text)])
        yield Delta(text=text)
        yield Delta(finish="stop", usage=Usage(prompt_tokens=estimate_tokens(messages), completion_tokens=written))

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def check(self) -> str:
        """Return a sentence; never fails."""
        return f"{self._description.spec} is ready; it is no model."

    async def close(self) -> None:  # noqa: B027  (most rules hold nothing; a subclass that does overrides it)
        """Do nothing: there is nothing to free."""
