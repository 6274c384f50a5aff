"""her/chat/edits.py: turns of the model rewritten by hand."""

from typing import Any

import pytest

from her.chat.edits import continuation_base, rewrite
from her.errors import InputError
from her.format import parse
from her.store import PathNode, Store
from her.types import Part
from tests.players import ANNE, PLAN, Actor, opened, reply, said, service


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
async def test_an_edit_keeps_the_plan_and_stands_beside_the_turn(store: Store, text: str, parts: list[tuple[Any, str]]) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1].turn
    after = await chats.edit_played(ANNE, chat.id, old.id, text)
    edited = after.turns[-1]
    assert [(part.kind, part.text) for part in edited.turn.parts] == [("system_thinking", "Mara tests the visitor."), *parts]
    assert edited.turn.raw == text and edited.edited and edited.swipe_count == 2 and not edited.mine
    assert store.node(ANNE, chat.id, edited.turn.id).edit_of == old.id


@pytest.mark.parametrize("text", ["(nods) One.", "Mara: (nods)  One. ", PLAN + "Mara: <role_action>nods</role_action>One."])
async def test_an_edit_without_a_change_is_not_stored(store: Store, text: str) -> None:
    chats = service(store, Actor(reply("One.")))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    assert await chats.edit_played(ANNE, chat.id, before.turns[-1].turn.id, text) == before


async def test_edits_that_are_refused(store: Store) -> None:
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


@pytest.mark.parametrize(
    ("old", "text", "defects"),
    [
        (f"{PLAN}Mara: One.", "Mara: Two.", []),
        (f"{PLAN}Mara: One.", "(sits) Two.", ["name_missing", "foreign_notation"]),
        (f"{PLAN}Mara: One.", f"{PLAN}Mara: Two.", []),
        ("Mara: One.", f"{PLAN}Mara: Two.", []),
        ("Mara: One.", "Mara: Two.", ["plan_missing"]),
    ],
)
def test_an_edit_reports_a_missing_plan_only_when_the_turn_has_none(old: str, text: str, defects: list[str]) -> None:
    turn = rewrite(parse(old, "Mara"), text)
    assert turn is not None and [defect.name for defect in turn.defects] == defects
    assert any(part.kind == "system_thinking" for part in turn.parts) is ("plan_missing" not in defects)


def node(raw: str, origin: Any = "model", others: tuple[str, ...] = ()) -> PathNode:
    turn = parse(raw, "Mara", others=others)
    return PathNode(
        id=turn.id, conversation_id="c", parent_id=None, turn=turn, origin=origin, created_at=1, swipe_index=0, swipe_count=1
    )


@pytest.mark.parametrize("origin", ["model", "continue"])
def test_the_models_own_text_is_continued_byte_for_byte(origin: Any) -> None:
    begun = node(f"{PLAN} Mara:  One,", origin)
    assert continuation_base(begun) == (begun.turn, "")


def test_a_plan_that_is_not_in_the_text_came_as_native_reasoning() -> None:
    begun = node("Mara: One,")
    planned = begun.turn.model_copy(update={"parts": (Part(kind="system_thinking", text="Hm."), *begun.turn.parts)})
    assert continuation_base(begun.model_copy(update={"turn": planned})) == (planned, "Hm.")


@pytest.mark.parametrize(
    ("begun", "raw"),
    [
        (node("(nods) One,", "edit"), "Mara: <role_action>nods</role_action>One,"),
        (node("(nods) One,", "greeting"), "Mara: <role_action>nods</role_action>One,"),
        (node(f"{PLAN}Mara: One,\nAnne: I say", others=("Anne",)), f"{PLAN}Mara: One,"),
    ],
)
def test_a_written_or_cut_turn_is_continued_in_the_canonical_form(begun: PathNode, raw: str) -> None:
    base, reasoning = continuation_base(begun)
    assert (base.raw, base.parts, reasoning) == (raw, begun.turn.parts, "")
