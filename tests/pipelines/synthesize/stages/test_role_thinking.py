"""Role thinking against a teacher over HTTP: valid answers, failing turns, turns missing or in another order."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.synthesize.stages.role_thinking import check_turns, enhance_thoughts
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
    assert scene.turns[1] == SCENE.turns[1] and scene.turns[3] == SCENE.turns[3]


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
