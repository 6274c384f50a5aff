"""What is left after things go wrong: her/chat/generations.py against failing doubles and a real server with real faults."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from her.backends.base import Delta
from her.backends.open import open_backend
from her.backends.openai_http import HttpLimits, OpenAIBackend
from her.chat import generations as chat_running
from her.chat.service import ChatService
from her.chat.views import GenerationSnapshot
from her.errors import BackendError, StoreError
from her.store import Generation, Store
from her.types import Sampling
from tests.players import ANNE, PLAN, Actor, Step, ended, followed, opened, reply, said, service, shown, texts
from tests.servers import ModelServer, Script


async def assert_as_it_was(chats: ChatService, chat: Any, last: GenerationSnapshot, text: str = "Hello.") -> None:
    assert (last.state, last.give_back, last.node, last.parts) == ("failed", text, None, ())
    assert last.error and "\n" not in last.error and len(last.error) < 400
    assert await chats.view(ANNE, chat.id) == chat and chats.live(chat.id) is None


LENGTH = Delta(finish="length")
NOTHINGS: list[tuple[list[Step], str]] = [
    (["<system_thinking>On and on", LENGTH], "used all 2,048 tokens on its reasoning"),
    ([PLAN, LENGTH], "used all 2,048 tokens on its reasoning"),
    ([Delta(reasoning="Hm."), LENGTH], "used all 2,048 tokens on its reasoning"),
    ([PLAN], "planned its turn and then said nothing"),
    ([PLAN, "Mara: "], "planned its turn and then said nothing"),
    ([" \n"], "without saying anything"),
    ([Delta(finish="stop")], "without saying anything"),
]


@pytest.mark.parametrize(("steps", "sentence"), NOTHINGS)
async def test_a_plan_alone_is_no_turn(store: Store, recorded: list[Generation], steps: list[Step], sentence: str) -> None:
    chats = service(store, Actor(steps))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert sentence in last.error and last.reason == "empty"
    await assert_as_it_was(chats, chat, last)
    [call] = recorded
    assert (call.finish, call.error_reason, call.error) == ("failed", "empty", last.error)


async def test_a_truncated_turn_is_kept_and_flagged(store: Store) -> None:
    chats = service(store, Actor([PLAN, "Mara: I was about to", LENGTH]))
    chat = await opened(chats)
    assert (await said(chats, chat.id)).turns[-1].truncated


@pytest.mark.parametrize("steps", [[], [PLAN, "Mara: <role_action>nods</role_action>Well"]])
async def test_a_backend_that_fails_leaves_the_chat_as_it_was(
    store: Store, recorded: list[Generation], steps: list[Step]
) -> None:
    chats = service(store, Actor([*steps, BackendError("the server is away; start it", "unreachable")], reply("Back.")))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert (last.error, last.reason) == ("the server is away; start it", "unreachable")
    await assert_as_it_was(chats, chat, last)
    assert [(call.error_reason, call.raw) for call in recorded] == [("unreachable", "".join(map(str, steps)))]
    again = await said(chats, chat.id, "Hello?")
    assert texts(again)[-1] == "nods Back." and again.turns[-2].swipe_count == 1


async def test_failed_swipes_and_edits_leave_the_chat_as_it_was(store: Store) -> None:
    chats = service(store, Actor(reply("One."), [BackendError("away", "timeout")]))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: chats.regenerate(ANNE, chat.id, before.turns[-1].turn.id), ""),
        (lambda: chats.edit_own(ANNE, chat.id, before.turns[-2].turn.id, "Goodbye."), "Goodbye."),
        (lambda: chats.continue_(ANNE, chat.id), ""),
        (lambda: chats.answer(ANNE, chat.id), ""),
    ]
    for call, given_back in calls:
        last = await ended(await call())
        assert (last.state, last.give_back) == ("failed", given_back)
        assert await chats.view(ANNE, chat.id) == before


async def test_an_unexpected_error_is_logged_and_told_plainly(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    chats = service(store, Actor(["Mara: On", ZeroDivisionError("a secret detail")]))
    chat = await opened(chats)
    with caplog.at_level(logging.ERROR):
        last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.error == chat_running.UNEXPECTED and "a secret detail" in caplog.text and "Traceback" in caplog.text
    await assert_as_it_was(chats, chat, last)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), None])
async def test_a_stream_that_breaks_off_without_an_end(store: Store, error: BaseException | None) -> None:
    class Rude(Actor):
        async def stream(self, *_: Any) -> AsyncIterator[Delta]:
            yield Delta(text="Mara: Well")
            if error:
                raise error

    chats = service(store, Rude())
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.reason == "broken_stream"
    await assert_as_it_was(chats, chat, last)


async def test_a_reply_without_end_is_ended(store: Store) -> None:
    actor = Actor(["Mara: Well", asyncio.Event()])
    chats = service(store, actor, max_reply_seconds=0.05)
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.reason == "timeout" and "more than 0.05 seconds" in last.error and actor.left == 1
    await assert_as_it_was(chats, chat, last)


async def test_a_message_that_cannot_be_kept_takes_the_call_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full; free some space")

    actor = Actor(["Mara: On", asyncio.Event()])
    chats = service(store, actor)
    chat = await opened(chats)
    with monkeypatch.context() as broken:
        broken.setattr(store, "add_turn", full)
        with pytest.raises(StoreError, match="disk is full"):
            await chats.send(ANNE, chat.id, "Hello.")
        [last] = await followed(chats, chat.id)
    assert last.error == "the disk is full; free some space" and actor.left == len(actor.sent)
    await assert_as_it_was(chats, chat, last)


async def test_a_reply_that_cannot_be_kept_is_said_to_be_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    chats = service(store, Actor(["Mara: On", gate, "e."]))
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")

    def full(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full; free some space")

    monkeypatch.setattr(store, "add_turn", full)
    gate.set()
    last = await ended(live)
    assert last.error == "the disk is full; free some space"
    await assert_as_it_was(chats, chat, last)


FAULTS: list[tuple[dict[str, Any], set[str]]] = [
    ({"status": 401}, {"unauthorised"}),
    ({"status": 429, "retry_after": "7"}, {"rate_limited"}),
    ({"status": 500}, {"server_error"}),
    ({"fault": "stall"}, {"timeout"}),
    ({"fault": "stall", "fault_after": 0}, {"timeout"}),
    ({"fault": "truncated"}, {"broken_stream"}),
    ({"fault": "no_finish"}, {"broken_stream"}),
    ({"fault": "not_json"}, {"invalid_reply", "broken_stream"}),
    ({"fault": "wrong_shape"}, {"invalid_reply", "broken_stream"}),
    ({"fault": "html"}, {"invalid_reply", "not_found"}),
    ({"fault": "endless"}, {"endless"}),
    ({"fault": "empty"}, {"empty"}),
]


@pytest.mark.parametrize(("fault", "reasons"), FAULTS, ids=[json.dumps(fault) for fault, _ in FAULTS])
async def test_a_server_that_fails(store: Store, recorded: list[Generation], fault: dict[str, Any], reasons: set[str]) -> None:
    with ModelServer(Script(**fault)) as server:
        patience = 0.3 if fault.get("fault") == "stall" else 10
        limits = HttpLimits(first_token=patience, token=patience, characters=4_000)
        chats = service(store, OpenAIBackend(server.url, server.script.model, limits=limits), Sampling(max_tokens=500))
        chat = await opened(chats)
        last = await ended(await chats.send(ANNE, chat.id, "Hello."))
        assert last.reason in reasons
        await assert_as_it_was(chats, chat, last)
        assert [call.error_reason for call in recorded] == [last.reason]
        server.script = Script(text="Mara: Well.")
        assert texts(await said(chats, chat.id))[-1] == "Well."
        await chats.aclose()


async def test_a_server_that_is_down(store: Store) -> None:
    chats = service(store, open_backend("openai:http://127.0.0.1:9/v1#gone"))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.reason == "unreachable"
    await assert_as_it_was(chats, chat, last)
    await chats.aclose()


async def test_stopping_lets_the_server_go(store: Store) -> None:
    with ModelServer(Script(rate=20)) as server:
        chats = service(store, OpenAIBackend(server.url, server.script.model))
        chat = await opened(chats)
        live = await chats.send(ANNE, chat.id, "Hello.")
        await shown(live, "I need")
        await chats.stop(ANNE, chat.id)
        assert live.snapshot.state == "stopped" and await chats.view(ANNE, chat.id) == chat
        while not server.disconnects:
            await asyncio.sleep(0.01)
        await chats.aclose()
