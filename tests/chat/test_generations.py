"""her/chat/generations.py and her/chat/generation.py: stopping, following, one at a time."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from her.chat import generations as chat_running
from her.chat.generation import Live
from her.errors import InputError
from her.store import Generation, Store
from tests.players import ANNE, BERT, PLAN, Actor, Step, ended, followed, opened, reply, said, service, shown, texts

# Stopping


async def test_what_was_said_before_a_stop_is_kept_and_flagged(store: Store) -> None:
    actor = Actor([PLAN, "Mara: I was", asyncio.Event(), " never said"])
    chats = service(store, actor)
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")
    await shown(live, "I was")
    await chats.stop(ANNE, chat.id)
    after = await chats.view(ANNE, chat.id)
    assert (texts(after)[-1], after.turns[-1].stopped, after.live) == ("I was", True, False)
    assert (live.snapshot.state, live.snapshot.node, live.snapshot.error) == ("stopped", after.turns[-1].turn.id, "")
    assert actor.left == 1
    call = store.generation(ANNE, chat.id, str(store.node(ANNE, chat.id, live.pending).generation_id))
    assert (call.finish, call.raw, call.error_reason) == ("stopped", PLAN + "Mara: I was", None)


@pytest.mark.parametrize("steps", [[], ["<system_thinking>Mara is about to"], [PLAN, "Ma"]])
async def test_a_stop_before_anything_was_said_leaves_the_chat_as_it_was(
    store: Store, recorded: list[Generation], steps: list[Step]
) -> None:
    chats = service(store, Actor([*steps, asyncio.Event()], reply("Now.")))
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")
    if steps:
        while not live.snapshot.tokens >= len(steps):
            await asyncio.sleep(0)
    await chats.stop(ANNE, chat.id)
    last = live.snapshot
    assert (last.state, last.give_back, last.node, last.parts) == (
        "stopped",
        "Hello.",
        None,
        (),
    ) and "before anything" in last.error
    assert await chats.view(ANNE, chat.id) == chat
    assert [(call.finish, call.raw) for call in recorded] == [("stopped", "".join(map(str, steps)))]
    assert (await said(chats, chat.id, "Hello again.")).turns[-2].swipe_count == 1


async def test_a_stopped_continuation_without_a_new_word_leaves_the_turn(store: Store) -> None:
    chats = service(store, Actor(reply("One."), [asyncio.Event()]))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    await chats.continue_(ANNE, chat.id)
    await chats.stop(ANNE, chat.id)
    assert await chats.view(ANNE, chat.id) == before


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


async def test_another_speakers_line_ends_the_stream(store: Store) -> None:
    actor = Actor([PLAN, "Mara: Hello.\n", "Anne: I say", " so and so", " on and on"])
    chats = service(store, actor)
    chat = await opened(chats)
    after = await said(chats, chat.id)
    assert texts(after)[-1] == "Hello." and actor.left == 1 and not after.turns[-1].stopped
    assert after.turns[-1].turn.raw == PLAN + "Mara: Hello.\nAnne: I say"


# Following


async def test_nobody_needs_to_follow(store: Store) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert texts(await chats.view(ANNE, chat.id))[-1] == "nods One."


async def test_two_follow_one_leaves_and_one_joins_late(store: Store) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    chats = service(store, Actor([PLAN, "Mara: One", first, " two", second, " three."]))
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")
    whole, leaving = asyncio.create_task(followed(chats, chat.id)), asyncio.create_task(followed(chats, chat.id))
    await shown(live, "One")
    leaving.cancel()
    first.set()
    await shown(live, "One two")
    late = asyncio.create_task(followed(chats, chat.id))
    await asyncio.sleep(0)
    second.set()
    everything, rest = await whole, await late
    assert rest[0].parts[-1].text == "One two" and rest[-1] == everything[-1] == live.snapshot
    said_in_order = [snapshot.parts[-1].text for snapshot in everything if len(snapshot.parts) > 1]
    assert said_in_order[-1] == "One two three." and said_in_order == sorted(said_in_order, key=len)
    assert [snapshot.state for snapshot in everything] == ["running"] * (len(everything) - 1) + ["done"]
    assert everything[0].question and everything[0].question.text() == "Hello." and everything[-1].question is None
    assert {snapshot.pending for snapshot in everything} == {live.pending}


async def test_followers_hear_that_a_silent_model_is_still_asked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("her.chat.generation.BEAT_SECONDS", 0.01)
    gate = asyncio.Event()
    chats = service(store, Actor([gate, "Mara: Yes."]))
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")
    beats = []
    async with asyncio.timeout(10):
        async for snapshot in chats.follow(ANNE, chat.id):
            beats.append(snapshot)
            if len(beats) == 3:
                gate.set()
    assert beats[0] == beats[1] == beats[2] and beats[0].state == "running" and not beats[0].parts
    assert beats[-1].state == "done" and live.snapshot == beats[-1]


async def test_an_open_plan_is_never_shown_as_speech(store: Store) -> None:
    steps: list[Step] = list("<system_thinking>secret <role_action>x</role_action></system_thinking>Mara: Said.")
    chats = service(store, Actor(steps))
    chat = await opened(chats)
    await chats.send(ANNE, chat.id, "Hello.")
    for snapshot in await followed(chats, chat.id):
        assert all("secret" not in part.text for part in snapshot.parts if part.kind != "system_thinking")


async def test_snapshots_come_at_most_twelve_a_second_and_the_first_words_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("her.chat.generation.SNAPSHOTS_A_SECOND", 0.01)
    gate = asyncio.Event()
    chats = service(store, Actor([gate, "Mara: On", *("e" * 500), "."]))
    chat = await opened(chats)
    live = await chats.send(ANNE, chat.id, "Hello.")
    following = asyncio.create_task(followed(chats, chat.id))
    await asyncio.sleep(0)
    gate.set()
    snapshots = await following
    assert len(snapshots) == 3 and snapshots[0].parts == () and snapshots[1].parts and snapshots[2] == live.snapshot


async def test_the_end_is_told_to_a_page_that_was_being_reloaded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_running, "ENDED_SECONDS", 0.2)
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    assert await followed(chats, chat.id) == []
    live = await chats.send(ANNE, chat.id, "Hello.")
    last = await ended(live)
    assert await followed(chats, chat.id) == [last]
    while await followed(chats, chat.id):
        await asyncio.sleep(0.02)
    assert chats.live(chat.id) is None


# One at a time


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
    assert during.live and texts(during) == texts(chat) and chats.live(chat.id) is live
    await chats.rename(ANNE, chat.id, "Renamed")
    assert (await chats.view(ANNE, chat.id)).title == "Renamed"
    gate.set()
    await ended(live)
    assert len((await chats.view(ANNE, chat.id)).turns) == 4


async def test_two_messages_at_once_are_one_and_a_refusal(store: Store) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    answers = await asyncio.gather(*(chats.send(ANNE, chat.id, text) for text in ("A", "B")), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["InputError", "Live"]
    [live] = [answer for answer in answers if isinstance(answer, Live)]
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
