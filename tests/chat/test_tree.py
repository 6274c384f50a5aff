"""her/chat/service.py: swipes, continuations, edits, deletions and branches leave a tree in which nothing is lost."""

from typing import Any

import pytest

from her import view
from her.backends.base import Delta
from her.errors import InputError
from her.store import Store
from her.types import Part, Sampling
from tests.players import ANNE, PLAN, Actor, ended, opened, reply, said, service, texts

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


@pytest.mark.parametrize(("scripted", "drawn"), [(True, False), (False, True)])
async def test_seeds_without_a_chosen_one(store: Store, scripted: bool, drawn: bool) -> None:
    actor = Actor(reply("One."), scripted=scripted)
    chats = service(store, actor)
    chat = await opened(chats)
    first = (await said(chats, chat.id)).turns[-1]
    await ended(await chats.regenerate(ANNE, chat.id, first.turn.id))
    assert actor.samplings[0].seed is None
    assert (actor.samplings[1].seed != 1) == drawn and actor.samplings[1].seed is not None


async def test_a_swipe_leads_back_to_its_own_continuation(store: Store) -> None:
    chats = service(store, Actor(reply("One."), reply("Two."), reply("After two.")))
    chat = await opened(chats)
    first = (await said(chats, chat.id)).turns[-1]
    second = await ended(await chats.regenerate(ANNE, chat.id, first.turn.id))
    whole = texts(await said(chats, chat.id, "More."))
    assert texts(await chats.select(ANNE, chat.id, first.turn.id))[-1] == "nods One."
    assert texts(await chats.select(ANNE, chat.id, str(second.node))) == whole


async def test_keeping_a_swipe_is_recorded_over_the_others(store: Store) -> None:
    chats = service(store, Actor(reply("One."), reply("Two.")))
    chat = await opened(chats)
    first = (await said(chats, chat.id)).turns[-1].turn.id
    with pytest.raises(InputError, match="only one reply"):
        await chats.keep(ANNE, chat.id, first)
    second = str((await ended(await chats.regenerate(ANNE, chat.id, first))).node)
    saved = await chats.keep(ANNE, chat.id, second)
    [choice] = store.choices(ANNE, chat.id).values()
    assert (choice.chosen_id, choice.alternatives, choice.created_at) == (second, (first,), saved)
    assert (await chats.view(ANNE, chat.id)).turns[-1].kept
    assert not (await chats.swipe(ANNE, chat.id, second, -1)).turns[-1].kept


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


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "(smiles) Sit down. [Poor thing.]",
            [("role_action", "smiles"), ("speech", "Sit down."), ("role_thinking", "Poor thing.")],
        ),
        ("<role_action>smiles</role_action>Sit.", [("role_action", "smiles"), ("speech", "Sit.")]),
    ],
)
async def test_editing_a_played_turn_teaches(store: Store, text: str, parts: list[tuple[Any, str]]) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1].turn
    after = await chats.edit_played(ANNE, chat.id, old.id, text)
    edited = after.turns[-1]
    assert [(part.kind, part.text) for part in edited.turn.parts] == [("system_thinking", "Mara tests the visitor."), *parts]
    assert edited.turn.raw == text and edited.edited and edited.swipe_count == 2 and not edited.mine
    assert store.node(ANNE, chat.id, edited.turn.id).edit_of == old.id


@pytest.mark.parametrize("text", ["(nods) One.", "Mara: (nods)  One. ", PLAN + "Mara: <role_action>nods</role_action>One."])
async def test_an_edit_that_says_the_same_is_none(store: Store, text: str) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    assert await chats.edit_played(ANNE, chat.id, before.turns[-1].turn.id, text) == before


async def test_edits_that_cannot_be(store: Store) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    for node, text, sentence in (
        (before.turns[-1], " ", "empty"),
        (before.turns[-1], PLAN, "nothing to be seen"),
        (before.turns[-2], "Mine.", "not the model's"),
        (before.turns[0], "Sun.", "not the model's"),
    ):
        with pytest.raises(InputError, match=sentence):
            await chats.edit_played(ANNE, chat.id, node.turn.id, text)
    assert await chats.view(ANNE, chat.id) == before


async def test_deleting_a_reply_shows_the_one_before_it_and_a_message_goes_with_its_answer(store: Store) -> None:
    chats = service(store, Actor(reply("One."), reply("Two.")))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    second = await ended(await chats.regenerate(ANNE, chat.id, before.turns[-1].turn.id))
    assert await chats.delete(ANNE, chat.id, str(second.node)) == before
    assert texts(await chats.delete(ANNE, chat.id, before.turns[-2].turn.id)) == texts(chat)


async def test_a_branch_is_a_chat_of_its_own(store: Store) -> None:
    chats = service(store, Actor(reply("One."), reply("Two.")))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    branch = await chats.branch(ANNE, chat.id, before.turns[-1].turn.id)
    assert branch.id != chat.id and texts(branch) == texts(before)
    await said(chats, branch.id, "Elsewhere.")
    assert await chats.view(ANNE, chat.id) == before
    assert {one.id for one in await chats.chats(ANNE)} == {chat.id, branch.id}
