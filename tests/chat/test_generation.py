"""her/chat/generation.py: one generation, from its stream to its turn, as its followers see it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from her.backends.base import Delta, Usage
from her.errors import TooLong
from her.store import Generation, Store
from tests.players import (
    ANNE,
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

LENGTH = Delta(finish="length")


NOTHINGS: list[tuple[list[Step], str]] = [
    (["<system_thinking>On and on", LENGTH], "used all 2,048 tokens on its reasoning"),
    ([PLAN, LENGTH], "used all 2,048 tokens on its reasoning"),
    (["<system_thinking>On", Delta(finish="length", usage=Usage(prompt_tokens=1, completion_tokens=89))], "all 89 tokens on its"),
    ([Delta(reasoning="Hm."), LENGTH], "used all 2,048 tokens on its reasoning"),
    ([PLAN], "planned its turn and then said nothing"),
    ([PLAN, "Mara: "], "planned its turn and then said nothing"),
    ([" \n"], "without saying anything"),
    ([Delta(finish="stop")], "without saying anything"),
]


@pytest.mark.parametrize(("steps", "sentence"), NOTHINGS)
async def test_a_plan_alone_is_a_failure(store: Store, recorded: list[Generation], steps: list[Step], sentence: str) -> None:
    chats = service(store, Actor(steps))
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert sentence in last.error and last.reason == "empty"
    await assert_unchanged(chats, chat, last)
    [call] = recorded
    assert (call.finish, call.error_reason, call.error) == ("failed", "empty", last.error)


class Overflowing(Actor):
    """A server whose context turns out to be shorter once it is full; it learns that, or it does not."""

    def __init__(self, learned: int) -> None:
        super().__init__(reply("Aye."))
        self.learned, self.full = learned, False

    async def stream(self, messages: Any, sampling: Any) -> AsyncIterator[Delta]:
        if self.full:
            self.full, self.context = False, self.learned
            self.sent.append(tuple(messages))
            self.samplings.append(sampling)
            raise TooLong("it has no room for this prompt", self.learned, 4000)
        async for delta in super().stream(messages, sampling):
            yield delta


async def test_a_prompt_that_was_too_long_is_cut_and_sent_once_more(store: Store) -> None:
    actor = Overflowing(3000)
    chats = service(store, actor)
    chat = await opened(chats)
    for _ in range(3):
        await said(chats, chat.id, "The rain. " * 300)
    actor.full = True
    page = await said(chats, chat.id, "And now?")
    assert page.meter.dropped
    refused, sent = actor.sent[-2:]
    assert len(sent) < len(refused) and sent[0] == refused[0] and sent[-1] == refused[-1]
    assert actor.samplings[-1].max_tokens == 1500


async def test_a_refusal_that_teaches_nothing_is_the_failure(store: Store, recorded: list[Generation]) -> None:
    actor = Overflowing(8192)
    chats = service(store, actor)
    chat = await opened(chats)
    actor.full = True
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.error == "it has no room for this prompt" and len(actor.sent) == 1
    await assert_unchanged(chats, chat, last)


async def test_a_truncated_turn_is_kept_and_flagged(store: Store) -> None:
    chats = service(store, Actor([PLAN, "Mara: I was about to", LENGTH]))
    chat = await opened(chats)
    assert (await said(chats, chat.id)).turns[-1].truncated


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
    await assert_unchanged(chats, chat, last)


async def test_a_reply_without_end_is_ended(store: Store) -> None:
    actor = Actor(["Mara: Well", asyncio.Event()])
    chats = service(store, actor, max_reply_seconds=0.05)
    chat = await opened(chats)
    last = await ended(await chats.send(ANNE, chat.id, "Hello."))
    assert last.reason == "timeout" and "more than 0.05 seconds" in last.error and actor.left == 1
    await assert_unchanged(chats, chat, last)


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


async def test_another_speakers_line_ends_the_stream(store: Store) -> None:
    actor = Actor([PLAN, "Mara: Hello.\n", "Anne: I say", " so and so", " on and on"])
    chats = service(store, actor)
    chat = await opened(chats)
    after = await said(chats, chat.id)
    assert texts(after)[-1] == "Hello." and actor.left == 1 and not after.turns[-1].stopped
    assert after.turns[-1].turn.raw == PLAN + "Mara: Hello.\nAnne: I say"


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


async def test_a_snapshot_is_repeated_while_the_model_is_silent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_the_first_words_come_at_once_and_later_snapshots_at_a_limited_rate(
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
