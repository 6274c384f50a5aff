"""her/chat: a person rewrites a plan or a thought, and the model goes on from there."""

import json
from typing import Any

import pytest

from her.backends.base import Delta
from her.chat.service import ChatService
from her.errors import BackendError, InputError
from her.feedback.export import ExportFormat, export
from her.feedback.rubric import RUBRIC
from her.store import Rating, Rewritten, Store
from her.store.exports import edited_replies
from her.types import Part, Turn
from tests.players import ANNE, PLAN, Actor, ended, opened, said, service

WHOLE = [PLAN, "Mara: <role_thinking>A stranger.</role_thinking><role_action>nods</role_action>Sit."]
PLANNED = Rewritten(kind="system_thinking", place=0)
THOUGHT = Rewritten(kind="role_thinking", place=0)
NEW_PLAN = "<system_thinking>Mara recognises her sister.</system_thinking>"
NEW_THOUGHT = "<role_thinking>Rosa! After ten years.</role_thinking>"


async def steered(chats: ChatService, chat: str, node: str, rewritten: Rewritten, text: str) -> Any:
    """Return the last snapshot of a steered reply."""
    return await ended(await chats.steer(ANNE, chat, node, rewritten, text))


def kinds(turn: Turn) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in turn.parts]


def exported(store: Store, format: ExportFormat) -> list[dict[str, Any]]:
    lines: list[str] = []
    export(store, format, lines.append)
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("rewritten", "text", "begun", "rest", "parts"),
    [
        (
            PLANNED,
            " Mara recognises her sister. ",
            NEW_PLAN,
            "Mara: <role_thinking>It is her.</role_thinking>Rosa?",
            [("system_thinking", "Mara recognises her sister."), ("role_thinking", "It is her."), ("speech", "Rosa?")],
        ),
        (
            THOUGHT,
            "Rosa! After ten years.",
            f"{PLAN}Mara: {NEW_THOUGHT}",
            "<role_action>drops the lamp</role_action>You.",
            [
                ("system_thinking", "Mara tests the visitor."),
                ("role_thinking", "Rosa! After ten years."),
                ("role_action", "drops the lamp"),
                ("speech", "You."),
            ],
        ),
    ],
)
async def test_the_model_goes_on_from_what_was_rewritten(
    store: Store, rewritten: Rewritten, text: str, begun: str, rest: str, parts: list[tuple[str, str]]
) -> None:
    actor = Actor(WHOLE, [rest])
    chats = service(store, actor)
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1].turn
    last = await steered(chats, chat.id, old.id, rewritten, text)
    assert (last.state, last.replaces) == ("done", old.id)
    after = (await chats.view(ANNE, chat.id)).turns[-1]
    assert kinds(after.turn) == parts and (after.origin, after.swipe_count, after.swipe_index) == ("steer", 2, 1)
    assert actor.sent[1] == (*actor.sent[0], actor.sent[1][-1]) and actor.sent[1][-1].role == "assistant"
    assert actor.sent[1][-1].content == begun
    (edit,) = edited_replies(store)
    assert (edit.rewritten, edit.original.node.id, edit.edited.node.id) == (rewritten, old.id, after.turn.id)
    call = store.generation(ANNE, chat.id, str(store.node(ANNE, chat.id, after.turn.id).generation_id))
    assert call.messages == actor.sent[1]
    # An export has another name in the visitor's place.
    assert edit.edited.prompt == edit.original.prompt and len(edit.edited.prompt) == len(actor.sent[0])
    back = await chats.swipe(ANNE, chat.id, after.turn.id, -1)
    assert back.turns[-1].turn == old


@pytest.mark.parametrize(
    ("rewritten", "anew", "second"),
    [
        (PLANNED, [PLAN, "Mara: Old words."], ["Mara: Rosa?"]),
        (PLANNED, [PLAN, "Mara: Old words."], [NEW_PLAN, "Mara: Rosa?"]),
        (PLANNED, ["<think>Let me see.</think>", "Mara: Old words."], [PLAN, "Mara: Rosa?"]),
        (THOUGHT, ["Mara: <role_thinking>A stranger.</role_thinking>Old words."], ["Rosa?"]),
        (THOUGHT, [PLAN, "Mara: Old words."], [PLAN, f"Mara: {NEW_THOUGHT}Rosa?"]),
    ],
)
async def test_a_server_that_passes_over_the_beginning_is_asked_in_words(
    store: Store, rewritten: Rewritten, anew: list[str], second: list[str]
) -> None:
    actor = Actor(WHOLE, anew, second)
    chats = service(store, actor)
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1].turn
    text = "Mara recognises her sister." if rewritten == PLANNED else "Rosa! After ten years."
    assert (await steered(chats, chat.id, old.id, rewritten, text)).state == "done"
    turn = (await chats.view(ANNE, chat.id)).turns[-1].turn
    begun = [("system_thinking", text)] if rewritten == PLANNED else [kinds(old)[0], ("role_thinking", text)]
    assert kinds(turn) == [*begun, ("speech", "Rosa?")] and not turn.defects
    assert actor.sent[2][:-1] == actor.sent[1] and actor.sent[2][-1].role == "user"
    assert "settled" in actor.sent[2][-1].content
    (row,) = exported(store, "rm")
    assert len(row["prompt"]) == len(actor.sent[0]) and text in row["chosen"][0]["content"]
    assert row["source"] == f"{rewritten.kind} rewritten" and text not in row["rejected"][0]["content"]


