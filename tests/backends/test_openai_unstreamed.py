"""her/backends/openai_unstreamed.py: what is sent, what is read, and that errors read like those of streamed answers."""

import asyncio
import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from her.backends.base import WholeAnswerBackend
from her.backends.openai_connections import HttpLimits
from her.backends.openai_http import OpenAIBackend
from her.errors import BackendError
from her.types import Message, Sampling
from tests.servers import ModelServer, Script

HELLO = [Message(role="system", content="You are Ann."), Message(role="user", content="Bea: Hello.")]
KEY = "sk-verysecretkey123"


@pytest.fixture(scope="module")
def running() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(running: ModelServer) -> ModelServer:
    running.script = Script()
    running.requests.clear()
    return running


def backend_for(server: ModelServer, **options: Any) -> OpenAIBackend:
    limits = HttpLimits(connect=30, first_token=5, token=5, characters=5_000)
    return OpenAIBackend(server.url, server.script.model, **{"limits": limits, **options})


async def failure(backend: OpenAIBackend, **options: Any) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.ask(HELLO, Sampling(), **options)
    await backend.close()
    return caught.value


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_answers_whole_with_usage_and_finish(server: ModelServer, field: str) -> None:
    server.script.text = "Good evening, 你好 \U0001f642!"
    server.script.reasoning, server.script.reasoning_field = "A plan.", field
    backend = backend_for(server)
    assert isinstance(backend, WholeAnswerBackend)
    answer = await backend.ask(HELLO, Sampling())
    assert (answer.text, answer.reasoning, answer.finish) == (server.script.text, "A plan.", "stop")
    assert answer.usage is not None and answer.usage.completion_tokens > 3
    assert (await backend.ask(HELLO, Sampling(max_tokens=2))).finish == "length"
    await backend.close()


async def test_sends_the_same_body_as_a_streamed_request(server: ModelServer) -> None:
    backend = backend_for(server, key=KEY)
    sampling = Sampling(temperature=0.3, top_p=0.8, max_tokens=77, seed=5, stop=("Bea:",))
    unfinished = [*HELLO, Message(role="assistant", content="<system")]
    await backend.complete(unfinished, sampling)
    await backend.ask(unfinished, sampling)
    streamed, unstreamed = server.chats
    assert streamed.pop("stream") is True and unstreamed.pop("stream") is False
    streamed.pop("stream_options")
    assert unstreamed == streamed
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    await backend.close()


async def test_asks_for_json_of_a_schema(server: ModelServer) -> None:
    backend = backend_for(server)
    await backend.ask(HELLO, Sampling(), schema={"type": "object"})
    assert server.chats[-1]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    }
    assert "authorization" not in server.requests[-1].headers
    await backend.close()


@pytest.mark.parametrize(
    ("script", "reason", "sentence"),
    [
        ({"status": 400}, "bad_request", "(HTTP 400: the script says so)"),
        ({"status": 401}, "unauthorised", "wants a key"),
        ({"status": 404}, "not_found", "knows no such model or path"),
        ({"status": 429, "retry_after": "3"}, "rate_limited", "wait 3 s"),
        ({"status": 500, "error": f"key {KEY} is bad"}, "server_error", "key *** is bad"),
        ({"fault": "html"}, "invalid_reply", "web page"),
        ({"fault": "not_json"}, "invalid_reply", "not JSON"),
        ({"fault": "wrong_shape"}, "invalid_reply", "another protocol"),
        ({"fault": "truncated"}, "broken_stream", "before the answer ended"),
        ({"fault": "empty"}, "empty", "said nothing"),
        ({"fault": "redirect"}, "not_found", "redirects"),
        ({"text": "a" * 20_000}, "endless", "did not stop after 5000 characters"),
        ({"finish": "content_filter"}, "bad_request", "content filter"),
    ],
)
async def test_failures(server: ModelServer, script: dict[str, Any], reason: str, sentence: str) -> None:
    for name, value in script.items():
        setattr(server.script, name, value)
    error = await failure(backend_for(server))
    assert error.reason == reason and sentence in str(error) and KEY not in str(error)
    assert error.retry_after == (3 if reason == "rate_limited" else None)


async def test_a_silent_server_times_out(server: ModelServer) -> None:
    server.script.fault = "stall"
    error = await failure(backend_for(server), seconds=0.05)
    assert error.reason == "timeout" and "within 0.05 s" in str(error)


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = await failure(OpenAIBackend(f"http://127.0.0.1:{free.getsockname()[1]}/v1", "m"))
    assert error.reason == "unreachable" and "connection refused" in str(error)
    assert (await failure(OpenAIBackend("http://no-such-host.invalid/v1", "m"))).reason == "unreachable"


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    """The body is larger than any answer, compressed to a few kilobytes: the reader stops at its limit."""
    body = gzip.compress(json.dumps({"choices": [{"message": {"content": "a" * 5_000_000}}]}).encode())
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
    head += b"content-length: %d\r\n\r\n" % len(body)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + body)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        error = await failure(OpenAIBackend(f"http://127.0.0.1:{port}/v1", "m"))
    assert error.reason == "endless"


async def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    """The server answers one request per connection without announcing that it closes, as some proxies do."""
    answer = json.dumps({"model": "m", "choices": [{"message": {"content": "Here."}, "finish_reason": "stop"}]}).encode()
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
        await reader.read(1)  # the next request begins
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listening:
        backend = OpenAIBackend(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", "m")
        for _ in range(3):
            assert (await backend.ask(HELLO, Sampling())).text == "Here."
        await backend.close()
    assert connections == 3


async def test_no_connection_in_time_is_no_late_answer(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object, **__: object) -> None:
        raise aiohttp.ConnectionTimeoutError

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect)
    error = await failure(backend_for(server))
    assert (error.reason, "could not be reached in time" in str(error)) == ("timeout", True)


async def test_many_at_once_and_after_close(server: ModelServer) -> None:
    server.script.text = "Here."
    backend = backend_for(server)
    for _ in range(2):
        answers = await asyncio.gather(*(backend.ask(HELLO, Sampling()) for _ in range(100)))
        assert {answer.text for answer in answers} == {"Here."}
        await backend.close()
