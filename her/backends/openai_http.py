"""`openai:` talks to any server with the OpenAI chat completions API: vLLM, llama.cpp, Ollama, hosted APIs and routers.

Answers are streamed, so that a silent server is noticed after seconds. Redirects are not followed: the key goes to the host
of the address and to no other. docs/protocols.md lists what the code relies on and from which server it comes.
"""

import asyncio
import difflib
import json
import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2
import openai
from pydantic import Field

from her.backends.base import Completion, Delta, Description, join_deltas, replace_surrogates
from her.backends.context_room import ContextRoom
from her.backends.openai_errors import ServerLabel, error_from_exception
from her.backends.openai_fields import same_model, with_extra_fields
from her.backends.openai_stream import StreamedAnswer, read_events
from her.backends.openai_unstreamed import UnstreamedClient
from her.errors import BackendError
from her.types import Message, Sampling, Value

log = logging.getLogger(__name__)
UNKNOWN_CONTEXT = 8192
"""Assumed context in tokens until the server reports one."""
_AFTER_FINISH = 5.0
"""Seconds to wait for the usage chunk, which comes after the finish reason."""
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}
"""Fields that make vLLM continue the last assistant message. They are not part of OpenAI's API; llama.cpp continues without
them."""


class HttpLimits(Value):
    """Limits of one call.

    Args:
        connect: seconds to connect.
        first_token: seconds until the first token.
        token: seconds between two tokens.
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
        # Whether to send stream_options, and whether a request has shown that the server takes them.
        self._asks_usage = True
        self._usage_known = False
        # Connections belong to one event loop; pipelines and tests use several.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = WeakKeyDictionary()
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
        started = _now()
        response = await self._open(self._request(messages, sampling) | {"stream": True, "extra_headers": self._headers})
        answer.waited = _now() - started
        try:
            self._expect_events(response.headers.get("content-type", ""))
            events = read_events(response)
            while (chunk := await self._next_chunk(events, answer)) is not None:
                delta = answer.add_chunk(chunk)
                if delta.text or delta.reasoning:
                    yield delta
        finally:
            # Also when the reader stops early: closing the connection makes the server stop generating.
            await response.aclose()
        yield answer.last_delta()

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
        body |= body.pop("extra_body", {})  # the openai package merges it; here the body is sent as it is
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            }
        if choices:
            body |= {"logprobs": True, "top_logprobs": choices}
        characters = self._limits.characters_for(sampling)
        return await self._unstreamed.ask(body, self._server, seconds=seconds, characters=characters)

    async def check(self) -> str:
        """Request the list of models, or a single token where the server has no list."""
        listed = await self._list_models()
        if listed is None:
            await self.complete([Message(role="user", content="Hello.")], Sampling(max_tokens=1, temperature=0))
            return f"{self._server} answers; it has no list of models."
        names = list(listed)
        if not self._model:
            self._adopt_only_model(names)
        match = next((name for name in names if same_model(name, self._model)), None)
        if match is None:
            raise self._no_such_model(names)
        self._context = self._context or listed[match]
        return f"{self._server.host} answers and has {self._model}" + (f" among {len(names)} models." if len(names) > 1 else ".")

    async def close(self) -> None:
        """Close the connections of the running loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()
        unstreamed = self._unstreamed_clients.pop(asyncio.get_running_loop(), None)
        if unstreamed is not None:
            await unstreamed.close()

    @property
    def _server(self) -> ServerLabel:
        return ServerLabel(urlsplit(self._url).netloc, self._model, self._key)

    @property
    def _client(self) -> openai.AsyncOpenAI:
        """The client of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = openai.Timeout(None, connect=self._limits.connect)
            self._clients[loop] = openai.AsyncOpenAI(
                base_url=self._url,
                api_key=self._key or "none",
                max_retries=0,  # retries are the caller's business, see her/inference and her/errors.py
                timeout=timeout,
                http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=timeout, verify=_tls_context()),
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
    def _headers(self) -> dict[str, str | openai.Omit]:
        """Headers that the openai package must leave out.

        It would add a placeholder key where there is none, and what the environment holds for OpenAI (organisation, project,
        OPENAI_CUSTOM_HEADERS), which is nobody else's business.
        """
        from_environment = [line.partition(":")[0].strip() for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()]
        omitted = ["OpenAI-Organization", "OpenAI-Project", *filter(None, from_environment)]
        omitted = [name for name in omitted if name.lower() != "authorization"] + ([] if self._key else ["Authorization"])
        return {name: openai.Omit() for name in omitted}

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """Return the body of the chat completion request."""
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": replace_surrogates(message.content)} for message in messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if messages and messages[-1].role == "assistant":
            body["extra_body"] = _CONTINUE
        return with_extra_fields(body, sampling.extra) if sampling.extra else body

    async def _open(self, body: dict[str, Any]) -> httpx2.Response:
        """Send a streaming request that asks for token counts.

        A server that refuses `stream_options` is asked again without them; this is remembered for the backend.
        """
        if not self._asks_usage:
            return await self._send(body)
        try:
            opened = await self._send({**body, "stream_options": {"include_usage": True}})
        except _Refused as refused:
            if self._usage_known:
                raise refused.error from None
            opened = await self._send(body)
            log.info("%s does not take stream_options; token counts will be missing", self._server)
            self._asks_usage = False
        self._usage_known = True
        return opened

    async def _send(self, body: dict[str, Any]) -> httpx2.Response:
        """Post, and post once more when the server had closed a kept connection (RFC 9112, section 9.3.1)."""
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(self._limits.first_token):
                    reply = await self._client.chat.completions.with_raw_response.create(**body)
                    response: httpx2.Response = reply.http_response
                    return response
            except TimeoutError:
                raise self._timed_out(self._limits.first_token) from None
            except openai.OpenAIError as error:
                if attempt == 1 and _is_stale_connection(error):
                    continue
                failure = error_from_exception(error, self._server)
                if isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)) and "stream_options" in body:
                    raise _Refused(failure) from None
                raise failure from None
        raise AssertionError("unreachable: the second attempt returns or raises")

    async def _next_chunk(self, events: AsyncIterator[Any], answer: StreamedAnswer) -> Any:
        """Return the next chunk, None at the end. Once the finish reason has come, a failure only ends the wait for usage."""
        limit = _AFTER_FINISH if answer.finish else self._limits.token if answer.begun else self._limits.first_token
        started = _now()
        try:
            async with asyncio.timeout(max(0.0, limit - answer.waited)):
                chunk = await anext(events, None)
        except (TimeoutError, httpx2.HTTPError, ValueError) as error:
            if answer.finish:
                log.info("%s failed after a whole answer: %s", self._server, type(error).__name__)
                return None
            if isinstance(error, TimeoutError):
                raise self._timed_out(limit) from None
            raise error_from_exception(error, self._server, begun=True) from None
        # Chunks without text (a role, a keep-alive) do not reset the clock; StreamedAnswer does that when text comes.
        answer.waited += _now() - started
        return chunk

    def _timed_out(self, limit: float) -> BackendError:
        return self._server.error_with_advice("timeout", f"said nothing for {limit:g} s")

    def _expect_events(self, content_type: str) -> None:
        """Raise BackendError when the content type is not that of an event stream."""
        self._refuse_web_page(content_type)
        if "json" in content_type:
            raise self._server.error("invalid_reply", "answered whole where a stream was asked for; it may not be able to stream")

    def _refuse_web_page(self, content_type: str) -> None:
        if "html" in content_type:
            raise self._server.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")

    async def _list_models(self) -> dict[str, int] | None:
        """Return name -> context (0 when unknown) of each model; None when the server has no list."""
        try:
            async with asyncio.timeout(self._limits.connect + self._limits.token):
                reply = (await self._client.models.with_raw_response.list(extra_headers=self._headers)).http_response
        except (openai.NotFoundError, openai.PermissionDeniedError):
            return None
        except TimeoutError:
            raise self._timed_out(self._limits.connect + self._limits.token) from None
        except openai.APIStatusError as error:
            if error.status_code in (405, 501):
                return None
            raise error_from_exception(error, self._server) from None
        except openai.OpenAIError as error:
            raise error_from_exception(error, self._server) from None
        self._refuse_web_page(reply.headers.get("content-type", ""))
        try:
            return _parse_models(json.loads(reply.text))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._server.error("invalid_reply", "answered /models with something that is not a list of models") from None

    async def _choose_model(self) -> None:
        """Use the server's only model; raise BackendError when it has none or several."""
        listed = await self._list_models()
        if listed is None:
            raise self._server.error("bad_request", f"lists no models; name one: {self._spec}#MODEL")
        self._adopt_only_model(list(listed))
        self._context = self._context or listed[self._model]

    def _adopt_only_model(self, names: list[str]) -> None:
        if len(names) != 1:
            which = f"has {len(names)} models ({_first_names(names)})" if names else "has no model loaded"
            raise self._server.error("bad_request", f"{which}; name one: {self._spec}#MODEL")
        self._model = names[0]

    def _no_such_model(self, names: list[str]) -> BackendError:
        # 0.3: even a distant name is a better hint than none, since the whole list may be long.
        near = difflib.get_close_matches(self._model, names, 1, 0.3)
        hint = f"the nearest is {near[0]!r}, of {_first_names(names)}" if near else f"it has {_first_names(names) or 'none'}"
        return self._server.error("not_found", f"does not have this model; {hint}")


@cache
def _tls_context() -> ssl.SSLContext:
    """Return the TLS context of all clients. To create one reads all root certificates, which takes 40 ms of CPU."""
    return httpx2.create_ssl_context()


class _Refused(Exception):
    """A 400 or 422 to a request with stream_options, which may be the cause."""

    def __init__(self, error: BackendError) -> None:
        super().__init__(str(error))
        self.error = error


def _parse_models(listing: Any) -> dict[str, int]:
    """Return name -> context of the entries of /models; vLLM reports `max_model_len`, llama.cpp `meta.n_ctx`."""
    entries = listing["data"] if isinstance(listing, dict) else listing
    sizes = {}
    for entry in entries:
        size = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx") or 0
        sizes[str(entry["id"])] = size if isinstance(size, int) else 0
    return sizes


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _is_stale_connection(error: openai.OpenAIError) -> bool:
    """Return True when the server had closed a kept connection while it was idle, so that nothing was answered."""
    return isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ in {
        "RemoteProtocolError",
        "ReadError",
        "WriteError",
    }


def _now() -> float:
    return asyncio.get_running_loop().time()
