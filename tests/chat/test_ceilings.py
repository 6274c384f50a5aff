"""her/chat/ceilings.py: places and paces, taken before anything is awaited."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from her.chat.ceilings import ADDRESS, Pace, Places
from her.errors import InputError
from her.store import Store
from tests.players import ANNE, BERT, Actor, reply, service


def places() -> Places:
    return Places(2, 3, 4, "{count} replies for you")


def test_a_place_is_given_back_once_and_then_free() -> None:
    held = places()
    give_back = [held.take("anne", "1.1.1.1") for _ in range(2)]
    with pytest.raises(InputError, match="2 replies for you"):
        held.take("anne", "1.1.1.1")
    give_back[0]()
    give_back[0]()
    held.take("anne", "1.1.1.1")
    with pytest.raises(InputError, match="2 replies for you"):
        held.take("anne", "1.1.1.1")


def test_visitors_are_free_and_addresses_are_not() -> None:
    held = places()
    for visitor in "abc":
        held.take(visitor, "1.1.1.1")
    with pytest.raises(InputError, match="your network address"):
        held.take("d", "1.1.1.1")
    with held.held("e", "2.2.2.2"), pytest.raises(InputError, match="is full"):
        held.take("f", "3.3.3.3")
    held.take("f", "3.3.3.3")


def test_without_an_address_only_the_visitor_and_all_are_counted() -> None:
    held = Places(2, 1, 4, "{count}")
    for visitor in "abcd":
        held.take(visitor, "")
    with pytest.raises(InputError, match="is full"):
        held.take("e", "")


def test_a_pace_lets_a_crowd_in_and_then_one_after_the_other() -> None:
    now = [0.0]
    pace = Pace(3, 2, "too many", clock=lambda: now[0])
    for _ in range(3):
        pace.take("a")
    for _ in range(2):
        with pytest.raises(InputError, match="too many"):
            pace.take("a")
    pace.take("b")
    now[0] = 2.0
    pace.take("a")
    with pytest.raises(InputError):
        pace.take("a")
    for _ in range(9):
        pace.take("")


@pytest.mark.whole
async def test_sixty_sends_at_once_call_the_model_as_often_as_allowed(store: Store) -> None:
    """All of them pass a check that awaits before it counts."""
    door = asyncio.Event()
    actor = Actor([door, "Well."])
    chats = service(store, actor)
    opened = [(await chats.start(ANNE, persona="mara")).id for _ in range(60)]
    sent = [asyncio.create_task(chats.send(ANNE, chat, "Hello.")) for chat in opened]
    done, _ = await asyncio.wait(sent, timeout=60)
    refused = [task for task in done if task.exception()]
    assert len(refused) == 57 and all("replies are being written" in str(task.exception()) for task in refused)
    assert len(actor.sent) == 3
    door.set()
    for task in sent:
        if not task.exception():
            await task.result().wait()
    assert (await (await chats.send(ANNE, opened[0], "Again.")).wait()).state == "done"


async def test_an_address_has_a_ceiling_of_its_own(store: Store) -> None:
    door = asyncio.Event()
    chats = service(store, Actor([door, "Well."]), max_live_per_address=2)
    ADDRESS.set("1.1.1.1")
    for number in range(2):
        visitor = f"{number:064x}"
        await chats.send(visitor, (await chats.start(visitor, persona="mara")).id, "Hello.")
    with pytest.raises(InputError, match="your network address"):
        await chats.send(BERT, (await chats.start(BERT, persona="mara")).id, "Hello.")
    ADDRESS.set("2.2.2.2")
    await chats.send(BERT, (await chats.start(BERT, persona="mara")).id, "Hello.")
    door.set()
    await chats.aclose()


async def test_chats_have_an_end(store: Store) -> None:
    chats = service(store, Actor(reply("Well.")), max_chats_per_visitor=2, new_chats_per_address=4)
    first = await chats.start(ANNE, persona="mara")
    await chats.branch(ANNE, first.id, first.turns[-1].turn.id)
    for act in (chats.start(ANNE, persona="mara"), chats.branch(ANNE, first.id, first.turns[-1].turn.id)):
        with pytest.raises(InputError, match="you have 2 chats and at most 2 are kept; delete one"):
            await act
    await chats.delete_chat(ANNE, first.id)
    await chats.start(ANNE, persona="mara")
    ADDRESS.set("1.1.1.1")
    for number in range(4):
        await chats.start(f"{number:064x}", persona="mara")
    with pytest.raises(InputError, match="many chats were started from your network address"):
        await chats.start(BERT, persona="mara")


async def test_streams_have_places_too(store: Store) -> None:
    chats = service(store, Actor(), max_streams_per_visitor=1)

    async def follow() -> AsyncIterator[None]:
        with chats.stream_place(ANNE):
            yield

    with chats.stream_place(ANNE), pytest.raises(InputError, match="1 tabs of yours"):
        await anext(follow())
    await anext(follow())
