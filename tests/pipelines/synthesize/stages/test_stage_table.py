"""Properties of every stage of the table: failures never become content, turns stay in order, docs and teacher know it."""

from pathlib import Path
from typing import Any

import pytest

from her.backends.teacher import RULES
from her.characters.coser import BookScene
from her.errors import HerError
from her.prompts import fill
from her.training_data.samples import samples
from her.types import Language, Sample
from her.words import ends_with_sentence
from pipelines.synthesize.stages.books_to_scenes import QUESTIONS
from pipelines.synthesize.stages.stage_table import STAGES
from tests.sources import ROOT
from tests.teaching import LINES, a_scene, callers_of, context_of, improved, ledger_of, teaching

SCENE = a_scene()
ONE_TURN = a_scene(LINES[:2])
"""For servers that fail: with three failures in a row an endpoint is out for two seconds, and one turn asks at most twice."""
BAD: dict[str, Any] = {
    "prose": {"spoil": lambda task, payload, valid: "I would be glad to help with that."},
    "refusal": {"spoil": lambda task, payload, valid: "I'm sorry, but I cannot help with copyrighted text."},
    "cut JSON": {"spoil": lambda task, payload, valid: valid[: len(valid) // 3] if task != "play" else valid},
    "500": {"status": 500},
    "html": {"fault": "html"},
    "truncated": {"fault": "truncated"},
    "endless": {"fault": "endless"},
    "empty": {"fault": "empty"},
}
ALL_QUESTIONS = (*QUESTIONS, *(question for stage in STAGES.values() for question in stage.questions))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("stage", STAGES)
async def test_no_failure_ever_becomes_content(tmp_path: Path, bad: str, stage: str) -> None:
    """Without a usable answer the scene stays as it was, and the reason is recorded."""
    original = SCENE if "spoil" in BAD[bad] else ONE_TURN
    try:
        scene, notes, _ = await improved(STAGES[stage].improve, tmp_path, scene=original, **BAD[bad])
    except HerError as stopped:
        assert str(stopped)  # the only endpoint is out for good: the run stops with a sentence
        return
    if bad == "cut JSON" and stage == "role_thinking":
        assert {record.fate for record in notes.turns} >= {"kept"}  # the part that could be read was checked like any other
        return
    if bad == "cut JSON" and stage == "system_thinking":
        # `kept`: the whole draft, which is no part of the answer
        assert {record.fate for record in notes.turns} <= {"kept", "missing"}
        plans = [turn.text("system_thinking") for turn in scene.turns]
        assert all(ends_with_sentence(plan) for plan in plans if plan)
        return
    assert scene == original
    assert all(record.fate in ("kept", "missing") for record in notes.turns) and (notes.turns or notes.skipped)


async def test_all_stages_keep_turns_order_and_speakers(tmp_path: Path) -> None:
    """Nothing is inserted between the turns, and roles alternate in every sample."""
    scene: BookScene = SCENE
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with callers_of(server, ledger) as callers:
            for stage in STAGES.values():
                scene = await stage.improve(scene, context_of(callers))
    assert [(turn.id, turn.speaker) for turn in scene.turns] == [(turn.id, turn.speaker) for turn in SCENE.turns]
    for row in samples(scene.transcript()):
        assert isinstance(row, Sample)
        roles = [message.role for message in row.messages]
        assert roles[0] == "system" and roles[1:] == (["user", "assistant"] * len(roles))[: len(roles) - 1]


def test_question_names_are_unique_and_the_first_one_names_the_stage() -> None:
    names = [question.name for question in ALL_QUESTIONS]
    assert len(set(names)) == len(names)
    assert all(stage.questions[0].name == stage.name for stage in STAGES.values())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_question_has_its_prompt_and_a_rule_of_the_teacher(language: Language) -> None:
    prompts = {question.prompt for question in ALL_QUESTIONS if question.prompt}
    assert prompts <= set(RULES)  # the others are asked by pipelines.principles
    for prompt in prompts:
        assert fill(prompt, language, {"name": "Iago", "most": "3", "least": "6"}).startswith(f"Task: {prompt}\n")


def test_docs_list_the_stages_in_order() -> None:
    text = (ROOT / "docs" / "protocols.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    expected = [
        f"| `{stage.name}` | {stage.purpose} | {', '.join(f'`{q.prompt}`' for q in stage.questions if q.prompt)} |"
        for stage in STAGES.values()
    ]
    assert [row for row in rows if row in expected] == expected
