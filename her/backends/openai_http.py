"""`openai:` talks to any server with the OpenAI chat completions API: vLLM, llama.cpp, Ollama, hosted APIs and routers.

Answers are streamed, so that a silent server is noticed after seconds. docs/protocols.md lists what the code relies on and from
which server it comes. Beside this module: the body of a request (openai_request), connections and limits (openai_connections),
what a server refuses by name (openai_negotiation), the reader of a stream (openai_reader), lists of models (openai_models).
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from her.backends.base import Completion, Delta, Description, join_deltas
from her.backends.context_room import ContextRoom
from her.backends.openai_abilities import Abilities, probe
from her.backends.openai_connections import Connections, HttpLimits
from her.backends.openai_errors import ServerLabel
from her.backends.openai_fields import same_model
from her.backends.openai_models import adopt_only_model, list_models, nearest_model
from her.backends.openai_negotiation import Negotiator, refusal
from her.backends.openai_reader import StreamReader
from her.backends.openai_request import streamed_body, unstreamed_body
from her.backends.openai_stream import StreamedAnswer
from her.backends.openai_terms import Terms
from her.backends.openai_unstreamed import parse_completion
from her.errors import BackendError, TooLong
from her.types import Message, Sampling

T = TypeVar("T")
log = logging.getLogger(__name__)
UNKNOWN_CONTEXT = 8192
"""Assumed context in tokens until the server reports one."""


class OpenAIBackend:
    """A `her.backends.base.Backend` and `WholeAnswerBackend` over HTTP.

    Args:
        url: base address, such as `http://127.0.0.1:8000/v1`.
        model: the model's name at the server; empty when the server lists exactly one. Then a server that is started again with
            another model is followed.
        key: bearer key, kept in memory only.
        context: longest prompt plus reply in tokens; 0 takes it from the server's list of models.
        limits: see `HttpLimits`.
    """

    def __init__(self, url: str, model: str = "", *, key: str = "", context: int = 0, limits: HttpLimits | None = None) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._named_model, self._model = model, model
        self._named_context, self._context = context, context
        self._room = ContextRoom(lambda: self._context)
        self._limits = limits or HttpLimits()
        self._connections = Connections(self._url, key, self._limits)
        self._negotiator = Negotiator()
        self._known_as = ""  # the name of the first answer; a server that changes it is another one

    def describe(self) -> Description:
        """Describe this backend; `model` is empty until the first call when the spec named none."""
        return Description(spec=self._spec, model=self._model, context=self._context or UNKNOWN_CONTEXT)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an estimate that the counts of this server's replies correct, see `her.tokens.TokenMeter`."""
        return self._room.count(messages)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream the next assistant message; raises as the Protocol says."""
        stream = self._room.stream(self._stream, messages, sampling)
        try:
            async for delta in stream:
                yield delta
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # also when the reader stops early

    async def _stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Send one request and stream its answer."""
        response = await self._negotiated(
            lambda: streamed_body(self._model, messages, sampling),
            lambda asked: self._connections.open_stream(asked, self._server),
        )
        answer = StreamedAnswer(self._server, self._limits.characters_for(sampling))
        try:
            async for delta in StreamReader(answer, self._limits, self._server).deltas(response):
                yield delta
        finally:
            # Also when the reader stops early: closing the connection makes the server stop generating.
            await response.aclose()
        last = answer.last_delta()
        self._note_model(answer.model)
        yield last

    async def ask(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        schema: Mapping[str, Any] | None = None,
        seconds: float = 600,
        choices: int = 0,
    ) -> Completion:
        """Return the next assistant message unstreamed, in JSON of this schema where the server supports schemas.

        Args:
            choices: most likely tokens (`top_logprobs`, at most 20) for each of the last ones of the answer; 0 for none.
        """
        asked = self._room.fitted(messages, sampling)
        try:
            answer = await self._ask(messages, asked, schema, seconds, choices)
        except BackendError as error:
            shorter = self._room.after_refusal(error, messages, asked)
            if shorter is None:
                raise
            answer = await self._ask(messages, shorter, schema, seconds, choices)
        return self._room.learn_answer(messages, answer)

    async def _ask(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        schema: Mapping[str, Any] | None,
        seconds: float,
        choices: int,
    ) -> Completion:
        """Send one unstreamed request; the arguments are those of `ask`."""
        characters = self._limits.characters_for(sampling)

        async def post(asked: dict[str, Any]) -> Completion:
            client, server = self._connections.unstreamed, self._server
            status, headers, content = await client.post(asked, server, seconds=seconds, characters=characters)
            if status != 200:
                raise refusal(status, content, headers.get("retry-after", ""), server)
            return parse_completion(content, headers.get("content-type", ""), server, characters)

        answer = await self._negotiated(
            lambda: unstreamed_body(self._model, messages, sampling, schema, choices),
            post,
            # A schema and log-probabilities were asked for: an answer without them would be another one.
            kept=("response_format", "logprobs", "top_logprobs"),
        )
        self._note_model(answer.model)
        return answer

    async def check(self) -> str:
        """Request the list of models, or a single token where the list does not name this one."""
        listed = await list_models(self._connections, self._server, self._spec)
        self._model = self._model or adopt_only_model(listed, self._server, self._spec)
        names = list(listed or ())
        match = next((name for name in names if same_model(name, self._model)), None)
        if match is not None and listed is not None:
            self._context = self._context or listed[match]
            return f"{self._server.host} answers and has {self._model}" + (
                f" among {len(names)} models." if len(names) > 1 else "."
            )
        await self._answers_at_all(names)
        if listed is None:
            return f"{self._server} answers; it has no list of models."
        return f"{self._server} answers, but does not list this model; {nearest_model(self._model, names)}"

    async def _answers_at_all(self, names: list[str]) -> None:
        """Ask for one token; BackendError when there is no such model."""
        try:
            await self.complete([Message(role="user", content="Hello.")], Sampling(max_tokens=1, temperature=0))
        except BackendError as error:
            if error.reason == "empty":  # a reasoning model may think within one token
                return
            if error.reason == "not_found" and names:
                what = f"does not have this model; {nearest_model(self._model, names)}"
                raise self._server.error("not_found", what) from None
            raise

    async def abilities(self) -> Abilities:
        """Try what this server can do, with a few short calls; raises BackendError when it does not answer at all."""
        said = await self.check()
        return await probe(self, said)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._connections.close()

    @property
    def context_known(self) -> bool:
        """True when the context was named by the operator, the list of models or a refusal; else it is an assumption."""
        return bool(self._context)

    @property
    def terms(self) -> Terms:
        """Return what this server takes, as far as its refusals have shown."""
        return self._negotiator.terms

    def learn_context(self, context: int) -> None:
        """Remember the context, in tokens, that the server named in a refusal; a longer one than before is not believed."""
        if context >= 256:
            self._context = min(self._context or context, context)

    @property
    def _spec(self) -> str:
        return f"openai:{self._url}" + (f"#{self._named_model}" if self._named_model else "")

    @property
    def _server(self) -> ServerLabel:
        return ServerLabel(urlsplit(self._url).netloc, self._model, self._key)

    async def _negotiated(
        self,
        body: Callable[[], dict[str, Any]],
        send: Callable[[dict[str, Any]], Awaitable[T]],
        kept: tuple[str, ...] = (),
    ) -> T:
        """Send a request in the form that the server takes; the arguments are those of `Negotiator.send`.

        A model that the server has no more is looked for once more, unless the operator named it.
        """
        asked_before = self._model
        if not self._model:
            await self._choose_model()
        try:
            return await self._negotiator.send(body(), send, self._server, kept)
        except TooLong as error:
            self.learn_context(error.context)
            raise
        except BackendError as error:
            if self._named_model or not asked_before or error.reason != "not_found":
                raise
            self._forget_model()
        return await self._negotiated(body, send, kept)

    async def _choose_model(self) -> None:
        """Use the server's only model; raise BackendError when it has none or several."""
        listed = await list_models(self._connections, self._server, self._spec)
        self._model = adopt_only_model(listed, self._server, self._spec)
        self._context = self._context or (listed or {})[self._model]

    def _forget_model(self) -> None:
        """Forget what was learned about a model that the server has no more."""
        log.warning("%s has another model now", self._server)
        self._model, self._known_as, self._context = "", "", self._named_context
        self._negotiator = Negotiator()

    def _note_model(self, name: str) -> None:
        """Note the name that the server answered under.

        Raises:
            BackendError: it has answered under the name that the operator wrote before; so another model runs there now.
        """
        changed = bool(name) and self._known_as == self._model
        if changed and self._named_model:
            raise self._server.error("invalid_reply", f"answered as another model, {name!r}; name that one or correct the server")
        if changed:
            self._forget_model()  # the next call asks for the list again
            return
        if name and name != self._known_as:
            log.warning("%s answers as %s", self._server, name)
        self._known_as = name or self._model
