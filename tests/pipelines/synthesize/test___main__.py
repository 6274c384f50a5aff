"""Whole runs of synthesis: Othello from raw text to samples and report; stopped, killed, resumed and refused."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from her import config
from her.files import jsonl
from her.runs.folder import read_status
from her.runs.open_run import open_run
from her.training_data.audit import AuditReport
from her.training_data.samples import Dropped
from her.types import Transcript
from pipelines.synthesize.__main__ import main
from pipelines.synthesize.notes import Skipped, TurnRecord
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.votes import main as main_votes
from tests.teaching import task_of, teaching

pytestmark = pytest.mark.whole

ROOT = Path(__file__).resolve().parents[3]
SMOKE = f"@{ROOT / 'pipelines/configs/synthesize_smoke.toml'}"
SAME = ("scenes.jsonl", "role_thinking.jsonl", "settings.jsonl", "system_thinking.jsonl", "transcripts.jsonl", "splits.json")


def run(*words: str) -> int:
    return main([SMOKE, *words])


def finished(home: Path, name: str) -> dict[str, bytes]:
    folder = home / "runs" / name
    files = [folder / each for each in SAME] + sorted(folder.glob("dataset/*/sharegpt.jsonl"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines/configs").glob("synthesize*.toml")), ids=lambda path: path.stem)
def test_every_configuration_is_valid_and_shows_every_setting(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"@{file}", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "[books_to_scenes]" in text and "[samples.shares]" in text


def test_othello_runs_without_a_model(home: Path) -> None:
    """Run the smoke configuration by its command, in a process of its own."""
    command = [sys.executable, "-m", "her.cli", "run", "synthesize", SMOKE]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "HER_HOME": str(home)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = home / "runs" / "synthesize-smoke"
    assert read_status("synthesize-smoke").state == "done"
    transcripts = list(jsonl.read(folder / "transcripts.jsonl", Transcript))
    spoken = [turn for each in transcripts for turn in each.turns if turn.speaker != "Environment"]
    assert len(transcripts) >= 6 and len(spoken) >= 80 and all(turn.text("system_thinking") for turn in spoken)
    reports = list(jsonl.read(folder / "audit.jsonl", AuditReport))
    assert [each.name for each in reports] == ["sft", "rm_sft", "rm_rl", "rl", "test"] and not any(e.problems for e in reports)
    for name in ("sft", "rl"):
        assert (folder / "dataset" / name / "trl.parquet").stat().st_size > 1000
    card = (folder / "dataset" / "README.md").read_text()
    assert "public domain" in card and "teacher:" in card and "rewrite_plan.en.md" in card
    report = json.loads((folder / "report.json").read_text())
    assert report["after"]["plan_coverage"] == 1 and report["after"]["turns"] == len(spoken)
    assert report["after"]["patterns"]["entropy_bits"] > report["before"]["patterns"]["entropy_bits"]
    assert report["calls"]["stages"]["system_thinking"]["tiers"] and report["calls"]["model"] == "teacher:"
    counted = report["stages"]["role_thinking"]["turns"]
    assert sum(counted.values()) == sum(1 for _ in jsonl.read(folder / "role_thinking.turns.jsonl", TurnRecord)) == len(spoken)
    status = read_status("synthesize-smoke")
    assert {"Othello.txt", "prompts"} == set(status.hashes) and "transcripts.jsonl" in status.outputs


def test_the_same_run_is_the_same_byte_for_byte_and_asks_nothing_twice(home: Path) -> None:
    with teaching() as server:
        assert run("name=one", f"endpoints=['{server.spec}']") == 0
        count = len(server.chats)
        assert run("name=one", f"endpoints=['{server.spec}']") == 0
        assert len(server.chats) == count
        assert run("name=two", f"endpoints=['{server.spec}']") == 0
    assert finished(home, "one") == finished(home, "two")


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_run_resumes_without_asking_twice_or_losing_anything(home: Path, seed: int) -> None:
    """Killed with SIGKILL at a random number of calls: what was recorded is not asked again, and the files are the same."""
    with teaching() as server:
        assert run("name=undisturbed", f"endpoints=['{server.spec}']") == 0
        total = len(server.chats)
        server.requests.clear()
        kill_after = random.Random(seed).randrange(10, total - 20)
        words = [SMOKE, "name=killed", f"endpoints=['{server.spec}']", "calls.in_flight=4"]
        command = [sys.executable, "-m", "pipelines.synthesize", *words]
        server.script.first_delay = 0.01
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "HER_HOME": str(home)}, stderr=subprocess.DEVNULL) as child:
            while len(server.chats) < kill_after and child.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    child.wait(0.005)
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        before = len(server.chats)
        assert read_status("killed").state == "killed"
        server.script.first_delay = 0
        assert run("name=killed", f"endpoints=['{server.spec}']", "calls.in_flight=4") == 0
        after = len(server.chats) - before
    assert before + after <= total + 4 + 16  # the calls in flight, and those of a group that was not yet written
    assert finished(home, "killed") == finished(home, "undisturbed")


def test_a_budget_stops_the_run_and_a_higher_one_resumes_it(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run("name=poor", "calls.budget_tokens=60000") == 3
    assert read_status("poor").state == "stopped" and "budget" in read_status("poor").reason
    assert run("name=poor", "calls.budget_tokens=0") == 0
    assert run("name=rich") == 0
    assert finished(home, "poor") == finished(home, "rich")


def test_a_dead_server_stops_the_run_which_resumes_later(home: Path) -> None:
    with teaching() as server:
        spec = server.spec
    assert run("name=dead", f"endpoints=['{spec}']", "calls.patience=0.2", "calls.retries=0") == 3
    assert read_status("dead").state == "stopped"
    assert run("name=dead", "endpoints=['teacher:']") == 0


def test_a_refused_parameter_stops_the_run_after_a_few_calls_and_other_settings_resume_it(home: Path) -> None:
    with teaching(status=400, error="temperature is not supported") as server:
        words = ["name=refused", f"endpoints=['{server.spec}']", "calls.in_flight=4"]
        assert run(*words) == 3
        # Each call is asked with the schema, without it, and without the parameter that the server names.
        assert len(server.chats) <= 3 * (5 + 4)
        reason = read_status("refused").reason
        assert reason.count("temperature is not supported") == 1 and "her run synthesize @" in reason
        server.script.status = 200
        server.requests.clear()
        assert main([f"@{home / 'runs/refused/config.toml'}", "teacher.leave_out=['temperature']"]) == 0
    assert server.chats and not any("temperature" in body for body in server.chats)


def test_a_teacher_whose_thinking_takes_all_the_room_stops_the_run(home: Path) -> None:
    with teaching(lambda task, payload, valid: "<think>Let me see.", finish="length") as server:
        assert run("name=short", f"endpoints=['{server.spec}']", "calls.in_flight=2") == 3
    assert "raise teacher.room" in read_status("short").reason and len(server.chats) <= 2 * (5 + 2)


def test_a_teacher_without_valid_answers_fails_the_run_and_nothing_is_invented(home: Path) -> None:
    """Every plan is missing: the audit refuses the outcome, with the number and the reason."""

    def spoil(task: str, payload: dict[str, Any], valid: str) -> str:
        return "I would rather not." if task in ("rewrite_plan", "play") else valid

    with teaching(spoil) as server:
        assert run("name=loud", f"endpoints=['{server.spec}']") == 2
    status = read_status("loud")
    assert status.state == "failed" and "audit" in status.reason and "no_plan" in status.reason
    report = json.loads((home / "runs/loud/report.json").read_text())
    assert report["after"]["plan_coverage"] == 0 and report["stages"]["system_thinking"]["turns"].keys() == {"missing"}
    assert "I would rather not" not in (home / "runs/loud/transcripts.jsonl").read_text()


def test_everything_skipped_is_listed_with_its_reason(home: Path, tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.jsonl").write_text('{"title": "Empty", "content": ""}\nnot json\n')
    (tmp_path / "books" / "Othello.txt").write_bytes((ROOT / "pipelines/configs/Othello.txt").read_bytes() + b"\x00\xe9")
    assert run("name=listed", f"books=['{tmp_path / 'books'}']") == 0
    skipped = list(jsonl.read(home / "runs/listed/skipped.jsonl", Skipped))
    assert {"file 'a.jsonl' line 1", "file 'a.jsonl' line 2"} <= {entry.where for entry in skipped}


def test_a_split_that_would_be_empty_is_refused_before_a_model_is_asked(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with teaching() as server:
        assert run("name=one-book", f"endpoints=['{server.spec}']", "samples.split_by=book") == 2
        asked = {task_of(body) for body in server.chats}
    assert "would be empty" in caplog.text and "8 conversations of 1 books, split by book" in caplog.text
    assert not asked & {"enhance_thoughts", "complete_setting", "rewrite_plan", "play"}


def test_every_turn_that_becomes_no_sample_is_listed_with_its_reason(home: Path) -> None:
    run("name=dropped", "samples.most_tokens=1200", "stages=['role_thinking']")
    dropped = Counter(entry.reason for entry in jsonl.read(home / "runs/dropped/dropped.jsonl", Dropped))
    counted = sum((Counter(each.dropped) for each in jsonl.read(home / "runs/dropped/audit.jsonl", AuditReport)), Counter[str]())
    assert dropped == counted and dropped["too_long"] > 0


def test_what_was_skipped_is_listed_when_no_scene_is_left(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "gaps.json").write_text('{"plots": [{"conversation": []}, null]}')
    assert run("name=gaps", "books=[]", f"scenes=['{tmp_path / 'gaps.json'}']") == 2
    assert "no scene came out of the sources" in caplog.text
    assert "plot 0: no conversation" in (home / "runs/gaps/skipped.jsonl").read_text()


def test_a_separate_rewriter_writes_the_plans_and_nothing_else(home: Path) -> None:
    with teaching() as server, teaching() as rewriter:
        words = [f"endpoints=['{server.spec}']", f"rewriter=['{rewriter.spec}']", "calls.price_completion=1000000"]
        assert run("name=two", *words) == 0
        assert {task_of(body) for body in rewriter.chats} == {"rewrite_plan"}
        tasks = {task_of(body) for body in server.chats}
    assert "play" in tasks and "enhance_thoughts" in tasks and "rewrite_plan" not in tasks
    calls = json.loads((home / "runs/two/report.json").read_text())["calls"]
    assert calls["money"] == sum(stage["completion_tokens"] for stage in calls["stages"].values()) > 0


def test_the_cases_of_a_test_set_are_held_out_of_everything(home: Path, tmp_path: Path) -> None:
    assert run("name=first", "stages=[]") in (0, 2)
    book = json.loads((home / "runs/first/scenes/Othello.json").read_text())
    plot = next(plot for plot in book["plots"] if plot["conversation"])
    case = {"book": "OTHELLO", "i_p": plot["i_p"], "i_c": 0, "tag": "id", "dialogues": plot["conversation"][0]["dialogues"]}
    (tmp_path / "test_set.json").write_text(json.dumps([case]))
    run("name=held", f"samples.test_set={tmp_path / 'test_set.json'}")
    (held,) = json.loads((home / "runs/held/held_out.json").read_text())
    assert held["reason"].startswith("it is case OTHELLO-")
    folder = home / "runs" / "held"
    everything = "".join(path.read_text() for path in [folder / "transcripts.jsonl", *folder.glob("dataset/*/sharegpt.jsonl")])
    assert held["scene"] not in everything and everything
    assert "Held out for test_set.json: 1 transcripts" in (folder / "dataset/README.md").read_text()


def test_the_second_run_on_one_folder_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    options, _ = config.load(SynthesisOptions, [SMOKE, "name=taken"])
    with open_run("synthesize", "taken", options):
        assert run("name=taken") == 2
    assert "another process works on run 'taken'" in caplog.text


def test_wrong_settings_are_refused_with_a_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for words, message in [
        (["books=[]"], "nothing to read"),
        (["stages=['cook']"], "stage 'cook' is unknown"),
        (["books=['absent.txt']"], "there is no book file or folder"),
        (["endpoints=['nonsense']"], "is not a spec"),
        (["books=[]", f"scenes=['{tmp_path}']"], "no file of scenes"),
        (["samples.split_by=page"], "samples.split_by"),
    ]:
        caplog.clear()
        assert run(f"name=refused{len(message)}", *words) == 2
        assert message in caplog.text


def test_inputs_that_changed_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = tmp_path / "Othello.txt"
    text = (ROOT / "pipelines/configs/Othello.txt").read_text()
    book.write_text(text)
    assert run("name=input", f"books=['{book}']") == 0
    book.write_text(text + "More.")
    assert run("name=input", f"books=['{book}']") == 2
    assert "another 'Othello.txt'" in caplog.text and read_status("input").state == "done"


@pytest.mark.browser
def test_the_report_is_read_in_a_browser(home: Path, page: Any, outside: list[str]) -> None:
    words = [sys.executable, "-m", "pipelines.synthesize", SMOKE, "name=shown"]  # a browser test has a loop of its own
    assert subprocess.run(words, cwd=ROOT, env={**os.environ, "HER_HOME": str(home)}, capture_output=True).returncode == 0
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content((home / "runs/shown/report.html").read_text("utf-8"))
    assert page.title() == "Synthesis: shown" and page.locator("svg").count() == 3
    assert page.get_by_text("of turns have a plan").is_visible() and page.locator("h2").count() >= 7
    for answer, count in (("good", 1), ("bad", 1)):  # the second vote on one answer replaces the first
        page.locator(".votes[data-key]").first.get_by_role("button", name=answer).click()
        assert page.get_by_role("status").inner_text() == f"{count} votes"
    page.get_by_label("Your name").fill("Ann")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the votes").click()
    (vote,) = json.loads(Path(download.value.path()).read_text())
    assert vote["reader"] == "Ann" and vote["good"] is False
    assert main_votes(["shown", str(download.value.path())]) == 0 and (home / "runs/shown/votes.sqlite3").is_file()
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not errors and not outside
