"""System thinking against a teacher over HTTP: every turn gets a plan, and no question holds what its character cannot know."""

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from her.characters.coser import BookScene
from her.training_data.samples import samples
from her.types import Sample
from her.view import messages
from pipelines.synthesize.checks.knowledge import sight
from pipelines.synthesize.checks.plans import draft_type
from pipelines.synthesize.notes import Notes
from pipelines.synthesize.option_groups import PlanOptions, StageOptions, TeacherOptions
from pipelines.synthesize.questions import StageContext
from pipelines.synthesize.stages.role_thinking import enhance_thoughts
from pipelines.synthesize.stages.system_thinking import add_plans, target_length
from tests.pipelines.synthesize.planted import CASES, PlantedTeacher, batches, planted_scene
from tests.teaching import a_scene, answering, callers_of, context_of, improved, ledger_of, teaching

SCENE = a_scene()
TARGETS = [turn for turn in SCENE.turns if turn.speaker != "Environment"]


async def test_every_turn_of_every_character_gets_a_plan(tmp_path: Path) -> None:
    """Also those of characters who are not major, whose turns the published pipeline leaves bare."""
    scene, notes, server = await improved(add_plans, tmp_path)
    assert scene.major == ("Iago",)
    assert all(turn.text("system_thinking") for turn in scene.turns if turn.speaker != "Environment")
    assert not scene.turns[0].text("system_thinking")
    assert len(server.questions("play")) == len(server.questions("rewrite_plan")) == len(TARGETS) == len(notes.turns)
    rows = list(samples(scene.transcript()))
    assert len(rows) == len(TARGETS) and all(isinstance(row, Sample) for row in rows)


async def test_the_draft_is_made_on_the_live_prompt_byte_for_byte(tmp_path: Path) -> None:
    scene, _, server = await improved(add_plans, tmp_path)
    sent = {json.dumps(body["messages"]) for body in server.questions("play")}
    live = {
        json.dumps([each.model_dump() for each in messages(SCENE.transcript(), turn.speaker, SCENE.turns[:at])])
        for at, turn in enumerate(SCENE.turns)
        if turn.speaker != "Environment"
    }
    rows = {json.dumps([each.model_dump() for each in row.messages[:-1]]) for row in samples(scene.transcript())}  # type: ignore[union-attr]
    assert sent == live == rows


async def test_the_rewriter_is_shown_only_what_its_character_can_know(tmp_path: Path) -> None:
    """On the request as it was sent: no turn to come, nobody else's thought, nobody else's motivation, no earlier plan."""
    _, _, server = await improved(add_plans, tmp_path)
    question = {payload["turn"]: json.dumps(payload, ensure_ascii=False) for payload in server.questions("rewrite_plan")}
    everything = [json.dumps(body, ensure_ascii=False) for body in server.chats]
    for at, turn in enumerate(SCENE.turns):
        if turn.speaker == "Environment":
            continue
        text = next(text for gold, text in question.items() if turn.text("speech") in gold)
        for place, other in enumerate(SCENE.turns):
            if place > at:
                assert other.text("speech") not in text
            if other.speaker != turn.speaker or place > at:
                assert all(part.text not in text for part in other.parts if part.kind == "role_thinking")
        for member in SCENE.cast:
            assert (member.motivation in text) == (member.name == turn.speaker)
        assert "strangled" not in text
    assert not any("strangled" in sent for sent in everything)


@pytest.mark.parametrize("harvest", [True, False])
async def test_native_thinking_is_the_draft_or_only_the_plan_that_was_written(tmp_path: Path, harvest: bool) -> None:
    def spoil(task: str, payload: dict[str, Any], valid: str) -> str:
        if task != "play":
            return valid
        return "<think>Native thinking.</think><system_thinking>A written plan.</system_thinking>Iago: Ha!"

    with teaching(spoil) as server, ledger_of(tmp_path) as ledger:
        async with callers_of(server, ledger) as callers:
            await add_plans(SCENE, context_of(callers, StageOptions(teacher=TeacherOptions(harvest=harvest))))
    drafts = {payload["draft"] for payload in server.questions("rewrite_plan")}
    assert drafts == {"Native thinking. A written plan." if harvest else "A written plan."}


async def test_own_earlier_thoughts_are_shown_to_the_rewriter(tmp_path: Path) -> None:
    _, _, server = await improved(add_plans, tmp_path)
    last = server.questions("rewrite_plan")
    othello = next(payload for payload in last if "first to last" in payload["turn"])
    assert any("I saw somebody slip away" in line for line in othello["history"])
    assert othello["draft"] and "portray Othello" in othello["draft"]


