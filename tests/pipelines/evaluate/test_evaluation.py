"""Test a whole run without a server: files, what is kept and asked again, the forecast and the budget, damaged files, Ray
rounds.
"""

import asyncio
import json
from collections import Counter

import pytest

from her.errors import BackendError, InputError
from her.files import jsonl
from her.runs.folder import read_status, run_folder
from her.runs.open_run import RunStopped
from her.types import Transcript
from pipelines.evaluate import evaluation, score_rows
from pipelines.evaluate.__main__ import main, run
from pipelines.evaluate.options import EvaluateOptions
from pipelines.evaluate.scores import CaseScore
from pipelines.evaluate.scripted_scene import ScriptedScene
from pipelines.evaluate.simulation import Simulation
from pipelines.evaluate.text_overlap import Overlap
from tests.pipelines.evaluate.cases import case, write_cases
from tests.pipelines.evaluate.serving import role_of
from tests.pipelines.evaluate.test_judge_calibration import write_character_bench

pytestmark = pytest.mark.whole  # each run locks, fsyncs and asks git: together they take seconds


class Recorder(ScriptedScene):
    """The scripted scene; `spoil` changes answers, and `asked` keeps the role of every call."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.spoil = lambda role, text: text

    async def complete(self, messages, sampling):
        role = role_of({"messages": [{"content": messages[0].content}]})
        self.asked.append(role)
        done = await super().complete(messages, sampling)
        return done.model_copy(update={"text": self.spoil(role, done.text)})


@pytest.fixture
def scene(monkeypatch):
    """The backend of every role; overlap and report, which take seconds to import, are left out."""
    backend = Recorder()
    monkeypatch.setattr(evaluation, "ScriptedScene", lambda: backend)
    monkeypatch.setattr(score_rows, "overlap", lambda simulation, reference: Overlap(0.1, 0.2))
    monkeypatch.setattr(evaluation, "write_report", lambda folder, title, **_: (None, []))
    return backend


def settings(path, **changes) -> EvaluateOptions:
    return EvaluateOptions(**{"cases": (path,), "scripted": True, "runs": 1, "rounds": 4, "pilot": 0, **changes})


def rows(name="coser"):
    return list(jsonl.read(run_folder(name) / "scores.jsonl", CaseScore))


def test_a_run_writes_scores_transcripts_and_what_determines_them(tmp_path, scene):
    run(settings(write_cases(tmp_path, case(), case(1, old=True)), runs=2))
    folder = run_folder("coser")
    assert len(rows()) == 2 * 2 * (2 * 4 + 2) and all(row.score is not None for row in rows())
    transcripts = {each.id for each in jsonl.read(folder / "transcripts.jsonl", Transcript)}
    assert (
        transcripts == {each.transcript for each in jsonl.read(folder / "simulations.jsonl", Simulation)}
        and len(transcripts) == 4
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["simulation"]["models"] == dict.fromkeys(("actor", "environment", "next_speaker"), "scripted-scene")
    assert manifest["cases"] == ["The Lamp at Sorrow Point-0-0", "The Lamp at Sorrow Point-1-0"] and manifest["inputs"]
    assert read_status("coser").state == "done" and {"actor", "next_speaker", "judge"} <= set(scene.asked)


def test_a_second_start_asks_nothing_and_writes_the_same(tmp_path, scene):
    chosen = settings(write_cases(tmp_path, case()))
    run(chosen)
    before, asked = (run_folder("coser") / "scores.jsonl").read_bytes(), len(scene.asked)
    run(chosen)
    assert len(scene.asked) == asked and (run_folder("coser") / "scores.jsonl").read_bytes() == before


def test_a_failed_judgement_alone_is_asked_again(tmp_path, scene):
    path = write_cases(tmp_path, case())
    scene.spoil = lambda role, text: "no" if role == "judge" and "Anthropomorphism" in text else text
    run(settings(path))
    missing = [row for row in rows() if row.score is None]
    assert {(row.dimension, row.missing[:11]) for row in missing} == {("anthropomorphism", "unreadable:")} and len(missing) == 2
    scene.spoil, scene.asked = (lambda role, text: text), []
    run(settings(path))
    assert not scene.asked  # an answer that cannot be read is an answer: it is paid for once
    run(settings(path, judge_asks=4))
    assert scene.asked == ["judge"] * 2 and all(row.score is not None for row in rows())


def test_a_failed_case_alone_is_played_again(tmp_path, scene):
    path = write_cases(tmp_path, case(), case(1))
    broken = [True]

    def spoil(role, text):
        if role == "actor" and broken and len(scene.asked) > 3:
            broken.clear()
            raise BackendError("the prompt is too long", "bad_request")
        return text

    scene.spoil = spoil
    run(settings(path))
    failed = [row for row in rows() if row.failed]
    assert len({row.case for row in failed}) == 1 and all(
        "not played to its end: actor:" in (row.missing or "") for row in failed
    )
    scene.spoil, scene.asked = (lambda role, text: text), []
    run(settings(path))
    assert all(row.score is not None for row in rows()) and Counter(scene.asked)["actor"] <= 4


def test_labels_of_people_are_asked_of_the_judge_of_the_run(tmp_path, scene, monkeypatch):
    given = []
    monkeypatch.setattr(evaluation, "write_report", lambda folder, title, calibration: given.append(calibration) or (None, []))
    run(settings(write_cases(tmp_path, case()), calibration=str(write_character_bench(tmp_path / "labels"))))
    assert given == [str(run_folder("coser") / "judge_calibration.json")]
    assert json.loads((run_folder("coser") / "judge_calibration.json").read_text())[0]["turns"] == 4


def test_transcripts_are_judged_again_without_being_played(tmp_path, scene):
    path = write_cases(tmp_path, case(), case(1))
    run(settings(path))
    scene.asked = []
    run(settings(path, name="again", transcripts=run_folder("coser"), thoughts=("visible",)))
    assert set(scene.asked) == {"judge"} and len(scene.asked) == 8 and {row.thoughts for row in rows("again")} == {"visible"}
    first, second = (run_folder(name) / "transcripts.jsonl" for name in ("coser", "again"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(InputError, match="has no transcript of these cases"):
        run(settings(write_cases(tmp_path, case(7), name="other.json"), name="third", transcripts=run_folder("coser")))


@pytest.mark.parametrize(
    "changed", [{"seed": 1}, {"rounds": 5}, {"protocol": "her"}, {"given": 2}, {"protocol": "coser-paper"}], ids=str
)
def test_whatever_determines_a_transcript_changes_its_key(tmp_path, scene, changed):
    path = write_cases(tmp_path, case())
    run(settings(path))
    run(settings(path, name="other", **changed))
    keys = [next(jsonl.read(run_folder(name) / "simulations.jsonl", Simulation)).key for name in ("coser", "other")]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("changed", [{"thoughts": ("hidden",)}, {"judge_asks": 5}, {"executor": "asyncio"}], ids=str)
def test_what_only_the_judge_sees_leaves_the_key(tmp_path, scene, changed):
    path = write_cases(tmp_path, case())
    run(settings(path))
    run(settings(path, name="other", **changed))
    keys = [next(jsonl.read(run_folder(name) / "simulations.jsonl", Simulation)).key for name in ("coser", "other")]
    assert keys[0] == keys[1]


def test_changed_prompts_or_code_play_the_cases_again(tmp_path, scene, monkeypatch):
    chosen = settings(write_cases(tmp_path, case()))
    run(chosen)
    monkeypatch.setattr("pipelines.evaluate.manifest.code_hash", lambda: "another")
    played = []
    real = evaluation.simulate
    monkeypatch.setattr(evaluation, "simulate", lambda *words: played.append(words[0].key) or real(*words))
    run(chosen)
    assert played == ["The Lamp at Sorrow Point-0-0"]


@pytest.mark.parametrize("damage", ["", "{", '{"case": "x"}\n', None])
def test_damaged_transcripts_are_played_again_from_the_ledger(tmp_path, scene, damage):
    chosen = settings(write_cases(tmp_path, case()))
    run(chosen)
    folder, before = run_folder("coser"), rows()
    if damage is None:
        (folder / "transcripts.jsonl").unlink()
    else:
        (folder / "simulations.jsonl").write_text(damage)
    scene.asked = []
    run(chosen)
    assert not scene.asked and rows() == before


def test_a_forecast_above_the_budget_stops_the_run_before_it_is_spent(tmp_path, scene, monkeypatch):
    path = write_cases(tmp_path, *(case(number) for number in range(6)))
    chosen = {"pilot": 2, "calls": {"budget_money": 0.05, "price_prompt": 2.0, "price_completion": 2.0}}
    with pytest.raises(RunStopped, match=r"the forecast for 6 scenes is .* money .* more than the budget; raise"):
        run(EvaluateOptions.model_validate({**settings(path).model_dump(), **chosen}, strict=False))
    estimate = json.loads((run_folder("coser") / "forecast.json").read_text())
    assert estimate["calls"] == 6 and estimate["pilot"] == 2 and 0 < estimate["low"] <= estimate["money"] <= estimate["high"]
    assert read_status("coser").state == "stopped"
    asked = len(scene.asked)
    chosen["calls"]["budget_money"] = 9.0
    run(EvaluateOptions.model_validate({**settings(path).model_dump(), **chosen}, strict=False))
    assert len({row.case for row in rows()}) == 6
    assert len(scene.asked) < 4 * asked  # the pilot's answers were not asked again


def test_a_spent_budget_stops_the_run_and_a_larger_one_resumes_it(tmp_path, scene):
    path = write_cases(tmp_path, case(), case(1))
    with pytest.raises(RunStopped, match="raise the budget to resume"):
        run(EvaluateOptions.model_validate({**settings(path).model_dump(), "calls": {"budget_tokens": 10_000}}, strict=False))
    assert not (run_folder("coser") / "scores.jsonl").exists()
    asked = Counter(scene.asked)
    run(settings(path))
    assert asked and len(rows()) == 20


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["actor=['scripted:']"], "name the judge"),
        (["judge=['scripted:']"], "name the actor"),
        (["scripted=true", "protocol=coser"], "protocol='coser' is unknown; choose one of corrected"),
        (["scripted=true", "retrieval.mode=expr3"], "needs retrieval.books=FOLDER"),
        (["scripted=true", "runs=0"], "runs"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, caplog, words, why):
    words = [word.replace("'", '"') if "[" in word else word for word in words]
    assert main([f'cases=["{write_cases(tmp_path, case())}"]', *words]) == 2
    assert why in caplog.text and not run_folder("coser").exists()


def test_retrieval_without_the_cases_book_is_refused_before_anything_is_asked(tmp_path, scene):
    path = write_cases(tmp_path, case())
    chosen = EvaluateOptions.model_validate(
        {**settings(path).model_dump(), "retrieval": {"mode": "conv1", "books": tmp_path}}, strict=False
    )
    with pytest.raises(InputError, match="no book for 'The Lamp at Sorrow Point'"):
        run(chosen)
    assert not scene.asked


async def test_on_ray_the_calls_are_collected_by_rounds_and_the_pass_finds_them(tmp_path, scene, monkeypatch):
    """The cluster is replaced by asking here; her/inference/ray.py has tests of its own."""
    rounds = []

    async def cluster(caller, calls, specs):
        rounds.append(len(calls))
        for call in calls:
            yield await caller.ask(call)

    monkeypatch.setattr("pipelines.evaluate.ray_rounds.run_on_ray", cluster)
    chosen = settings(write_cases(tmp_path, case(), case(1)), executor="ray")
    await asyncio.to_thread(run, chosen)
    # Four turns: the first speaker is known, then three choices and three turns in turn; then all judgements at once.
    assert rounds == [2, 2, 2, 2, 2, 2, 2, 16]
    assert all(row.score is not None for row in rows())
