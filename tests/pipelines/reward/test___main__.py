"""A reward run, whole, on the smoke settings: model, report, manifest, resume, adapters and refusals."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from her.files import jsonl
from her.runs.folder import read_curve, read_status

pytest.importorskip("torch")
from her.errors import InputError  # noqa: E402
from her.store import Store  # noqa: E402
from pipelines.reward.__main__ import main  # noqa: E402
from pipelines.reward.options import PairOptions, PeopleOptions  # noqa: E402
from pipelines.reward.pairs import load_pair_sets  # noqa: E402
from pipelines.reward.planted import planted_preferences  # noqa: E402
from pipelines.reward.voters import raters  # noqa: E402
from tests.processes import run_here  # noqa: E402

pytestmark = pytest.mark.whole
ROOT = Path(__file__).resolve().parents[3]
SMOKE = [
    f"@{ROOT}/pipelines/configs/reward_smoke.toml",
    "steps=6",
    "save_every=4",
    "log_every=2",
    "pairs.planted.pairs=150",
    "pairs.planted.votes=0",
]
SMALL = [
    "model.shape.hidden=16",
    "model.shape.layers=1",
    "model.shape.intermediate=32",
    "evaluation.attacked=4",
    "rows=4",
    "batch=4",
]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return run_here(main, [*SMOKE, *SMALL, *words])


def read_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return value


def test_a_run_leaves_a_model_a_report_and_its_conversations(home: Path) -> None:
    done = run("name=first", "evaluation.prompt_blind=true")
    assert done.returncode == 0, done.stderr
    folder = home / "runs" / "first"
    assert read_status("first").state == "done" and "model/model.safetensors" in read_status("first").outputs
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= {
        path.name for path in (folder / "model").iterdir()
    }
    report, manifest = read_json(folder / "report.json"), read_json(folder / "manifest.json")
    assert [model["name"] for model in report["models"]] == ["scalar", "length only", "prompt blind"]
    assert report["trained"] + report["held_out"] > 150 and report["difference"] < 1e-4  # negatives are added
    assert manifest["trained"] and manifest["held_out"] and not set(manifest["trained"]) & set(manifest["held_out"])
    assert [line["step"] for line in read_curve("first") if "loss" in line] == [2, 4, 6]
    again = run("name=first", "evaluation.prompt_blind=true", "learning_rate=1")
    assert (again.returncode, "other settings" in again.stderr) == (2, True)


def test_adapters_on_a_base_learn_from_a_file_and_a_missing_file_is_named(home: Path) -> None:
    from tests.tiny import make_tiny

    base, path = make_tiny(home / "base"), home / "preferences.jsonl"
    jsonl.write(path, planted_preferences(80, (), seed=1))
    words = ["pairs.planted.pairs=0", f"model.base={base}", "lora.rank=2", "name=lora", "pairs.attacks=[]"]
    done = run(*words, f'pairs.files=["{path}"]')
    assert done.returncode == 0, done.stderr
    assert read_json(home / "runs" / "lora" / "report.json")["difference"] < 1e-4
    missing = run(*words, 'pairs.files=["nowhere.jsonl"]', "name=missing")
    assert (missing.returncode, "nowhere.jsonl" in missing.stderr) == (2, True)


def test_a_run_on_votes_reports_on_the_raters_before_it_trains_each_camp(home: Path) -> None:
    votes = ["pairs.planted.pairs=60", "pairs.planted.votes=30", "name=camps"]
    done = run(*votes)
    assert done.returncode == 0, done.stderr
    said = done.stderr
    assert said.index("Krippendorff's alpha") < said.index("training one model of each camp") < said.index("step 2 of 6")
    folder, status = home / "runs" / "camps", read_status("camps")
    assert {f"camp-{number}/model/{name}" for number in (1, 2) for name in ("model.safetensors", "config.json")} <= set(
        status.outputs
    )
    for number in (1, 2):
        report = read_json(folder / f"camp-{number}" / "report.json")
        assert report["difference"] < 1e-4 and 0.5 < report["ceiling"][0] <= 1
        assert report["people"]["pairs"] == report["held_out"] and report["people"]["kappa"][0] is not None
        assert "Two people name the same winner in" in (folder / f"camp-{number}" / "report.md").read_text()
    assert len(read_json(folder / "people.json")["raters"]) == 12
    store = Store(f"sqlite:///{folder / 'votes.sqlite3'}")
    for rater in raters()[1:]:
        store.withdraw_visitor(rater.visitor_id)
    store.close()
    database = PairOptions(people=PeopleOptions(database=str(folder / "votes.sqlite3"), resamples=100))
    with pytest.raises(InputError, match="no pair has two raters"):
        load_pair_sets(database, 1, home)
