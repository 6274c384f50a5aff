"""Role thinking against a teacher over HTTP: valid answers, failing turns, turns missing or in another order."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from her.characters.coser import BookScene
from her.format import parse
from pipelines.synthesize.notes import Notes
from pipelines.synthesize.option_groups import StageOptions
from pipelines.synthesize.questions import StageContext
from pipelines.synthesize.stages.role_thinking import check_turns, enhance_thoughts
from pipelines.synthesize.stages.turn_text import turn_body
from tests.pipelines.synthesize.planted import PlantedTeacher, batches, planted_scene
from tests.teaching import a_scene, answering, callers_of, context_of, improved, ledger_of, teaching

SCENE = a_scene()
TARGETS = [turn for turn in SCENE.turns if turn.speaker != "Environment"]


async def test_enhancement_deepens_thoughts_and_keeps_the_rest(tmp_path: Path) -> None:
    scene, notes, server = await improved(enhance_thoughts, tmp_path)
    assert len(server.questions("enhance_thoughts")) == 1
    assert [(turn.id, turn.speaker) for turn in scene.turns] == [(turn.id, turn.speaker) for turn in SCENE.turns]
    assert scene.turns[0] == SCENE.turns[0]  # the environment's
    assert {record.turn for record in notes.turns} == {turn.id for turn in TARGETS}
    assert sum(record.fate == "changed" for record in notes.turns) >= 4
    for before, after in zip(SCENE.turns, scene.turns, strict=True):
        assert after.text("speech").split() == before.text("speech").split()


async def test_a_failing_turn_is_asked_again_with_the_reasons_then_kept_and_counted(tmp_path: Path) -> None:
    def mute_iago(payload: dict[str, Any], answer: dict[str, Any], count: int) -> Any:
        return {"turns": [{**each, "text": "Nothing."} if each["id"] in ("t2", "t4") else each for each in answer["turns"]]}

    scene, notes, server = await improved(enhance_thoughts, tmp_path, answering("enhance_thoughts", mute_iago))
    first, second = server.questions("enhance_thoughts")
    assert set(second["ask"]) == {"t2", "t4"} and "words that the original says are gone" in second["reasons"]["t2"]
    assert second["tried"]["t2"] == "Nothing." and len(first["ask"]) == len(TARGETS)
    kept = [record for record in notes.turns if record.fate == "kept"]
    assert [record.turn for record in kept] == [SCENE.turns[1].id, SCENE.turns[3].id]
    assert all("speech_lost" in record.first and record.problems and record.asked == 2 for record in kept)
    assert scene.turns[1].text("role_thinking") == "Now the net closes around Cassio"  # as it was, but for the full stop
    assert all(scene.turns[at].text("speech") == SCENE.turns[at].text("speech") for at in (1, 3))


async def test_a_turn_that_is_mended_at_the_second_try_is_taken(tmp_path: Path) -> None:
    def once(payload: dict[str, Any], answer: dict[str, Any], count: int) -> Any:
        return {"turns": [{**each, "text": "Nothing."} for each in answer["turns"]]} if not count else answer

    _, notes, server = await improved(enhance_thoughts, tmp_path, answering("enhance_thoughts", once))
    assert len(server.questions("enhance_thoughts")) == 2
    assert not any(record.fate == "kept" for record in notes.turns)
    assert all("speech_lost" in record.first and not record.problems for record in notes.turns)


@pytest.mark.parametrize(
    "turns",
    [
        lambda answer: answer[::-1],
        lambda answer: [
            *answer,
            {"id": "t99", "text": "Who?"},
            {"id": "t1", "text": "The sea is mine."},
            {**answer[0], "text": "No."},
        ],
    ],
    ids=["another order", "unknown, environment's and duplicate ids"],
)
async def test_turns_are_joined_by_id_and_never_by_position(tmp_path: Path, turns: Callable[[Any], Any]) -> None:
    (tmp_path / "valid").mkdir()
    (tmp_path / "spoiled").mkdir()
    valid, _, _ = await improved(enhance_thoughts, tmp_path / "valid")
    spoil = answering("enhance_thoughts", lambda payload, answer, count: {"turns": turns(answer["turns"])})
    scene, _, _ = await improved(enhance_thoughts, tmp_path / "spoiled", spoil)
    assert scene == valid


async def test_a_turn_left_out_of_the_answer_is_missed_by_name(tmp_path: Path) -> None:
    spoil = answering(
        "enhance_thoughts", lambda payload, answer, count: {"turns": [e for e in answer["turns"] if e["id"] != "t5"]}
    )
    scene, notes, server = await improved(enhance_thoughts, tmp_path, spoil)
    assert server.questions("enhance_thoughts")[1]["reasons"] == {"t5": "there is no text for this turn"}
    record = next(record for record in notes.turns if record.turn == SCENE.turns[4].id)
    assert (record.fate, record.first) == ("kept", ("missing",)) and scene.turns[4] == SCENE.turns[4]


async def test_a_rate_limit_is_waited_out(tmp_path: Path) -> None:
    with teaching(status=429, retry_after="0.2") as server, ledger_of(tmp_path) as ledger:
        async with callers_of(server, ledger) as callers:
            context = context_of(callers)
            task = asyncio.ensure_future(enhance_thoughts(SCENE, context))
            while not server.chats:
                await asyncio.sleep(0.01)
            server.script.status = 200
            scene = await task
    assert scene != SCENE and not any(record.fate == "kept" for record in context.notes.turns)


async def test_thinking_in_the_text_is_no_part_of_a_json_answer(tmp_path: Path) -> None:
    def thinking(task: str, payload: dict[str, Any], valid: str) -> str:
        return valid if task == "play" else f"<think>They want {{JSON}}.</think>\n```json\n{valid}\n```"

    scene, notes, _ = await improved(enhance_thoughts, tmp_path, thinking)
    assert scene != SCENE and not any(record.fate == "kept" for record in notes.turns)


def test_a_long_scene_with_an_empty_turn_is_checked() -> None:
    spoken = [TARGETS[at % len(TARGETS)].model_copy(update={"id": f"s{at}"}) for at in range(11)]
    spoken[4] = spoken[4].model_copy(update={"parts": ()})  # such a turn is not rewritten, so it is in no answer
    scene = SCENE.model_copy(update={"turns": tuple(spoken)})
    originals = {turn.id: turn for turn in spoken if turn.parts}
    grown = {key: turn.model_copy(update={"parts": turn.parts * (1 if key < "s7" else 9)}) for key, turn in originals.items()}
    problems = check_turns(scene, originals, grown)
    assert "s4" not in problems and any(each.name == "creeping" for each in problems["s9"])


async def enhanced(language: str, over: dict[int, str | None], **teacher: Any) -> tuple[BookScene, Notes, PlantedTeacher]:
    """Take a planted scene through the stage; `over` is the answer for some turns."""
    asker = PlantedTeacher(language, over, **teacher)
    context = StageContext(asker, StageOptions(checked="checker" in teacher), Notes())
    return await enhance_thoughts(planted_scene(language), context), context.notes, asker


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_no_honest_turn_is_refused(language: str) -> None:
    for over in batches("honest_turns", language):
        _, notes, _ = await enhanced(language, over)
        assert not [(record.problems, record.refused) for record in notes.turns if record.fate == "kept"]


@pytest.mark.whole
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_every_planted_fault_in_a_turn_is_refused_or_repaired(language: str) -> None:
    before = planted_scene(language)
    for over in batches("faulty_turns", language):
        scene, notes, _ = await enhanced(language, over)
        for at, text in over.items():
            turn, record = scene.turns[at], notes.turns[at]
            sent = parse(f"{turn.speaker}: {text}", turn.speaker, notation="her").parts if text else ()
            assert record.fate == "kept" or (record.repairs and turn.parts != sent), text
            # A turn that is refused holds what it held before: nothing of the answer.
            if record.fate == "kept":
                assert turn.text("speech") == before.turns[at].text("speech") and (record.refused or text is None)


async def test_a_teacher_that_changes_nothing_is_asked_again_and_counted_as_insisting() -> None:
    lazy = {at: turn_body(turn) for at, turn in enumerate(planted_scene("en").turns)}
    _, notes, asker = await enhanced("en", dict(lazy))
    assert asker.asked == ["role_thinking"] * 2
    assert all(record.fate == "kept" and "lazy" in record.first and record.same for record in notes.turns)


async def test_the_checker_reads_what_code_accepts_and_what_it_did_not_answer_counts_as_unchecked() -> None:
    text = f"<role_thinking>She must not let him see the back room</role_thinking>{planted_scene('en').turns[2].text('speech')}"
    scene, notes, asker = await enhanced("en", {2: text}, checker={text: ["voice"]})
    assert asker.asked == ["role_thinking", "check_turns"] * 2
    assert notes.turns[2].fate == "kept" and notes.turns[2].first == ("checker_voice",)
    assert scene.turns[2].text("role_thinking") == "He must not see the back room"
    assert all(record.checked and record.fate != "kept" for record in notes.turns if record is not notes.turns[2])
    _, notes, _ = await enhanced("en", {2: text}, checker={text: ["made_up"]})
    assert notes.turns[2].fate == "changed" and not notes.turns[2].checked and "not checked" in notes.skipped[0].reason
