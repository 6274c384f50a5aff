"""A check of a judge, whole: the smoke settings, labels from a path, and a kill after which nothing is asked twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from her.files import jsonl
from her.runs.folder import read_status, run_folder
from her.store.ledger import Ledger
from pipelines.judge_check.__main__ import main
from tests.judging.test_labelled import preference
from tests.servers import ModelServer, Script

ROOT = Path(__file__).resolve().parents[3]
SMOKE = ["@pipelines/configs/judge_check_smoke.toml", "input.planted=24", "attacked=1", "resamples=20"]


@pytest.mark.whole
def test_the_smoke_check_compares_four_designs() -> None:
    assert main(SMOKE) == 0
    folder = run_folder("judge-check-smoke")
    cards = json.loads((folder / "report_card.json").read_text("utf-8"))
    assert [card["pairs"] for card in cards] == [24] * 4 and cards[3]["agreement"][0] > cards[0]["agreement"][0]
    assert "| by case, pairwise, reasoning | " in (folder / "report_card.md").read_text("utf-8")
    page = (folder / "report_card.html").read_text("utf-8")
    assert page.count("<details>") == 4 and "<svg" in page
    status = read_status("judge-check-smoke")
    assert status.state == "done" and set(status.outputs) == {f"report_card.{end}" for end in ("json", "md", "html")}
    before = (folder / "report_card.html").read_bytes()
    assert main(SMOKE) == 0 and (folder / "report_card.html").read_bytes() == before, "a second start asks and changes nothing"


@pytest.mark.whole
def test_a_killed_check_asks_nothing_twice(tmp_path: Path, home: Path) -> None:
    jsonl.write(tmp_path / "labels.jsonl", [preference(f"Mara: No, {number}.", f"Mara: Yes, {number}.") for number in range(20)])
    with ModelServer(Script(text="Verdict: A", first_delay=0.1)) as server:
        words = ["judge-check", "--data", str(tmp_path / "labels.jsonl"), f'endpoints=["openai:{server.url}#test-her"]']
        command = [sys.executable, "-m", "her.cli", "run", *words, "attacked=0", "resamples=20", "calls.in_flight=4"]
        where: Any = {"cwd": ROOT, "env": {**os.environ, "HER_HOME": str(home)}, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **where) as first:
            while len(server.chats) < 15 and first.poll() is None:
                time.sleep(0.02)
            first.send_signal(signal.SIGKILL)
        assert first.returncode == -signal.SIGKILL
        with closing(Ledger(run_folder("judge-check") / "calls.sqlite3")) as ledger:
            recorded = len(ledger)
        lost = len(server.chats) - recorded
        assert recorded > 0 and subprocess.run(command, check=False, **where).returncode == 0
        asked = Counter(json.dumps(chat["messages"]) for chat in server.chats)
    assert len(asked) == 40 and sum(asked.values()) - 40 <= lost
    card = json.loads((run_folder("judge-check") / "report_card.json").read_text("utf-8"))
    assert (card["pairs"], card["first_slot"][0], card["tie_rate"][0]) == (20, 1.0, 1.0)


def test_a_path_without_labels_is_one_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main([f"--data={tmp_path / 'none.jsonl'}", 'endpoints=["openai:http://127.0.0.1:9/v1#m"]']) == 2
    assert "does not exist; give the path" in caplog.text
    assert main(["--data"]) == 2


def test_a_dry_run_prints_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMOKE, "--dry-run"]) == 0 and "planted = 24" in capsys.readouterr().out
