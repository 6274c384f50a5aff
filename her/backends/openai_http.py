"""Any server that speaks the OpenAI chat protocol: vLLM, llama.cpp, Ollama, the Hugging Face router, hosted APIs.

Always streams, so that a silent server is noticed token by token. Redirects are not followed and the key goes to the one
host of the address only.
"""

import asyncio
import difflib
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2
import openai
from pydantic import Field

from her.backends.base import Completion, Delta, Description, join_deltas, replace_surrogates
from her.backends.openai_answer import StreamedAnswer, read_events, same_model
from her.backends.openai_errors import ServerLabel, error_from_exception
from her.backends.openai_whole import UnstreamedClient
from her.errors import BackendError
from her.tokens import estimate_tokens
from her.types import Message, Sampling, Value

log = logging.getLogger(__name__)
_AFTER_FINISH = 5.0  # seconds to wait for the usage once the answer is whole
_CONTINUE = {"continue_final_message": True, "add_generation_prompt": False}


class HttpLimits(Value):
    """How long and how much: seconds to connect, to the first token, between tokens; characters of one answer."""

    connect: float = Field(default=10, gt=0)
    first_token: float = Field(default=120, gt=0)
    token: float = Field(default=60, gt=0)
    characters: int = Field(default=200_000, ge=1)

    def characters_for(self, sampling: Sampling) -> int:
        """No model writes 8 characters a token for long; 2,000 leave room for short answers."""
        return min(self.characters, max(2_000, 8 * sampling.max_tokens))


