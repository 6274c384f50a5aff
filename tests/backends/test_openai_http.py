"""her/backends/openai_http.py against an HTTP server: what it sends, how it reads answers, and every failure."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from her.backends.base import Backend, Delta
from her.backends.open import open_backend
from her.backends.openai_connections import HttpLimits
from her.backends.openai_http import OpenAIBackend
from her.errors import BackendError
from her.types import Message, Sampling
from tests.servers import ModelServer

HELLO = [Message(role="system", content="You are Ann."), Message(role="user", content="Bea: Hello.")]
SMALL = HttpLimits(characters=5_000)
IMPATIENT = HttpLimits(token=0.3)
KEY = "sk-verysecretkey123"


@pytest.fixture(scope="module")
def running() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(running: ModelServer) -> ModelServer:
    running.script = type(running.script)()
    running.requests.clear()
    running.disconnects = 0
    return running


def backend_for(server: ModelServer, **options: Any) -> OpenAIBackend:
    return OpenAIBackend(server.url, server.script.model, **{"limits": SMALL, **options})


async def failure(backend: Backend, messages: list[Message] = HELLO, sampling: Sampling | None = None) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.complete(messages, sampling or Sampling())
    return caught.value


async def test_streams_text_usage_and_finish(server: ModelServer) -> None:
    server.script.text = "Good evening, 你好 \U0001f642!"
    backend = backend_for(server)
    deltas = [delta async for delta in backend.stream(HELLO, Sampling())]
    assert "".join(delta.text for delta in deltas) == server.script.text
    assert len(deltas) > 3
    assert [delta.finish for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish == "stop"
    assert deltas[-1].usage is not None and deltas[-1].usage.completion_tokens == len(deltas) - 1


async def test_sends_messages_and_sampling_unchanged(server: ModelServer) -> None:
    sampling = Sampling(temperature=0.3, top_p=0.8, max_tokens=77, seed=5, stop=("Bea:",))
    await backend_for(server, key=KEY).complete(HELLO, sampling)
    body = server.chats[-1]
    assert body["messages"] == [message.model_dump() for message in HELLO]
    assert {name: body[name] for name in ("model", "temperature", "top_p", "max_tokens", "seed", "stop")} == {
        "model": "test-her",
        "temperature": 0.3,
        "top_p": 0.8,
        "max_tokens": 77,
        "seed": 5,
        "stop": ["Bea:"],
    }
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert "continue_final_message" not in body


async def test_extra_fields_replace_and_take_away_others(server: ModelServer) -> None:
    """Of both ways to ask; the server sees the fields in the body itself."""
    extra = (
        '{"max_tokens": null, "max_completion_tokens": 9, "temperature": null, "chat_template_kwargs": {"enable_thinking": true}}'
    )
    backend = backend_for(server)
    await backend.complete(HELLO, Sampling(extra=extra))
    await backend.ask(HELLO, Sampling(extra=extra))
    for body in server.chats:
        assert body["max_completion_tokens"] == 9 and body["chat_template_kwargs"] == {"enable_thinking": True}
        assert not {"max_tokens", "temperature", "extra_body"} & body.keys() and body["top_p"] == 0.95
    assert "extra" not in Sampling().model_dump()  # or every recorded answer would have another key


async def test_without_a_key_none_is_sent(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "operators-org")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-secret: operators-header")
    await open_backend(f"openai:{server.url}#test-her", visitor=True).complete(HELLO, Sampling())
    sent = server.requests[-1].headers
    assert "authorization" not in sent and not any("operators" in value for value in sent.values())
    await open_backend(f"openai:{server.url}#test-her").complete(HELLO, Sampling())
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"


async def test_length_and_stop_differ(server: ModelServer) -> None:
    completion = await backend_for(server).complete(HELLO, Sampling(max_tokens=5))
    assert completion.finish == "length"
    assert completion.usage is not None and completion.usage.completion_tokens == 5


async def test_continues_the_assistants_message(server: ModelServer) -> None:
    server.script.text = "One, two, three."
    completion = await backend_for(server).complete([*HELLO, Message(role="assistant", content="One, two,")], Sampling())
    assert completion.text == " three."
    assert server.chats[-1]["continue_final_message"] is True
    assert server.chats[-1]["add_generation_prompt"] is False


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_native_reasoning_is_kept_apart(server: ModelServer, field: str) -> None:
    server.script.text, server.script.reasoning, server.script.reasoning_field = "Aloud.", "I plan quietly.", field
    completion = await backend_for(server).complete(HELLO, Sampling())
    assert (completion.text, completion.reasoning) == ("Aloud.", "I plan quietly.")


async def test_a_server_without_stream_options_is_asked_once(server: ModelServer) -> None:
    server.script.refused_field = "stream_options"
    backend = backend_for(server)
    for _ in range(2):
        assert (await backend.complete(HELLO, Sampling())).usage is None
    assert ["stream_options" in body for body in server.chats] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\ud83d\ude42b", "a\U0001f642b"), ("a\ud83db", "a\ufffdb"), ("a\udc00", "a\ufffd"), ("ab\ud83d", "ab\ufffd")],
)
async def test_surrogates(server: ModelServer, text: str, shown: str) -> None:
    server.script.text = text
    backend = backend_for(server)
    assert (await backend.complete(HELLO, Sampling())).text == shown
    await backend.complete([Message(role="user", content=text)], Sampling())
    assert server.chats[-1]["messages"][0]["content"] == shown


STATUS = [
    (400, "bad_request", "did not accept"),
    (401, "unauthorised", "HER_OPENAI_API_KEY"),
    (403, "unauthorised", "forbids"),
    (404, "not_found", "no such model or path"),
    (408, "timeout", "gave up"),
    (413, "bad_request", "too long"),
    (418, "bad_request", "did not accept"),
    (429, "rate_limited", "slow down"),
    (500, "server_error", "server's log"),
    (503, "server_error", "server's log"),
]


@pytest.mark.parametrize(("status", "reason", "sentence"), STATUS)
async def test_status_codes(server: ModelServer, status: int, reason: str, sentence: str) -> None:
    server.script.status, server.script.error = status, f"no, not with {KEY}"
    error = await failure(backend_for(server, key=KEY))
    assert error.reason == reason
    shown = str(error)
    assert sentence in shown and f"127.0.0.1:{server.port}" in shown and "test-her" in shown and str(status) in shown
    assert KEY not in shown and "***" in shown
    assert error.__cause__ is None and error.__suppress_context__


async def test_retry_after(server: ModelServer) -> None:
    server.script.status, server.script.retry_after = 429, "7"
    error = await failure(backend_for(server))
    assert error.retry_after == 7 and "wait 7 s" in str(error) and error.retryable


FAULTS = [
    ("html", "invalid_reply", "web page"),
    ("not_json", "invalid_reply", "not JSON"),
    ("wrong_shape", "invalid_reply", "another protocol"),
    ("truncated", "broken_stream", "before the answer ended"),
    ("no_finish", "broken_stream", "before the answer ended"),
    ("error_event", "server_error", "the script says so"),
    ("stall", "timeout", "said nothing for 0.3 s"),
    ("endless", "endless", "did not stop after 5000 characters"),
    ("empty", "empty", "said nothing"),
    ("redirect", "not_found", "redirects to another address"),
]


@pytest.mark.parametrize(("fault", "reason", "sentence"), FAULTS)
async def test_faults(server: ModelServer, fault: Any, reason: str, sentence: str) -> None:
    server.script.fault = fault
    error = await failure(backend_for(server, limits=IMPATIENT if fault == "stall" else SMALL))
    assert (error.reason, sentence in str(error)) == (reason, True), str(error)
    assert f"127.0.0.1:{server.port}" in str(error)


async def test_a_redirect_takes_the_key_nowhere(server: ModelServer) -> None:
    with ModelServer() as other:
        server.script.fault, server.script.redirect_to = "redirect", other.url
        await failure(backend_for(server, key=KEY))
        assert other.requests == []


async def test_slow_first_token(server: ModelServer) -> None:
    server.script.first_delay = 30
    error = await failure(backend_for(server, limits=HttpLimits(first_token=0.3)))
    assert error.reason == "timeout" and error.retryable


async def test_text_before_a_break_stays_valid(server: ModelServer) -> None:
    server.script.text, server.script.fault = "one two three four five six", "truncated"
    arrived: list[Delta] = []
    with pytest.raises(BackendError):
        async for delta in backend_for(server).stream(HELLO, Sampling()):
            arrived.append(delta)
    assert server.script.text.startswith("".join(delta.text for delta in arrived)) and arrived


async def test_closing_the_stream_stops_the_server(server: ModelServer) -> None:
    server.script.fault = "endless"
    backend = backend_for(server, limits=HttpLimits())
    stream = backend.stream(HELLO, Sampling())
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        while not server.disconnects:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "noted"), [("other-model", "other-model"), ("org/Test-HER", ""), ("test-her-2026-01-01", ""), ("", "")]
)
async def test_the_name_that_a_router_answers_under_is_noted(server: ModelServer, name: str, noted: str) -> None:
    server.script.reply_model = name
    backend = backend_for(server)
    for _ in range(2):
        assert (await backend.complete(HELLO, Sampling())).model == noted
    assert (await backend.ask(HELLO, Sampling())).model == noted
    await backend.close()


async def test_a_server_that_changes_its_name_runs_another_model(server: ModelServer) -> None:
    backend = backend_for(server)
    await backend.complete(HELLO, Sampling())
    server.script.reply_model = "other-model"
    error = await failure(backend)
    assert error.reason == "invalid_reply" and "'other-model'" in str(error)


@pytest.mark.parametrize("strict", [True, False])
async def test_a_spec_without_a_model_follows_a_server_that_was_restarted_with_another(server: ModelServer, strict: bool) -> None:
    """`strict`: the server refuses the old name, as vLLM does; else it answers under its new one, as llama.cpp does."""
    backend = OpenAIBackend(server.url)
    await backend.complete(HELLO, Sampling())
    server.script.model, server.script.strict_model = "other-model", strict
    server.script.reply_model = None if strict else "other-model"
    await backend.complete(HELLO, Sampling())
    await backend.ask(HELLO, Sampling())
    assert (backend.describe().model, server.chats[-1]["model"]) == ("other-model", "other-model")
    server.script.model, server.script.models = "third", ["third", "fourth"]
    if strict:
        assert "third, fourth" in str(await failure(backend))
    await backend.close()


def closed_port() -> int:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def test_nobody_listens() -> None:
    backend = OpenAIBackend(f"http://127.0.0.1:{closed_port()}/v1", "m")
    error = await failure(backend)
    assert error.reason == "unreachable" and "connection refused" in str(error) and error.retryable
    with pytest.raises(BackendError, match="connection refused"):
        await backend.check()


async def test_no_such_host() -> None:
    error = await failure(OpenAIBackend("http://no-such-host.invalid/v1", "m"))
    assert error.reason == "unreachable" and "no such host name" in str(error)


async def test_no_key_is_shown_anywhere(server: ModelServer) -> None:
    backend = backend_for(server, key=KEY)
    server.script.key = "another"
    for error in (await failure(backend), await _check_failure(backend)):
        assert KEY not in str(error) + repr(error) + repr(backend.describe()) + repr(backend)
    error = await failure(backend_for(server))
    assert error.reason == "unauthorised" and "wants a key" in str(error)


async def _check_failure(backend: Backend) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await backend.check()
    return caught.value


async def test_check_names_the_models(server: ModelServer) -> None:
    assert "has test-her." in await backend_for(server).check()
    server.script.models = ["test-her", "other"]
    assert "among 2 models" in await backend_for(server).check()
    unlisted = OpenAIBackend(server.url, "tset-her")
    assert "does not list this model; the nearest is 'test-her'" in await unlisted.check()
    server.script.strict_model = True
    error = await _check_failure(unlisted)
    assert error.reason == "not_found" and "nearest is 'test-her'" in str(error)


@pytest.mark.parametrize("status", [404, 405])
async def test_check_without_a_list_asks_for_one_token(server: ModelServer, status: int) -> None:
    server.script.models_status = status
    assert "no list of models" in await backend_for(server).check()
    assert server.chats[-1]["max_tokens"] == 1


async def test_check_of_a_web_page(server: ModelServer) -> None:
    server.script.fault = "html"
    assert (await _check_failure(backend_for(server))).reason == "invalid_reply"


async def test_the_only_model_need_not_be_named(server: ModelServer) -> None:
    backend = OpenAIBackend(server.url)
    assert backend.describe().model == ""
    await backend.complete(HELLO, Sampling())
    assert (backend.describe().model, server.chats[-1]["model"]) == ("test-her", "test-her")
    server.script.models = ["first", "second"]
    error = await failure(OpenAIBackend(server.url))
    assert "first, second" in str(error) and "#MODEL" in str(error)


async def test_many_at_once_and_after_close(server: ModelServer) -> None:
    backend = backend_for(server)
    server.script.text = lambda body: body["messages"][-1]["content"]
    prompts = [[Message(role="user", content=f"line {number}")] for number in range(20)]
    answers = await asyncio.gather(*(backend.complete(messages, Sampling()) for messages in prompts))
    assert [answer.text for answer in answers] == [f"line {number}" for number in range(20)]
    await backend.close()
    assert (await backend.complete(prompts[0], Sampling())).text == "line 0"


def test_one_backend_serves_several_loops(server: ModelServer) -> None:
    backend = backend_for(server)
    for _ in range(2):
        assert asyncio.run(backend.complete(HELLO, Sampling())).text
