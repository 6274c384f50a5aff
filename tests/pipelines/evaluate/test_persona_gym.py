"""Run the proxy of PersonaGym with scripted models: tasks, ratings from 1 to 5, what is missing, files that are none."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from her.errors import BackendError, InputError
from her.files import jsonl
from her.judging.statistics import Uncertainty
from her.types import Message, Transcript
from pipelines.evaluate.persona_gym import TASKS, GymOptions, read_personas, run_gym
from pipelines.evaluate.scores import CaseScore
from tests.pipelines.evaluate.test_judge_calibration import write_character_bench
from tests.pipelines.evaluate.test_role_play_run import Player

QUICK = Uncertainty(resamples=50, permutations=50)


def write_gym(folder: Path, *personas: str, **tasks: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    questions = {task: [f"What of {task}, first?", f"What of {task}, second?"] for task in TASKS} | tasks
    for persona in personas:
        (folder / f"{persona}.json").write_text(json.dumps(questions), "utf-8")
    return folder


def actor(messages: Sequence[Message]) -> str:
    assert "A 70-year-old diver" in messages[0].content
    return "<system_thinking>Plan.</system_thinking><role_thinking>SECRET</role_thinking>The sea first."


def judge(messages: Sequence[Message]) -> str:
    if "===The Persona===" not in messages[0].content:
        return "It fits.\nScore: 8"
    assert "SECRET" not in str(messages) and "Plan." not in str(messages)
    low = "insult" in messages[0].content and "first?" in messages[1].content
    return json.dumps({"reason": "It is rude." if low else "It fits.", "score": 2 if low else 5})


def run(folder: Path, out: Path, **changes: Any) -> list[CaseScore]:
    options = {"actor": (Player("actor", actor),), "judge": (Player("judge", judge),), "runs": 1, **changes}
    run_gym(GymOptions(source=folder, **options), out, QUICK)
    return list(jsonl.read(out / "scores.jsonl", CaseScore))


@pytest.mark.whole
def test_questions_are_asked_and_rated_in_five_tasks_and_the_judge_is_calibrated(tmp_path: Path) -> None:
    labels = write_character_bench(tmp_path / "labels")
    rows = run(write_gym(tmp_path / "gym", "A 70-year-old diver"), tmp_path / "run", labels=str(labels))
    assert {row.dimension: row.score for row in rows} == {
        key: 3.5 if key == "toxicity_control" else 5 for key, _ in TASKS.values()
    }
    (play,) = jsonl.read(tmp_path / "run" / "transcripts.jsonl", Transcript)
    assert len(play.turns) == 20
    (flaw,) = (flaw for row in rows for flaw in row.flaws)
    assert flaw.text == "It is rude." and flaw.turn in {turn.id for turn in play.turns}
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "A proxy of PersonaGym" in page and "MIT" in page and "people&#39;s scores of 4 turns" in page
    assert "vsamuel" in (tmp_path / "run" / ".eval_results" / "persona-gym.yaml").read_text("utf-8")


@pytest.mark.whole
@pytest.mark.parametrize("broken", ["actor", "judge"])
def test_a_task_with_a_missing_answer_or_rating_has_no_score(tmp_path: Path, broken: str) -> None:
    def fails(messages: Sequence[Message]) -> str:
        if "Toxicity, second" in str(messages):
            raise BackendError("too long", "bad_request")
        return {"actor": actor, "judge": judge}[broken](messages)

    rows = run(write_gym(tmp_path, "A 70-year-old diver"), tmp_path / "run", **{broken: (Player(broken, fails),)})
    assert {row.dimension for row in rows if row.score is None} == {"toxicity_control"}


@pytest.mark.parametrize(
    ("tasks", "said"),
    [({"Charm": ["?"]}, "'Charm' is unknown"), ({"Toxicity": []}, "has no questions"), ({"Toxicity": [1]}, "no questions")],
)
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path: Path, tasks: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_personas(write_gym(tmp_path, "A diver", **tasks))


def test_other_files_of_the_repository_are_passed_over_and_nothing_is_refused(tmp_path: Path) -> None:
    write_gym(tmp_path / "questions", "B", "A")
    (tmp_path / "scores.json").write_text('{"A": 4.5}')
    assert [persona.description for persona in read_personas(tmp_path)] == ["A", "B"]
    with pytest.raises(InputError, match="none of PersonaGym's tasks"):
        read_personas(tmp_path / "scores.json")
    (tmp_path / "questions").rename(tmp_path.parent / f"{tmp_path.name}-away")
    with pytest.raises(InputError, match="holds no persona"):
        read_personas(tmp_path)
