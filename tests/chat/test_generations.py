"""her/chat/generations.py: one generation a chat, its commit, and what is left after a failure."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from her.backends.open import open_backend
from her.backends.openai_connections import HttpLimits
from her.backends.openai_http import OpenAIBackend
from her.chat import generations
from her.chat.generation import RunningGeneration
from her.chat.sentences import FULL_DISK
from her.errors import BackendError, InputError, Reason, StoreError
from her.store import Generation, Store
from her.types import Sampling
from tests.players import (
    ANNE,
    BERT,
    PLAN,
    Actor,
    Step,
    assert_unchanged,
    ended,
    followed,
    opened,
    reply,
    said,
    service,
    shown,
    texts,
)
from tests.servers import ModelServer, Script


@pytest.mark.parametrize("steps", [[], [PLAN, "Mara: <role_action>nods</role_action>Well"]])
async def test_a_backend_that_fails_leaves_the_chat_as_it_was(
    store: Store, recorded: list[Generation], steps: list[Step]
) -> None:
    chats = service(store, Actor([*steps, BackendError("the server is away; start it", "unreachable")], reply("Back.")))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert (last.error, last.reason) == ("the server is away; start it", "unreachable")
    await assert_unchanged(chats, chat, last)
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


async def test_an_unexpected_error_is_logged_and_shown_as_one_sentence(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    chats = service(store, Actor(["Mara: On", ZeroDivisionError("a secret detail")]))
    chat = await opened(chats)
    with caplog.at_level(logging.ERROR):
        last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.error == generations.UNEXPECTED and "a secret detail" in caplog.text and "Traceback" in caplog.text
    await assert_unchanged(chats, chat, last)


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
    assert last.error == FULL_DISK and actor.left == len(actor.sent)
    await assert_unchanged(chats, chat, last)


async def test_a_reply_that_cannot_be_stored_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()
    chats = service(store, Actor(["Mara: On", gate, "e."]))
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")

    def full(*_: Any, **__: Any) -> None:
        raise StoreError("the disk is full; free some space")

    monkeypatch.setattr(store, "add_turn", full)
    gate.set()
    last = await ended(live)
    assert last.error == FULL_DISK
    await assert_unchanged(chats, chat, last)


FAULTS: list[tuple[dict[str, Any], Reason]] = [
    ({"status": 401}, "unauthorised"),
    ({"status": 429, "retry_after": "7"}, "rate_limited"),
    ({"status": 500}, "server_error"),
    ({"fault": "stall"}, "timeout"),
    ({"fault": "stall", "fault_after": 0}, "timeout"),
    ({"fault": "truncated"}, "broken_stream"),
    ({"fault": "no_finish"}, "broken_stream"),
    ({"fault": "not_json"}, "invalid_reply"),
    ({"fault": "wrong_shape"}, "invalid_reply"),
    ({"fault": "html"}, "invalid_reply"),
    ({"fault": "endless"}, "endless"),
    ({"fault": "empty"}, "empty"),
]


@pytest.mark.whole
@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[json.dumps(fault) for fault, _ in FAULTS])
async def test_a_server_that_fails(store: Store, recorded: list[Generation], fault: dict[str, Any], reason: Reason) -> None:
    with ModelServer(Script(**fault)) as server:
        patience = 0.3 if fault.get("fault") == "stall" else 10
        limits = HttpLimits(first_token=patience, token=patience, characters=4_000)
        chats = service(store, OpenAIBackend(server.url, server.script.model, limits=limits), Sampling(max_tokens=500))
        chat = await opened(chats)
        last = await ended(await chats.send(ANNE, chat.id, "Hello."))
        assert last.reason == reason
        await assert_unchanged(chats, chat, last)
        assert [call.error_reason for call in recorded] == [reason]
        server.script = Script(text="Mara: Well.")
        assert texts(await said(chats, chat.id))[-1] == "Well."
        await chats.aclose()


async def test_a_server_that_is_down(store: Store) -> None:
    chats = service(store, open_backend("openai:http://127.0.0.1:9/v1#gone"))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.reason == "unreachable"
    await assert_unchanged(chats, chat, last)
    await chats.aclose()


@pytest.mark.whole
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


async def test_stopping_when_nothing_runs_is_harmless(store: Store) -> None:
    chats = service(store, Actor())
    chat = await opened(chats)
    await chats.stop(ANNE, chat.id)
    assert await chats.view(ANNE, chat.id) == chat


async def test_closing_the_service_keeps_what_was_said(store: Store) -> None:
    actor = Actor(["Mara: I was", asyncio.Event()])
    chats = service(store, actor)
    chat = await opened(chats)
    await shown(await chats.send(ANNE, chat.id, "Hello."), "I was")
    await chats.aclose()
    assert actor.closed == 1 and texts(await service(store, Actor()).view(ANNE, chat.id))[-1] == "I was"


async def test_the_end_is_kept_for_a_page_that_was_being_reloaded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, later = asyncio.get_running_loop(), asyncio.get_running_loop().call_later
    forgotten: list[Callable[[], None]] = []

    def call_later(delay: float, call: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        if delay == generations.ENDED_SECONDS:
            forgotten.append(lambda: call(*args))
        return later(delay, call, *args)

    monkeypatch.setattr(generations, "ENDED_SECONDS", 3_601)
    monkeypatch.setattr(loop, "call_later", call_later)
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    assert await followed(chats, chat.id) == []
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert await followed(chats, chat.id) == [last] and chats.running(chat.id) is None
    [forget] = forgotten
    forget()
    assert await followed(chats, chat.id) == []


async def test_while_a_reply_is_written_nothing_else_changes_the_chat(store: Store) -> None:
    gate = asyncio.Event()
    chats = service(store, Actor(["Mara: One", gate, "."]))
    chat = await opened(chats)
    greeting = chat.turns[-1].turn.id
    live = await chats.send(ANNE, chat.id, "Hello.")
    calls: list[Callable[[], Any]] = [
        lambda: chats.send(ANNE, chat.id, "Again."),
        lambda: chats.regenerate(ANNE, chat.id, greeting),
        lambda: chats.swipe(ANNE, chat.id, greeting, 1),
        lambda: chats.delete(ANNE, chat.id, greeting),
        lambda: chats.edit_played(ANNE, chat.id, greeting, "Out."),
    ]
    for call in calls:
        with pytest.raises(InputError, match="a reply is being written in this chat"):
            await call()
    during = await chats.view(ANNE, chat.id)
    assert during.live and texts(during) == texts(chat) and chats.running(chat.id) is live
    await chats.rename(ANNE, chat.id, "Renamed")
    assert (await chats.view(ANNE, chat.id)).title == "Renamed"
    gate.set()
    await ended(live)
    assert len((await chats.view(ANNE, chat.id)).turns) == 4


async def test_two_messages_at_once_are_one_and_a_refusal(store: Store) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    answers = await asyncio.gather(*(chats.send(ANNE, chat.id, text) for text in ("A", "B")), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["InputError", "RunningGeneration"]
    [live] = [answer for answer in answers if isinstance(answer, RunningGeneration)]
    await ended(live)
    assert len((await chats.view(ANNE, chat.id)).turns) == 4


async def test_a_visitor_has_so_many_replies_written_at_once(store: Store) -> None:
    gate = asyncio.Event()
    chats = service(store, Actor(["Mara: One", gate, "."]), max_live_per_visitor=2)
    rooms = [await opened(chats) for _ in range(3)]
    lives = [await chats.send(ANNE, room.id, "Hello.") for room in rooms[:2]]
    with pytest.raises(InputError, match="2 replies are being written for you"):
        await chats.send(ANNE, rooms[2].id, "Hello.")
    lives.append(await chats.send(BERT, (await opened(chats, BERT)).id, "Hello."))
    gate.set()
    assert [(await ended(live)).state for live in lives] == ["done"] * 3
    assert texts(await said(chats, rooms[2].id))[-1] == "One."


async def test_a_chat_that_is_deleted_meanwhile_is_stopped(store: Store) -> None:
    actor = Actor(["Mara: One", asyncio.Event()])
    chats = service(store, actor)
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")
    await chats.delete_chat(ANNE, chat.id)
    assert not live.running and actor.left == 1 and await chats.chats(ANNE) == []
