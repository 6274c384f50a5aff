"""Answer with the score of a scalar reward model, as `Score: 1.25`; for pipelines/judge_check, not for chats.

The server has vLLM's `/classify`: vLLM's pooling server, or her/judging/reward_models.py. What is scored is a conversation whose
last message is the candidate. As a backend the model gets ledger, retries and limits of every other; it never writes a turn.
"""

import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from her.backends.base import Completion, Delta, Description, Usage, join_deltas
from her.errors import BackendError, Reason
from her.tokens import estimate_tokens
from her.types import Message, Sampling

SECONDS = 120.0
_REASONS: dict[int, Reason] = {401: "unauthorised", 403: "unauthorised", 404: "not_found", 429: "rate_limited"}


class RewardModelBackend:
    """A `her.backends.base.Backend` over one scalar reward model.

    Args:
        spec: `http://HOST:PORT#MODEL`; the model's name goes into requests and records, without one no request names it.
    """

    def __init__(self, spec: str) -> None:
        address, _, model = spec.partition("#")
        self._url = address if address.rstrip("/").endswith("/classify") else f"{address.rstrip('/')}/classify"
        self._model = model or urlsplit(self._url).netloc
        self._named = bool(model)
        self._session: aiohttp.ClientSession | None = None

    def describe(self) -> Description:
        """Describe this backend."""
        return Description(spec=f"{self._url}#{self._model}", model=self._model, context=1_000_000)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an estimate, see `estimate_tokens`."""
        return estimate_tokens(messages)

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Yield the score as one delta.

        Raises:
            BackendError: the server cannot be reached, refuses, or answers something else than one score.
        """
        score = await self._score(messages)
        yield Delta(text=f"Score: {score!r}")
        yield Delta(finish="stop", usage=Usage(prompt_tokens=estimate_tokens(messages), completion_tokens=0))

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def check(self) -> str:
        """Score one word; raises as `stream`."""
        words = (Message(role="user", content="Hello."), Message(role="assistant", content="Hello."))
        return f"The reward model answers: {await self._score(words):.3f} for a greeting."

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _score(self, messages: Sequence[Message]) -> float:
        body: dict[str, Any] = {"messages": [message.model_dump() for message in messages], "use_activation": False}
        if self._named:
            body["model"] = self._model
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=SECONDS)
            )
        try:
            async with self._session.post(self._url, json=body) as answer:
                text = await answer.text()
                if answer.status != 200:
                    reason = _REASONS.get(answer.status, "server_error" if answer.status >= 500 else "bad_request")
                    raise BackendError.with_advice(f"the reward model answered HTTP {answer.status}: {text[:200]}", reason)
        except TimeoutError as error:
            raise BackendError.with_advice(f"the reward model did not answer within {SECONDS:.0f} s", "timeout") from error
        except aiohttp.ClientError as error:
            raise BackendError.with_advice(
                f"the reward model cannot be reached ({type(error).__name__})", "unreachable"
            ) from error
        return _read(text)


def _read(text: str) -> float:
    """Return the one raw score of an answer."""
    try:
        (row,) = json.loads(text)["data"]
        (score,) = row["probs"]
        if not math.isfinite(number := float(score)):
            raise ValueError(f"{number} is no score")
        return number
    except (ValueError, TypeError, KeyError) as error:
        raise BackendError.with_advice(f"the reward model's answer has not one score: {text[:200]!r}", "invalid_reply") from error