class OpenAIBackend:
    """See `her.backends.base.Backend`.

    Args:
        url: base address, such as `http://127.0.0.1:8000/v1`.
        model: the model's name at the server; empty when the server lists exactly one.
        key: bearer key, kept in memory only.
        context: longest prompt plus reply in tokens; 0 asks the server (`check`), 8192 until it has said so.
        limits: see `Limits`.
    """

    def __init__(self, url: str, model: str = "", *, key: str = "", context: int = 0, limits: HttpLimits | None = None) -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._key = key
        self._context = context
        self._limits = limits or HttpLimits()
        self._spec = f"openai:{self._url}" + (f"#{model}" if model else "")
        self._asks_usage = True
        self._usage_known = False
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = WeakKeyDictionary()
        self._wires: WeakKeyDictionary[asyncio.AbstractEventLoop, UnstreamedClient] = WeakKeyDictionary()

    def describe(self) -> Description:
        """`model` is empty until the first call when the spec named none."""
        return Description(spec=self._spec, model=self._model, context=self._context or 8192)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """An estimate, see `estimate_tokens`."""
        return estimate_tokens(messages)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream the next assistant message; BackendError as in the Protocol."""
        if not self._model:
            await self._choose_model()
        answer = StreamedAnswer(self._place, self._limits.characters_for(sampling))
        started = _now()
        response = await self._open(self._request(messages, sampling) | {"stream": True, "extra_headers": self._headers})
        answer.waited = _now() - started
        try:
            self._expect_events(response.headers.get("content-type", ""))
            events = read_events(response)
            while (chunk := await self._next(events, answer)) is not None:
                delta = answer.read(chunk)
                if delta.text or delta.reasoning:
                    yield delta
        finally:
            await response.aclose()
        yield answer.end()

    async def ask(
        self, messages: Sequence[Message], sampling: Sampling, *, schema: Mapping[str, Any] | None = None, seconds: float = 600
    ) -> Completion:
        """The next assistant message whole and unstreamed, in JSON of this schema when the server keeps to one."""
        if not self._model:
            await self._choose_model()
        body = self._request(messages, sampling) | {"stream": False}
        body |= body.pop("extra_body", {})
        if schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            }
        return await self._wire.ask(body, self._place, seconds=seconds, characters=self._limits.characters_for(sampling))

    async def check(self) -> str:
        """Ask for the list of models; a server without one is asked for a single token."""
        listed = await self._list_models()
        if listed is None:
            await self.complete([Message(role="user", content="Hello.")], Sampling(max_tokens=1, temperature=0))
            return f"{self._place} answers; it has no list of models."
        names = list(listed)
        if not self._model:
            self._adopt(names)
        found = next((name for name in names if same_model(name, self._model)), None)
        if found is None:
            raise self._absent(names)
        self._context = self._context or listed[found]
        return f"{self._place.host} answers and has {self._model}" + (f" among {len(names)} models." if len(names) > 1 else ".")

    async def close(self) -> None:
        """Close the connections of the running loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()
        wire = self._wires.pop(asyncio.get_running_loop(), None)
        if wire is not None:
            await wire.close()

    @property
    def _place(self) -> ServerLabel:
        return ServerLabel(urlsplit(self._url).netloc, self._model, self._key)

    @property
    def _client(self) -> openai.AsyncOpenAI:
        """The client of the running loop: its connections cannot be used from another."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            timeout = openai.Timeout(None, connect=self._limits.connect)
            self._clients[loop] = openai.AsyncOpenAI(
                base_url=self._url,
                api_key=self._key or "none",
                max_retries=0,
                timeout=timeout,
                http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=timeout),
            )
        return self._clients[loop]

    @property
    def _wire(self) -> UnstreamedClient:
        """The connections for whole answers, of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._wires:
            self._wires[loop] = UnstreamedClient(self._url, self._key, self._limits.connect)
        return self._wires[loop]

    @property
    def _headers(self) -> dict[str, str | openai.Omit]:
        """What the client must not add of its own: a made-up key, and what the environment holds for another company."""
        from_environment = [line.partition(":")[0].strip() for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()]
        hidden = ["OpenAI-Organization", "OpenAI-Project", *filter(None, from_environment)]
        hidden = [name for name in hidden if name.lower() != "authorization"] + ([] if self._key else ["Authorization"])
        return {name: openai.Omit() for name in hidden}

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        """The body of the chat call."""
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
        return body

    async def _open(self, body: dict[str, Any]) -> httpx2.Response:
        """Send the request; asked again without usage when a server refuses that, once for each backend."""
        if not self._asks_usage:
            return await self._send(body)
        try:
            opened = await self._send({**body, "stream_options": {"include_usage": True}})
        except _Refused as refused:
            if self._usage_known:
                raise refused.error from None
            opened = await self._send(body)
            log.info("%s does not take stream_options; token counts will be missing", self._place)
            self._asks_usage = False
        self._usage_known = True
        return opened

    async def _send(self, body: dict[str, Any]) -> httpx2.Response:
        """One POST, once more when a kept connection turned out to be closed by the server meanwhile."""
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(self._limits.first_token):
                    reply = await self._client.chat.completions.with_raw_response.create(**body)
                    response: httpx2.Response = reply.http_response
                    return response
            except TimeoutError:
                raise self._too_late(self._limits.first_token) from None
            except openai.OpenAIError as error:
                if attempt == 1 and _went_stale(error):
                    continue
                failure = error_from_exception(error, self._place)
                if isinstance(error, (openai.BadRequestError, openai.UnprocessableEntityError)) and "stream_options" in body:
                    raise _Refused(failure) from None
                raise failure from None
        raise AssertionError("unreachable: the second attempt returns or raises")

    async def _next(self, events: AsyncIterator[Any], answer: StreamedAnswer) -> Any:
        """The next chunk, None at the end. Once the answer is whole nothing more can spoil it."""
        limit = _AFTER_FINISH if answer.finish else self._limits.token if answer.begun else self._limits.first_token
        started = _now()
        try:
            async with asyncio.timeout(max(0.0, limit - answer.waited)):
                chunk = await anext(events, None)
        except (TimeoutError, httpx2.HTTPError, ValueError) as error:
            if answer.finish:
                log.info("%s ended badly after a whole answer: %s", self._place, type(error).__name__)
                return None
            if isinstance(error, TimeoutError):
                raise self._too_late(limit) from None
            raise error_from_exception(error, self._place, begun=True) from None
        answer.waited += _now() - started
        return chunk

    def _too_late(self, limit: float) -> BackendError:
        return self._place.error("timeout", f"said nothing for {limit:g} s; it may be loading or overloaded, try again")

    def _expect_events(self, kind: str) -> None:
        """Refuse an answer that is no event stream, by its content type."""
        if "html" in kind:
            raise self._place.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")
        if "json" in kind:
            raise self._place.error("invalid_reply", "answered whole where a stream was asked for; it may not be able to stream")

    async def _list_models(self) -> dict[str, int] | None:
        """Name -> context (0 unknown) of each model; None when the server has no such route."""
        try:
            async with asyncio.timeout(self._limits.connect + self._limits.token):
                reply = (await self._client.models.with_raw_response.list(extra_headers=self._headers)).http_response
        except (openai.NotFoundError, openai.PermissionDeniedError):
            return None
        except TimeoutError:
            raise self._too_late(self._limits.connect + self._limits.token) from None
        except openai.APIStatusError as error:
            if error.status_code in (405, 501):
                return None
            raise error_from_exception(error, self._place) from None
        except openai.OpenAIError as error:
            raise error_from_exception(error, self._place) from None
        self._expect_json(reply.headers.get("content-type", ""))
        try:
            return _models(json.loads(reply.text))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._place.error("invalid_reply", "answered /models with something that is no list of models") from None

    def _expect_json(self, kind: str) -> None:
        if "html" in kind:
            raise self._place.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")

    async def _choose_model(self) -> None:
        """Take the server's only model."""
        listed = await self._list_models()
        if listed is None:
            raise self._place.error("bad_request", f"lists no models; name one: {self._spec}#MODEL")
        self._adopt(list(listed))
        self._context = self._context or listed[self._model]

    def _adopt(self, names: list[str]) -> None:
        if len(names) != 1:
            which = f"has {len(names)} models ({_some(names)})" if names else "has no model loaded"
            raise self._place.error("bad_request", f"{which}; name one: {self._spec}#MODEL")
        self._model = names[0]

    def _absent(self, names: list[str]) -> BackendError:
        near = difflib.get_close_matches(self._model, names, 1, 0.3)
        hint = f"the nearest is {near[0]!r}, of {_some(names)}" if near else f"it has {_some(names) or 'none'}"
        return self._place.error("not_found", f"does not have this model; {hint}")


class _Refused(Exception):
    """A 400 or 422 to a request with stream_options, which may be their fault."""

    def __init__(self, error: BackendError) -> None:
        super().__init__(str(error))
        self.error = error


def _models(listing: Any) -> dict[str, int]:
    """Name -> context of the entries of /models; vLLM says `max_model_len`, llama.cpp `meta.n_ctx`."""
    entries = listing["data"] if isinstance(listing, dict) else listing
    sizes = {}
    for entry in entries:
        size = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx") or 0
        sizes[str(entry["id"])] = size if isinstance(size, int) else 0
    return sizes


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _went_stale(error: openai.OpenAIError) -> bool:
    """Whether a kept-alive connection was closed by the server while nobody used it; nothing was answered then."""
    return isinstance(error, openai.APIConnectionError) and type(error.__cause__).__name__ in {
        "RemoteProtocolError",
        "ReadError",
        "WriteError",
    }


def _now() -> float:
    return asyncio.get_running_loop().time()
