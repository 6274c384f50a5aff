"""`openai:` talks to any server with the OpenAI chat completions API: vLLM, llama.cpp, Ollama, hosted APIs and routers.

Answers are streamed, so that a silent server is noticed after seconds. Redirects are not followed: the key goes to the host
of the address and to no other. docs/protocols.md lists what the code relies on and from which server it comes.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2
from pydantic import Field

from her.backends.base import Completion, Delta, Description, join_deltas, replace_surrogates
from her.backends.context_room import ContextRoom
from her.backends.openai_abilities import Abilities, probe
from her.backends.openai_errors import (
    ServerLabel,
    error_from_exception,
    error_from_status,
    error_hints,
    server_message,
)
from her.backends.openai_fields import same_model, with_extra_fields
from her.backends.openai_models import adopt_only_model, nearest_model, parse_models
from her.backends.openai_stream import StreamedAnswer
from her.backends.openai_terms import ROUNDS, Terms, apply, learn, plain_messages
from her.backends.openai_unstreamed import UnstreamedClient
from her.backends.wire import TooManyBytes, ValueReader, read_blocks, read_body
from her.errors import BackendError, TooLong
from her.types import Message, Sampling, Value

T = TypeVar("T")
log = logging.getLogger(__name__)
UNKNOWN_CONTEXT = 8192
"""Assumed context in tokens until the server reports one."""
_AFTER_FINISH = 5.0
"""Seconds to wait for the usage chunk, which comes after the finish reason."""
_REFUSAL_BYTES, _LIST_BYTES = 262_144, 4_000_000
"""Most bytes that are read of a refusal and of a list of models."""
_ENVELOPE = 1_000_000
"""Bytes of one event beside its text."""
_NEGOTIABLE = (400, 404, 415, 422, 500, 501)
"""Statuses of a refusal that may name a field or role. 500: templates that fail at a role."""


class HttpLimits(Value):
    """Limits of one call. Any byte is a sign of life, also one of a keepalive.

    Args:
        connect: seconds to connect.
        first_token: longest silence before the first token, in seconds.
        token: longest silence after it.
        characters: longest answer.
    """

    connect: float = Field(default=10, gt=0)
    first_token: float = Field(default=120, gt=0)
    token: float = Field(default=60, gt=0)
    characters: int = Field(default=200_000, ge=1)

    def characters_for(self, sampling: Sampling) -> int:
        """Return the longest answer for this sampling, a guard against servers that ignore `max_tokens`.

        A token is rarely longer than 8 characters on average; 2,000 leave room for short answers.
        """
        return min(self.characters, max(2_000, 8 * sampling.max_tokens))


class OpenAIBackend:
    """A `her.backends.base.Backend` and `WholeAnswerBackend` over HTTP.

    Args:
        url: base address, such as `http://127.0.0.1:8000/v1`.
        model: the model's name at the server; empty when the server lists exactly one.
        key: bearer key, kept in memory only.
        context: longest prompt plus reply in tokens; 0 takes it from the server's list of models.
        limits: see `HttpLimits`.
    """

    def __init__(self, url: str, model: str = "", *, key: str = "", context: int = 0, limits: HttpLimits | None = None) -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._key = key
        self._context = context
        self._room = ContextRoom(lambda: self._context)
        self._limits = limits or HttpLimits()
        self._spec = f"openai:{self._url}" + (f"#{model}" if model else "")
        self._terms = Terms()
        self._known_as = ""  # the name of the first answer; a server that changes it is another one
        # Connections belong to one event loop; pipelines and tests use several.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()
        self._unstreamed_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, UnstreamedClient] = WeakKeyDictionary()

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
        if not self._model:
            await self._choose_model()
        answer = StreamedAnswer(self._server, self._limits.characters_for(sampling))
        body = self._request(messages, sampling) | {"stream": True, "stream_options": {"include_usage": True}}
        response = await self._negotiated(body, self._open)
        try:
            self._refuse_web_page(response.headers.get("content-type", ""))
            async for delta in self._deltas(response, answer):
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
        if not self._model:
            await self._choose_model()
        body = self._request(messages, sampling) | {"stream": False}
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            }
        if choices:
            body |= {"logprobs": True, "top_logprobs": choices}
        characters = self._limits.characters_for(sampling)

        async def post(asked: dict[str, Any]) -> Completion:
            status, headers, content = await self._unstreamed.post(asked, self._server, seconds=seconds, characters=characters)
            if status != 200:
                raise self._refusal(status, content, headers.get("retry-after", ""))
            return self._unstreamed.read(content, headers.get("content-type", ""), self._server, characters)

        # A schema and log-probabilities were asked for: an answer without them would be another one.
        answer = await self._negotiated(body, post, kept=("response_format", "logprobs", "top_logprobs"))
        self._note_model(answer.model)
        return answer

    async def check(self) -> str:
        """Request the list of models, or a single token where the list does not name this one."""
        listed = await self._list_models()
        if not self._model:
            if listed is None:
                raise self._server.error("bad_request", f"lists no models; name one: {self._spec}#MODEL")
            self._model = adopt_only_model(listed, self._server, self._spec)
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
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        unstreamed = self._unstreamed_clients.pop(asyncio.get_running_loop(), None)
        if unstreamed is not None:
            await unstreamed.close()

    @property
    def _server(self) -> ServerLabel:
        return ServerLabel(urlsplit(self._url).netloc, self._model, self._key)

    @property
    def _client(self) -> httpx2.AsyncClient:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = httpx2.Timeout(None, connect=self._limits.connect)
            # No encoding is asked for: a small compressed body could become a large one.
            headers = {"accept-encoding": "identity", "user-agent": "her"}
            if self._key:
                headers["authorization"] = f"Bearer {self._key}"
            many = httpx2.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=30)
            self._clients[loop] = httpx2.AsyncClient(
                headers=headers, follow_redirects=False, timeout=timeout, verify=_tls_context(), limits=many
            )
        return self._clients[loop]

    @property
    def _unstreamed(self) -> UnstreamedClient:
        """The connections for unstreamed answers of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._unstreamed_clients:
            self._unstreamed_clients[loop] = UnstreamedClient(self._url, self._key, self._limits.connect)
        return self._unstreamed_clients[loop]

    @property
    def context_known(self) -> bool:
        """True when the context was named by the operator, the list of models or a refusal; else it is an assumption."""
        return bool(self._context)

    @property
    def terms(self) -> Terms:
        """Return what this server takes, as far as its refusals have shown."""
        return self._terms

    def learn_context(self, context: int) -> None:
        """Remember the context, in tokens, that the server named in a refusal; a longer one than before is not believed."""
        if context >= 256:
            self._context = min(self._context or context, context)

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """Return the body of the chat completion request, as the whole API takes it."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": plain_messages(messages, replace_surrogates),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return with_extra_fields(body, sampling.extra) if sampling.extra else body

    async def _negotiated(
        self, body: dict[str, Any], send: Callable[[dict[str, Any]], Awaitable[T]], kept: tuple[str, ...] = ()
    ) -> T:
        """Send a request, and again without what the server refuses by name; what it takes is remembered for the backend.

        Args:
            body: the request as the whole API takes it.
            send: raises `_Refused` for a refusal that may name a field or role.
            kept: fields that are never given up.
        """
        terms = self._terms
        for _ in range(ROUNDS):
            asked = apply(terms, body)
            try:
                answer = await send(asked)
            except _Refused as refused:
                changed = learn(terms, asked, refused.words, guess=refused.status < 500)
                if changed is None or set(changed.dropped) & set(kept):
                    raise refused.error from None
                terms = changed
            else:
                self._remember(terms, asked)
                return answer
        raise self._server.error("bad_request", f"refused {ROUNDS} forms of the same request; look at the server's log")

    def _remember(self, terms: Terms, asked: Mapping[str, Any]) -> None:
        learnt = terms.model_copy(update={"usage_known": terms.usage_known or "stream_options" in asked})
        if learnt.sentences() != self._terms.sentences():
            log.info("%s %s", self._server, "; ".join(learnt.sentences()))
        self._terms = learnt

    def _refusal(self, status: int, content: bytes, retry_after: str) -> "BackendError | _Refused":
        """Return the exception for an answer that is none; `_Refused` where another form of the request may be accepted."""
        message, hints = server_message(content), error_hints(content)
        error = error_from_status(status, self._server, message, retry_after, hints)
        if isinstance(error, TooLong):
            self.learn_context(error.context)
            return error
        # A key, a quota or a filter is no matter of the request's form.
        is_form = status in _NEGOTIABLE and error.reason in ("bad_request", "server_error") and "filter" not in str(error)
        return _Refused(error, status, f"{message} {hints}") if is_form else error

    async def _open(self, body: dict[str, Any]) -> httpx2.Response:
        """Post a streaming request; return the response, of which only the head is read."""
        response = await self._send("POST", "chat/completions", body)
        if response.status_code == 200:
            return response
        try:
            async with asyncio.timeout(self._limits.token):
                encoding = response.headers.get("content-encoding", "")
                content = await read_body(response.aiter_raw(), encoding, _REFUSAL_BYTES)
        except (TimeoutError, TooManyBytes, ValueError, httpx2.HTTPError):
            content = b""
        finally:
            await response.aclose()
        raise self._refusal(response.status_code, content, response.headers.get("retry-after", "")) from None

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        """Send a request, and once more when the server had closed a kept connection (RFC 9112, section 9.3.1)."""
        for attempt in (1, 2):
            request = self._client.build_request(method, f"{self._url}/{path}", json=body)
            try:
                async with asyncio.timeout(self._limits.first_token):
                    return await self._client.send(request, stream=True)
            except TimeoutError:
                raise self._timed_out(self._limits.first_token) from None
            except httpx2.HTTPError as error:
                if attempt == 1 and isinstance(error, (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError)):
                    continue
                raise error_from_exception(error, self._server) from None
        raise AssertionError("unreachable: the second attempt returns or raises")

    async def _deltas(self, response: httpx2.Response, answer: StreamedAnswer) -> AsyncIterator[Delta]:
        """Yield the texts of a response. Once the answer is whole, a failure only ends the wait for its token counts."""
        line = _ENVELOPE + 12 * self._limits.characters
        reader = ValueReader(line)
        blocks = read_blocks(response.aiter_raw(), response.headers.get("content-encoding", ""), 40 * line)
        try:
            while not answer.ended and (block := await self._next_block(blocks, answer)) is not None:
                answer.count(len(block))
                await asyncio.sleep(0)  # bytes that are there already would be read without a turn for anybody else
                for number, arrival in enumerate(reader.feed(block)):
                    if (delta := answer.add(arrival)).text or delta.reasoning:
                        yield delta
                    elif number % 100 == 99:
                        await asyncio.sleep(0)
            for arrival in reader.close():
                if (delta := answer.add(arrival)).text or delta.reasoning:
                    yield delta
        except (TooManyBytes, httpx2.HTTPError, ValueError, TimeoutError) as error:
            if answer.whole:
                log.info("%s failed after a whole answer: %s", self._server, type(error).__name__)
            elif isinstance(error, TimeoutError):
                raise self._timed_out(self._patience(answer)) from None
            else:
                raise error_from_exception(error, self._server, begun=True) from None

    def _patience(self, answer: StreamedAnswer) -> float:
        if answer.whole:
            return _AFTER_FINISH
        return self._limits.token if answer.begun else self._limits.first_token

    async def _next_block(self, blocks: AsyncIterator[bytes], answer: StreamedAnswer) -> bytes | None:
        """Return the next bytes, None at the end; any byte is a sign of life."""
        async with asyncio.timeout(self._patience(answer)):
            return await anext(blocks, None)

    def _timed_out(self, limit: float) -> BackendError:
        return self._server.error_with_advice("timeout", f"said nothing for {limit:g} s")

    def _note_model(self, name: str) -> None:
        """Note the name that the server answered under.

        Raises:
            BackendError: it has answered under the asked name before; so another model runs there now.
        """
        if name and self._known_as == self._model:
            raise self._server.error("invalid_reply", f"answered as another model, {name!r}; name that one or correct the server")
        if name and name != self._known_as:
            log.warning("%s answers as %s", self._server, name)
        self._known_as = name or self._model

    def _refuse_web_page(self, content_type: str) -> None:
        if "html" in content_type:
            raise self._server.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")

    async def _list_models(self) -> dict[str, int] | None:
        """Return name -> context (0 when unknown) of each model; None when the server has no list."""
        seconds = self._limits.connect + self._limits.token
        try:
            async with asyncio.timeout(seconds):
                response = await self._send("GET", "models")
                try:
                    content = await read_body(response.aiter_raw(), response.headers.get("content-encoding", ""), _LIST_BYTES)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise self._timed_out(seconds) from None
        except TooManyBytes:
            what = f"sent a list of models of more than {_LIST_BYTES // 1_000_000} MB; name one: {self._spec}#MODEL"
            raise self._server.error("invalid_reply", what) from None
        except (ValueError, httpx2.HTTPError) as error:
            raise error_from_exception(error, self._server) from None
        status = response.status_code
        if status in (403, 404, 405, 501):
            return None
        if status != 200:
            retry = response.headers.get("retry-after", "")
            raise error_from_status(status, self._server, server_message(content), retry, error_hints(content))
        self._refuse_web_page(response.headers.get("content-type", ""))
        return parse_models(content, self._server)

    async def _choose_model(self) -> None:
        """Use the server's only model; raise BackendError when it has none or several."""
        listed = await self._list_models()
        if listed is None:
            raise self._server.error("bad_request", f"lists no models; name one: {self._spec}#MODEL")
        self._model = adopt_only_model(listed, self._server, self._spec)
        self._context = self._context or listed[self._model]


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the TLS context of all clients. To create one reads all root certificates, which takes 40 ms of CPU."""
    return httpx2.create_ssl_context()


class _Refused(Exception):
    """A refusal that may be about the form of the request; `words` are the server's own, codes included."""

    def __init__(self, error: BackendError, status: int, words: str) -> None:
        super().__init__(str(error))
        self.error, self.status, self.words = error, status, words
