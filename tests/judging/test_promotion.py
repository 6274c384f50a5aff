"""her/judging/promotion.py: who goes on stage, which condition failed, what no reason overrules, and the way back."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from her.deploy import stage_record
from her.deploy.checkpoints import checkpoint_hash
from her.deploy.stage_record import chosen_spec
from her.errors import HerError, InputError
from her.files import jsonl
from her.files.atomic import file_hash
from her.judging.promotion import promote, require_promoted
from her.runs.folder import RunStatus
from her.types import Defect, Outcome, Transcript
from pipelines.evaluate.scores import CaseScore
from pipelines.rl.alarms import Alarm
from tests.cli.commands import her
from tests.hub_runs import model_files, tensors, write_run
from tests.judging.test_arena_table import game
from tests.pipelines.evaluate import evaluated
from tests.pipelines.rl.test_panel_page import look

CASES = 24
Winner = Callable[[int], Outcome]


def model(home: Path, name: str, pipeline: str = "sft", **changes: object) -> Path:
    """A finished run whose weights are its own."""
    files = model_files() | {"model/model.safetensors": tensors(name.encode().ljust(64))}
    settings = f'name = "{name}"\nmethod = "grpo"\n'
    return write_run(home, name, files, pipeline, settings=settings, **changes) / "model"  # type: ignore[arg-type]


@cache
def played(name: str) -> tuple[tuple[CaseScore, ...], tuple[Transcript, ...]]:
    """Scores and scenes of 24 cases from 12 books, played twice; the scenes are short."""
    scores = tuple(evaluated.rows(cases=CASES, model=name))
    plays = sorted({(row.case, row.run) for row in scores})
    turns = evaluated.scene("case 1", 0, turns=3).turns
    scenes = (evaluated.scene(case, run, model=name, turns=0) for case, run in plays if case != "case 0")
    return scores, tuple(scene.model_copy(update={"turns": turns}) for scene in scenes)


def evaluation(home: Path, name: str, checkpoint: str, faults: int = 0) -> Path:
    """A finished evaluation; the turns of the cases below `faults` are malformed."""
    scores, scenes = played(name)
    folder = home / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    jsonl.write(folder / "scores.jsonl", scores)
    jsonl.write(folder / "transcripts.jsonl", (spoilt(scene) if number_of(scene) < faults else scene for scene in scenes))
    (folder / "manifest.json").write_text(json.dumps({"simulation": {"checkpoint": checkpoint}}))
    outputs = {file: file_hash(folder / file) for file in ("manifest.json", "scores.jsonl", "transcripts.jsonl")}
    (folder / "status.json").write_text(RunStatus(pipeline="evaluate", state="done", outputs=outputs).model_dump_json())
    return folder


def number_of(scene: Transcript) -> int:
    return int(scene.scenario.id.split()[1])


def spoilt(scene: Transcript) -> Transcript:
    bad = (Defect(name="plan_missing"),)
    return scene.model_copy(update={"turns": tuple(turn.model_copy(update={"defects": bad}) for turn in scene.turns)})


def arena(home: Path, winner: Winner, parted: bool = False) -> Path:
    """The old evaluation against the new one; `winner` says for each case who wins, `a` being the old one."""
    folder = home / "runs" / "old-eval" / "arena"
    folder.mkdir(exist_ok=True)
    games = [
        game(case, winner(case), "old-eval", "new-eval", run=run, cluster=f"book {case // 2}")
        for case in range(CASES)
        for run in range(2)
    ]
    if parted:
        games += [each.model_copy(update={"source": "by_case", "judge": "ruled", "winner": "b"}) for each in games]
    jsonl.write(folder / "games.jsonl", games)
    names = ("old-eval", "new-eval")
    judged = {name: file_hash(home / "runs" / name / "transcripts.jsonl") for name in names}
    (folder / "arena.json").write_text(json.dumps({"tables": [], "transcripts": judged}))
    return folder


def mostly(outcome: Outcome, other: Outcome) -> Winner:
    return lambda case: other if case % 6 == 0 else outcome


@pytest.fixture
def contest(home: Path) -> Path:
    """`old` is on stage; `new` was evaluated beside it, is sounder, and wins the arena."""
    old, new = model(home, "old"), model(home, "new")
    promote("old")
    evaluation(home, "old-eval", checkpoint_hash(old), faults=18)
    evaluation(home, "new-eval", checkpoint_hash(new), faults=2)
    arena(home, mostly("b", "a"))
    return home


def sentences(promotion: object) -> dict[str, str]:
    return {each.name: each.sentence for each in promotion.conditions}  # type: ignore[attr-defined]


def test_a_better_checkpoint_goes_on_stage_and_comes_back(contest: Path) -> None:
    assert her("promote").stdout.startswith("on stage: run 'old'")
    answer = her("promote", "new")
    assert answer.exit_code == 0, answer.output
    assert "prefers it in 83.3% of games (95 %:" in answer.stdout and "FAILED" not in answer.stdout
    folder = contest / "runs" / "new" / "model"
    line = stage_record.on_stage()
    assert line is not None and (line.run, line.folder, line.checkpoint) == ("new", str(folder), checkpoint_hash(folder))
    assert line.files["model.safetensors"].sha256 == file_hash(folder / "model.safetensors") and "@" in line.by and line.at > 0
    assert chosen_spec(None) == f"local:{folder}" and chosen_spec("scripted:") == "scripted:"
    with pytest.raises(InputError, match="of run 'new' is on stage already"):
        promote("new")
    assert "on stage: run 'old'" in her("promote", "--back").stdout
    assert her("promote", "--back").stdout.startswith("nothing is on stage") and chosen_spec(None) is None
    with pytest.raises(InputError, match="nothing to roll back"):
        stage_record.take_back()
    assert [line.act for line in stage_record.read_record()] == ["promote", "promote", "back", "back"]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (mostly("a", "b"), "must be above 50 %"),
        (lambda case: "tie", "prefers it in 50.0% of games"),
        (lambda case: "a" if case % 2 else "b", "must be above 50 %"),
        (lambda case: "both_bad", "decided no game, 48 games without a verdict"),
    ],
)
def test_a_judge_who_does_not_prefer_it(contest: Path, outcome: Winner, said: str) -> None:
    arena(contest, outcome)
    found = promote("new")
    assert found.failed == ("held-out judge",) and said in sentences(found)["held-out judge"] and found.line is None
    with pytest.raises(HerError, match="run 'new' stays off the stage: held-out judge failed"):
        require_promoted(found)
    line = require_promoted(promote("new", overrule=" the judge\n reads no Chinese "))
    assert line.overruled == "the judge reads no Chinese" and not line.conditions[0].passed
    assert "overruled: the judge reads no Chinese" in her("promote").stdout


def test_scenes_that_are_no_sounder(contest: Path) -> None:
    evaluation(contest, "new-eval", checkpoint_hash(contest / "runs" / "new" / "model"), faults=20)
    arena(contest, mostly("b", "a"))
    found = promote("new")
    assert found.failed == ("free metrics",) and "must be above 0" in sentences(found)["free metrics"]


def test_what_is_missing_is_named_with_its_command(home: Path) -> None:
    old, new = model(home, "old"), model(home, "new")
    assert require_promoted(promote("old", overrule="not needed")).overruled == ""
    evaluation(home, "other", "ab" * 32)
    found = promote("new")
    assert set(found.failed) == {"held-out judge", "free metrics"}
    assert f"--actor local:{new} --judge SPEC --name new-eval" in sentences(found)["free metrics"]
    evaluation(home, "new-eval", checkpoint_hash(new))
    assert f"--actor local:{old} --judge SPEC --name old-eval" in sentences(promote("new"))["held-out judge"]
    evaluation(home, "old-eval", checkpoint_hash(old), faults=18)
    found = promote("new")
    assert found.failed == ("held-out judge",)
    assert "her eval arena old-eval new-eval --family" in sentences(found)["held-out judge"]


def test_nothing_overrules_what_was_changed(contest: Path) -> None:
    games = contest / "runs" / "old-eval" / "arena" / "games.jsonl"
    scenes = contest / "runs" / "new-eval" / "transcripts.jsonl"
    kept = scenes.read_text()
    scenes.write_text(kept.replace("A harbour, case 3", "A harbour, case 4"))
    with pytest.raises(InputError, match="evaluation 'new-eval' was changed since it ended: transcripts.jsonl"):
        promote("new", overrule="it is fine")
    evaluation(contest, "new-eval", checkpoint_hash(contest / "runs" / "new" / "model"), faults=3)
    with pytest.raises(InputError, match="did not judge the scenes that 'new-eval' holds now"):
        promote("new", overrule="it is fine", arena=games.parent)
    (contest / "runs" / "new" / "model" / "model.safetensors").write_bytes(tensors(b"x" * 64))
    with pytest.raises(InputError, match="run 'new' was changed since it ended"):
        promote("new", overrule="it is fine")
    model(contest, "fallen", state="collapsed", reason="an alarm")
    with pytest.raises(InputError, match="run 'fallen' is collapsed"):
        promote("fallen", overrule="it is fine")
    (contest / "runs" / "old" / "model" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="checkpoint of run 'old' is not what was promoted: model.safetensors has 0 bytes"):
        chosen_spec(None)


def test_a_template_that_was_changed_is_another_checkpoint(contest: Path) -> None:
    (contest / "runs" / "new" / "model" / "chat_template.jinja").write_text("{{ other }}")
    assert "no finished evaluation has the checkpoint of run 'new'" in sentences(promote("new"))["free metrics"]


def test_an_alarm_up_to_the_saved_step_counts(home: Path) -> None:
    folder = model(home, "strong", "rl").parent
    assert "no look of a panel" in sentences(promote("strong"))["alarms"]
    (folder / "panel").mkdir()
    (folder / "metrics.jsonl").write_text('{"at": 1, "step": 10, "saved": "model"}\n')
    late = look(20, alarms=(Alarm(name="length", sentence="too long"),))
    for looks, failed in (((look(5), late), ()), ((look(5, alarms=late.alarms), late), ("alarms",))):
        jsonl.write(folder / "panel" / "looks.jsonl", looks)
        found = promote("strong")
        assert found.failed == failed
        if not failed:
            stage_record.take_back()
    assert sentences(found)["alarms"] == "step 5, length: too long"


def test_judges_that_part_are_an_alarm(contest: Path) -> None:
    arena(contest, mostly("a", "a"), parted=True)
    found = promote("new")
    assert found.failed == ("held-out judge", "alarms") and "pleases the judge with principles" in sentences(found)["alarms"]