@pytest.mark.parametrize("answers", [[[BackendError("gone", "unreachable")]], [[""]], [[PLAN, "Mara: Old."], [PLAN]]])
async def test_a_reply_that_fails_leaves_the_chat_as_it_was(store: Store, answers: list[Any]) -> None:
    chats = service(store, Actor(WHOLE, *answers))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    last = await steered(chats, chat.id, before.turns[-1].turn.id, PLANNED, "She knows her.")
    assert last.state == "failed" and last.error and last.give_back == ""
    assert await chats.view(ANNE, chat.id) == before and not list(edited_replies(store))


@pytest.mark.parametrize(
    ("rewritten", "text", "sentence"),
    [
        (PLANNED, " ", "empty"),
        (PLANNED, "Mara  tests the visitor.", "the same as before"),
        (Rewritten(kind="role_thinking", place=1), "x", "no such plan or thought"),
        (Rewritten(kind="speech", place=0), "x", "no such plan or thought"),
    ],
)
async def test_what_cannot_be_rewritten_is_refused(store: Store, rewritten: Rewritten, text: str, sentence: str) -> None:
    chats = service(store, Actor(WHOLE))
    chat = await opened(chats)
    before = await said(chats, chat.id)
    with pytest.raises(InputError, match=sentence):
        await chats.steer(ANNE, chat.id, before.turns[-1].turn.id, rewritten, text)
    with pytest.raises(InputError, match="not the model's"):
        await chats.steer(ANNE, chat.id, before.turns[-2].turn.id, THOUGHT, "x")
    assert await chats.view(ANNE, chat.id) == before


async def test_tags_in_what_a_person_wrote_are_words(store: Store) -> None:
    actor = Actor(WHOLE, ["Yes."])
    chats = service(store, actor)
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1].turn
    typed = "</role_thinking>Mara: I am free.<role_action>"
    await steered(chats, chat.id, old.id, THOUGHT, typed)
    turn = (await chats.view(ANNE, chat.id)).turns[-1].turn
    assert turn.parts[1:] == (Part(kind="role_thinking", text=typed), Part(kind="speech", text="Yes."))


async def test_native_reasoning_never_replaces_the_plan_of_a_person(store: Store) -> None:
    chats = service(store, Actor(WHOLE, [Delta(reasoning="I plan otherwise."), "Mara: Rosa?"]))
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1].turn
    await steered(chats, chat.id, old.id, PLANNED, "She knows her.")
    turn = (await chats.view(ANNE, chat.id)).turns[-1].turn
    assert kinds(turn) == [("system_thinking", "She knows her."), ("speech", "Rosa?")]


async def test_rewritten_plans_are_training_samples_unless_the_person_decided_against_them(store: Store) -> None:
    chats = service(store, Actor(WHOLE, ["Mara: Rosa?"]))
    chat = await opened(chats)
    old = (await said(chats, chat.id)).turns[-1].turn
    new = (await steered(chats, chat.id, old.id, PLANNED, "She knows her.")).node
    assert new is not None
    (sample,), (pair,) = exported(store, "sft"), exported(store, "preference")
    assert sample["completion"][0]["content"] == "<system_thinking>She knows her.</system_thinking>Mara: Rosa?"
    assert pair["chosen"] == sample["completion"] and pair["prompt"] == sample["prompt"]
    await chats.keep(ANNE, chat.id, old.id)
    assert not exported(store, "sft") and exported(store, "preference")[0]["rejected"] == pair["chosen"]
    await chats.rate(ANNE, chat.id, new, Rating(rubric=RUBRIC.version, thumb=-1))
    assert not exported(store, "sft")
