"""Whole runs of `her run principles`: planted rules are found, bad endpoints fail loudly, a killed run asks nothing twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from her.files import jsonl
from her.judging.principles import LIBRARY, load_principles, validate_library
from her.runs.folder import read_status
from pipelines.principles.__main__ import main
from pipelines.principles.made import MadePrinciple, RunFigures
from pipelines.principles.selection import Decision
from tests.pipelines.principles.small import pair
from tests.teaching import answering, teaching

pytestmark = pytest.mark.whole

ROOT = Path(__file__).resolve().parents[3]
SMOKE = f"@{ROOT / 'pipelines/configs/principles_smoke.toml'}"
SAME = ("principles.jsonl", "decisions.jsonl")


def run(*words: str) -> int:
    return main([SMOKE, *words])


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines/configs").glob("principles*.toml")), ids=lambda path: path.stem)
def test_every_configuration_is_valid_and_shows_every_setting(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"@{file}", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "[selection]" in text and "[pairs.planted]" in text


def figures(home: Path, name: str) -> RunFigures:
    return RunFigures.model_validate_json((home / "runs" / name / "report.json").read_text("utf-8"))


def written(home: Path, name: str) -> dict[str, bytes]:
    folder = home / "runs" / name
    files = [folder / each for each in SAME] + sorted((folder / "library").glob("*.yaml"))
    return {path.name: path.read_bytes() for path in files}


def test_the_planted_rules_are_found_over_seeds_and_few_others(home: Path) -> None:
    """Three seeds, each with other rules: at least 12 of 15 found, at most a tenth of the kept false."""
    found = false = 0
    for seed in (0, 1, 2):
        assert run(f"name=seed-{seed}", f"seed={seed}", "pairs.planted.pairs=300", "selection.resamples=1999") == 0
        planted = figures(home, f"seed-{seed}").planted
        assert planted is not None and planted.rules == 5 and planted.unknown == 0
        found, false = found + planted.found, false + planted.false
    assert found >= 12 and false <= 0.1 * (found + false)


def test_a_run_writes_a_library_tables_and_a_page(home: Path) -> None:
    assert run() == 0
    folder = home / "runs" / "principles-smoke"
    made = list(jsonl.read(folder / "principles.jsonl", MadePrinciple))
    kept = [each for each in made if each.test.kept]
    assert len(kept) >= 3 and all(each.test.reason for each in made if not each.test.kept)
    assert validate_library(folder / "library") == []
    assert len(load_principles(folder=folder / "library")) == len(load_principles(folder=LIBRARY)) + len(kept)
    report = figures(home, "principles-smoke")
    assert sum(1 for _ in jsonl.read(folder / "decisions.jsonl", Decision)) == report.held_out * report.candidates
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["trained"] and manifest["held_out"] and not set(manifest["trained"]) & set(manifest["held_out"])
    page = (folder / "page.html").read_text("utf-8")
    assert all(f'id="p-{each.entry.id}"' in page for each in kept)
    status = read_status("principles-smoke")
    assert status.state == "done" and {"library", "prompts"} == set(status.hashes) and "principles.jsonl" in status.outputs


def test_a_killed_run_asks_nothing_twice_and_writes_the_same(home: Path) -> None:
    words = ("pairs.planted.pairs=60", "selection.resamples=199", "calls.in_flight=4")
    with teaching() as server:
        endpoint = f"endpoints=['{server.spec}']"
        assert run("name=undisturbed", endpoint, *words) == 0
        total = len(server.chats)
        server.requests.clear()
        server.script.first_delay = 0.01
        command = [sys.executable, "-m", "pipelines.principles", SMOKE, "name=killed", endpoint, *words]
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "HER_HOME": str(home)}, stderr=subprocess.DEVNULL) as child:
            while len(server.chats) < total // 2 and child.poll() is None:
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        before = len(server.chats)
        assert before >= total // 2 and read_status("killed").state == "killed"
        server.script.first_delay = 0
        assert run("name=killed", endpoint, *words) == 0
        assert len(server.chats) <= total + 4 + 16  # those in flight, and those of a group that was not yet written
        count = len(server.chats)
        assert run("name=killed", endpoint, *words) == 0
        assert len(server.chats) == count
    assert written(home, "killed") == written(home, "undisturbed")


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ("name_principles", "are pairs without three principles"),
        ("distil_principle", "are clusters without a principle"),
        ("apply_principles", "are verdicts that cannot be used"),
    ],
)
def test_a_model_that_does_not_answer_as_asked_fails_the_run(home: Path, task: str, what: str) -> None:
    with teaching(answering(task, lambda payload, answer, count: "I would rather not.")) as server:
        assert run("name=loud", f"endpoints=['{server.spec}']", "pairs.planted.pairs=60", "selection.resamples=199") == 2
    status = read_status("loud")
    assert status.state == "failed" and what in status.reason
    assert not (home / "runs/loud/page.html").exists() and not (home / "runs/loud/library").exists()


def test_a_library_that_an_expert_edited_is_not_written_over(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = ("name=kept", "pairs.planted.pairs=60", "selection.resamples=199")
    assert run(*words) == 0 and run(*words) == 0
    edited = home / "runs/kept/library/layers.yaml"
    edited.write_text(edited.read_text("utf-8") + "\n", "utf-8")
    assert run(*words) == 2 and "was edited since the run wrote it" in caplog.messages[-1]
    shutil.rmtree(edited.parent)
    assert run(*words) == 0 and edited.is_file()


def test_a_budget_stops_the_run_and_a_higher_one_resumes_it(home: Path) -> None:
    words = ("name=poor", "pairs.planted.pairs=60", "selection.resamples=199")
    assert run(*words, "calls.budget_tokens=30000") == 3
    assert read_status("poor").state == "stopped" and "budget" in read_status("poor").reason
    assert run(*words, "calls.budget_tokens=0") == 0


def test_pairs_of_a_file_are_read_and_hostile_text_is_inert(home: Path, tmp_path: Path) -> None:
    rows = [
        pair(
            f"By my sword. It rains again. I counted seven. <script>x{number}</script>", f"Okay. You fool. {number}", f"c{number}"
        )
        for number in range(40)
    ]
    jsonl.write(tmp_path / "rows.jsonl", rows)
    words = ("pairs.planted.pairs=0", f"pairs.files=['{tmp_path / 'rows.jsonl'}']", "selection.resamples=199")
    assert run("name=rows", *words) == 0
    assert figures(home, "rows").planted is None and figures(home, "rows").kept >= 3
    page = (home / "runs/rows/page.html").read_text("utf-8")
    assert "&lt;script&gt;x" in page and "<script>x" not in page


def test_wrong_settings_are_refused(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run("selection.orders=3") == 2 and run("pairs.planted.pairs=0") == 2
    assert run("pairs.planted.pairs=0", f"pairs.files=['{tmp_path / 'missing.jsonl'}']") == 2
    assert run(f"library='{tmp_path}'") == 2
    said = " ".join(caplog.messages)
    assert "give either pairs.files" in said and "missing.jsonl" in said and "holds no principle files" in said