async def test_a_failing_plan_is_asked_again_with_the_reasons_then_the_turn_goes_without(tmp_path: Path) -> None:
    bad = {"plan": "The user wants me to answer."}
    spoil = answering("rewrite_plan", lambda payload, answer, count: bad if payload["name"] == "Othello" else answer)
    scene, notes, server = await improved(add_plans, tmp_path, spoil)
    again = [payload for payload in server.questions("rewrite_plan") if "reasons" in payload]
    assert again and all("the plan says 'user'" in payload["reasons"] and payload["tried"] == bad["plan"] for payload in again)
    records = {record.turn: record for record in notes.turns}
    for turn in scene.turns[1:]:
        record = records[turn.id]
        if turn.speaker == "Othello":
            assert record.fate == "missing" and {"plan_user", "plan_short"} <= set(record.first)
            assert not turn.text("system_thinking") and record.same
        else:
            assert record.fate == "changed" and turn.text("system_thinking")


async def test_a_model_without_thinking_has_an_empty_draft(tmp_path: Path) -> None:
    scene, _, server = await improved(add_plans, tmp_path, lambda task, payload, valid: "Iago: No." if task == "play" else valid)
    assert all(payload["draft"] == "" for payload in server.questions("rewrite_plan"))
    assert all(turn.text("system_thinking") for turn in scene.turns[1:])


@cache
def enhanced(language: str) -> BookScene:
    """Return a planted scene with its good turns."""
    context = StageContext(PlantedTeacher(language, {}), StageOptions(), Notes())
    return asyncio.run(enhance_thoughts(planted_scene(language), context))


async def planned(language: str, over: dict[int, str | None], **teacher: Any) -> tuple[BookScene, Notes]:
    """Take a planted scene through the stage; `over` is the answer for some plans."""
    options = StageOptions(plans=PlanOptions(draft=False), checked="checker" in teacher)
    scene = await asyncio.to_thread(enhanced, language)
    context = StageContext(PlantedTeacher(language, over, **teacher), options, Notes())
    return await add_plans(scene, context), context.notes


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_no_honest_plan_is_refused(language: str) -> None:
    for over in batches("honest_plans", language):
        scene, notes = await planned(language, over)
        assert not [(record.problems, record.refused) for record in notes.turns if record.fate == "missing"]
        assert all(scene.turns[at].text("system_thinking") == text for at, text in over.items())


@pytest.mark.whole
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_every_planted_fault_in_a_plan_is_refused(language: str) -> None:
    for over in batches("faulty_plans", language):
        scene, notes = await planned(language, over)
        for at, text in over.items():
            assert not scene.turns[at].text("system_thinking") and notes.turns[at].problems, text
        # The honest plans beside them stay, but for those that share a template with a faulty one.
        left = [record for at, record in enumerate(notes.turns) if at not in over and record.fate == "missing"]
        assert all({each.name for each in record.problems} == {"plan_template"} for record in left)


async def test_the_checker_reads_the_plans_of_a_scene_in_one_question() -> None:
    text = CASES["scenes"]["en"]["plans"][5]
    scene, notes = await planned("en", {}, checker={text: ["opposite"]})
    assert notes.turns[5].first == ("checker_opposite",) and not scene.turns[5].text("system_thinking")
    assert all(record.checked for record in notes.turns)


async def test_a_draft_of_another_reply_is_no_plan(tmp_path: Path) -> None:
    """The draft led its model to a reply of its own; kept, it would be a plan for another turn than the one behind it."""
    spoil = answering("rewrite_plan", lambda payload, answer, count: {"plan": "The user wants me to answer."})
    scene, notes, server = await improved(add_plans, tmp_path, spoil)
    assert all(payload["draft"] for payload in server.questions("rewrite_plan"))
    assert all(record.fate == "missing" for record in notes.turns)
    assert not any(turn.text("system_thinking") for turn in scene.turns)


def test_a_good_draft_is_type_a_and_keeps_its_length() -> None:
    seen = sight(SCENE.transcript(), 1)
    good = "I need to portray Iago as a friend who is sorry to have seen anything. " * 8
    assert [draft_type(text, seen) for text in (good, "He wants my answer, so I will say no to the Moor.", "")] == ["A", "B", "C"]
    assert target_length(good, "A", (200, 4000)) == [len(good) * 9 // 10, len(good) * 11 // 10]
    assert target_length("", "C", (200, 4000)) == [800, 1560] and target_length("x" * 99, "A", (200, 4000))[0] == 200
