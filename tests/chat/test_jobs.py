"""her/chat/jobs.py: prompt, seed and place of a reply that is sent for, regenerated, continued or edited."""

import pytest

from her import view
from her.backends.base import Delta
from her.errors import InputError
from her.store import Store
from her.types import Part, Sampling
from tests.players import (
    ANNE,
    PLAN,
    Actor,
    ended,
    opened,
    reply,
    said,
    service,
    texts,
)

GREETING = "opens the door Come in, Anne. Wet."


async def test_regenerated_replies_are_swipes_with_seeds_of_their_own(store: Store) -> None:
    actor = Actor(reply("One."), reply("Two."), reply("Three."))
    chats = service(store, actor, Sampling(seed=5))
    chat = await opened(chats)
    first = (await said(chats, chat.id)).turns[-1]
    second = await ended(await chats.regenerate(ANNE, chat.id, first.turn.id))
    assert second.replaces == first.turn.id
    third = await ended(await chats.regenerate(ANNE, chat.id, str(second.node)))
    after = await chats.view(ANNE, chat.id)
    assert (after.turns[-1].swipe_index, after.turns[-1].swipe_count, texts(after)[-1]) == (2, 3, "nods Three.")
    assert [sampling.seed for sampling in actor.samplings] == [5, 6, 7] and actor.sent[0] == actor.sent[1] == actor.sent[2]
    back = await chats.swipe(ANNE, chat.id, str(third.node), -1)
    assert texts(back)[-1] == "nods Two."
    ends = [await chats.swipe(ANNE, chat.id, str(back.turns[-1].turn.id), step) for step in (-9, 9)]
    assert [texts(one)[-1] for one in ends] == ["nods One.", "nods Three."]


@pytest.mark.parametrize(("scripted", "seed"), [(True, 1), (False, 77)])
async def test_without_a_chosen_seed_a_swipe_draws_one_or_takes_the_next_written_line(
    store: Store, monkeypatch: pytest.MonkeyPatch, scripted: bool, seed: int
) -> None:
    monkeypatch.setattr("her.chat.jobs.secrets.randbits", lambda bits: {31: 77}[bits])
    actor = Actor(reply("One."), scripted=scripted)
    chats = service(store, actor)
    chat = await opened(chats)
    first = (await said(chats, chat.id)).turns[-1]
    await ended(await chats.regenerate(ANNE, chat.id, first.turn.id))
    assert [sampling.seed for sampling in actor.samplings] == [None, seed]


async def test_a_swipe_leads_back_to_its_own_continuation(store: Store) -> None:
    chats = service(store, Actor(reply("One."), reply("Two."), reply("After two.")))
    chat = await opened(chats)
    first = (await said(chats, chat.id)).turns[-1]
    second = await ended(await chats.regenerate(ANNE, chat.id, first.turn.id))
    whole = texts(await said(chats, chat.id, "More."))
    assert texts(await chats.select(ANNE, chat.id, first.turn.id))[-1] == "nods One."
    assert texts(await chats.select(ANNE, chat.id, str(second.node))) == whole


async def test_continuing_gives_the_model_its_own_words_back_byte_for_byte(store: Store) -> None:
    actor = Actor([PLAN, "Mara: I was "], ["ju", "st leaving."])
    chats = service(store, actor)
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1]
    last = await ended(await chats.continue_(ANNE, chat.id))
    after = await chats.view(ANNE, chat.id)
    assert actor.sent[1] == (*actor.sent[0], view.Message(role="assistant", content=old.turn.raw))
    assert after.turns[-1].turn.raw == PLAN + "Mara: I was just leaving." and texts(after)[-1] == "I was just leaving."
    assert (last.replaces, after.turns[-1].origin, after.turns[-1].swipe_count) == (old.turn.id, "continue", 2)
    assert texts(await chats.swipe(ANNE, chat.id, str(last.node), -1))[-1] == "I was"


async def test_continuing_keeps_native_reasoning_as_the_plan(store: Store) -> None:
    actor = Actor([Delta(reasoning="Mara hides it."), "Mara: I was"], [" away."])
    chats = service(store, actor)
    chat = await opened(chats)
    await said(chats, chat.id)
    await ended(await chats.continue_(ANNE, chat.id))
    assert (await chats.view(ANNE, chat.id)).turns[-1].turn.parts == (
        Part(kind="system_thinking", text="Mara hides it."),
        Part(kind="speech", text="I was away."),
    )


async def test_continuing_a_written_turn_gives_it_in_the_canonical_form(store: Store) -> None:
    actor = Actor([" Shut the door."])
    chats = service(store, actor)
    chat = await opened(chats)
    await ended(await chats.continue_(ANNE, chat.id))
    assert actor.sent[0][-1].content.startswith("Mara: <role_action>opens the door</role_action>Come in, Anne.")
    assert texts(await chats.view(ANNE, chat.id))[-1] == f"{GREETING} Shut the door."


async def test_nothing_to_add_or_to_go_on_with(store: Store) -> None:
    actor = Actor(reply("One."), [Delta(finish="stop")])
    chats = service(store, actor)
    chat = await opened(chats)
    before = await said(chats, chat.id)
    last = await ended(await chats.continue_(ANNE, chat.id))
    assert last.state == "failed" and "nothing to add" in last.error and not last.give_back
    assert await chats.view(ANNE, chat.id) == before
    await chats.delete(ANNE, chat.id, before.turns[-1].turn.id)
    with pytest.raises(InputError, match="not the model's"):
        await chats.continue_(ANNE, chat.id)


async def test_the_model_may_play_without_a_word_from_the_visitor(store: Store) -> None:
    actor = Actor(reply("Anybody?"))
    chats = service(store, actor)
    chat = await opened(chats)
    await ended(await chats.answer(ANNE, chat.id))
    assert texts(await chats.view(ANNE, chat.id)) == ["Rain beats the glass.", GREETING, "nods Anybody?"]


async def test_editing_an_own_turn_branches_and_is_answered(store: Store) -> None:
    actor = Actor(reply("One."), reply("Two."))
    chats = service(store, actor)
    chat = await opened(chats)
    before = await said(chats, chat.id, "Hello.")
    live = await chats.edit_own(ANNE, chat.id, before.turns[-2].turn.id, "Goodbye.")
    await ended(live)
    after = await chats.view(ANNE, chat.id)
    assert texts(after)[-2:] == ["Goodbye.", "nods Two."] and after.turns[-2].edited and after.turns[-2].mine
    assert after.turns[-2].swipe_count == 2 and "Hello." not in actor.sent[1][-1].content
    assert texts(await chats.swipe(ANNE, chat.id, after.turns[-2].turn.id, -1)) == texts(before)
    with pytest.raises(InputError, match="not yours"):
        await chats.edit_own(ANNE, chat.id, before.turns[1].turn.id, "No.")
