"""Keep the requests to one server inside its context: count prompts, lower the limit of the answer, learn from every reply.

A server counts with a tokenizer that is not here. Its replies say how many tokens a prompt had, and a refusal says it too late;
both correct the count (her/tokens.py). A refusal that a shorter answer would have avoided is answered by asking once more for a
shorter one; one that only a shorter chat avoids is the caller's.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from her.backends.base import Completion, Delta, Usage
from her.errors import BackendError, TooLong
from her.tokens import Certainty, TokenMeter
from her.types import Message, Sampling

LEAST_ANSWER = 64
"""Tokens below which an answer is not worth asking for; the chat is too long then."""
_SPARE = 8
"""Tokens kept free beside a prompt that was counted by the server: some count the generation prompt and some do not."""


class _Streaming(Protocol):
    def __call__(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]: ...


class ContextRoom:
    """Room in the context of one server.

    Args:
        context: returns the context in tokens as far as it is known; 0 when it is not.
    """

    def __init__(self, context: Callable[[], int]) -> None:
        self._context = context
        self._meter = TokenMeter()

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of messages as a prompt, rather too many than too few."""
        return self._meter.count(messages)

    def certainty(self, messages: Sequence[Message]) -> Certainty:
        """Return how sure `count` is."""
        return self._meter.certainty(messages)

    def fitted(self, messages: Sequence[Message], sampling: Sampling) -> Sampling:
        """Return the sampling with a limit of the answer that fits beside the prompt, as far as both are known."""
        context, tokens = self._context(), self._meter.count(messages)
        room = context - tokens
        if not context or sampling.max_tokens <= room or room < LEAST_ANSWER:
            return sampling  # the server decides where there is no room at all: the count may be too high
        return sampling.model_copy(update={"max_tokens": room})

    def learn(self, messages: Sequence[Message], usage: Usage | None) -> None:
        """Take the counts of a reply to exactly these messages."""
        if usage is not None:
            self._meter.learn(messages, usage.prompt_tokens)

    def after_refusal(self, error: BackendError, messages: Sequence[Message], asked: Sampling) -> Sampling | None:
        """Learn from a refusal for length; return a sampling with which the same messages fit, or None."""
        if not isinstance(error, TooLong):
            return None
        prompt, context = error.prompt, error.context or self._context()
        if prompt:
            self._meter.learn(messages, prompt)
        elif context:
            self._meter.learn_least(messages, context - asked.max_tokens + 1)
        room = context - prompt - _SPARE
        if not prompt or not context or not LEAST_ANSWER <= room < asked.max_tokens:
            return None
        return asked.model_copy(update={"max_tokens": room})

    async def stream(self, send: _Streaming, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream an answer by `send`, asked for once more with a lower limit where that is all that is wrong."""
        asked: Sampling | None = self.fitted(messages, sampling)
        while asked is not None:
            try:
                async for delta in send(messages, asked):
                    self.learn(messages, delta.usage)
                    yield delta
                return
            except BackendError as error:  # a refusal comes before the first delta
                asked = self.after_refusal(error, messages, asked)
                if asked is None:
                    raise

    def learn_answer(self, messages: Sequence[Message], answer: Completion) -> Completion:
        """Learn from a whole answer and return it."""
        self.learn(messages, answer.usage)
        return answer
