"""Commands of an evaluation end to end: the tiny checkpoint as actor, judged over HTTP and judged again; killed and resumed."""

import json
import os
import shutil
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
from her.types import Transcript
from pipelines.evaluate.scores import CaseScore
from tests.cli.commands import her
from tests.pipelines.evaluate.cases import case, write_cases
from tests.pipelines.evaluate.serving import role_of, scene_server, spec
from tests.playground import ROOT

pytestmark = pytest.mark.whole
FILES = ("transcripts.jsonl", "simulations.jsonl", "scores.jsonl", "report.json", "report.md", "report.html")
SETTINGS = ("runs=1", "rounds=2", "pilot=0")


def rows(name: str) -> list[CaseScore]:
    return list(jsonl.read(run_folder(name) / "scores.jsonl", CaseScore))


@pytest.fixture
def checkpoint(base: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint with room for the prompt of a scene, and many tokens that end a reply, since its weights are random."""
    folder = shutil.copytree(base, tmp_path / "tiny")
    changes = {"config.json": {"max_position_embeddings": 4096}, "generation_config.json": {"eos_token_id": [*range(0, 400, 29)]}}
    for name, change in changes.items():
        settings = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps({**settings, **change}), "utf-8")
    return folder


def test_the_tiny_checkpoint_plays_is_judged_over_http_and_judged_again(tmp_path: Path, checkpoint: Path) -> None:
    cases = str(write_cases(tmp_path, case()))
    with scene_server() as server:
        done = her("eval", "coser", "--data", cases, "--actor", f"local:{checkpoint}", "--judge", spec(server), *SETTINGS)
        assert done.exit_code == 0 and (run_folder("coser") / "report.html").is_file(), done.output
        asked = Counter(map(role_of, server.chats))
        assert not asked["actor"] and asked["judge"] == 8
        (played,) = jsonl.read(run_folder("coser") / "transcripts.jsonl", Transcript)
        said = [turn for turn in played.turns if turn.speaker in ("Mira Vance", "Doctor Hale")]
        assert said and all(row.rounds == 2 and row.model.startswith(str(checkpoint)) for row in rows("coser"))
        server.requests.clear()
        again = her("eval", "judge", "coser")
        assert again.exit_code == 0 and (run_folder("coser-judged") / "report.html").is_file(), again.output
        assert set(map(role_of, server.chats)) == {"judge"} and read_status("coser-judged").state == "done"
    assert [(row.dimension, row.thoughts, row.score) for row in rows("coser")] == [
        (row.dimension, row.thoughts, row.score) for row in rows("coser-judged")
    ]


def test_a_killed_evaluation_resumes_asks_nothing_twice_and_ends_as_if_undisturbed(tmp_path: Path, home: Path) -> None:
    cases = str(write_cases(tmp_path, *(case(number) for number in range(3))))
    with scene_server(first_delay=0.05) as server:
        words = ["eval", "coser", "--data", cases, "--actor", spec(server), "--judge", spec(server), *SETTINGS]
        command = [sys.executable, "-m", "her.cli", *words, "calls.in_flight=4"]
        where: Any = {"cwd": ROOT, "env": {**os.environ, "HER_HOME": str(home)}, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **where) as first:
            while len(server.chats) < 14 and first.poll() is None:
                time.sleep(0.01)
            first.send_signal(signal.SIGKILL)
        assert first.returncode == -signal.SIGKILL
        with closing(Ledger(run_folder("coser") / "calls.sqlite3")) as ledger:
            recorded = len(ledger)
        lost = len(server.chats) - recorded
        assert recorded > 0 and not (run_folder("coser") / "scores.jsonl").exists()
        resumed = her(*words)
        assert resumed.exit_code == 0, resumed.output
        asked = Counter(json.dumps(chat, sort_keys=True) for chat in server.chats)
        assert sum(asked.values()) - len(asked) <= lost
        server.requests.clear()
        calm = her(*words, "--name", "calm")
        assert calm.exit_code == 0 and {json.dumps(chat, sort_keys=True) for chat in server.chats} == set(asked)
    for name in FILES:
        written = (run_folder("coser") / name).read_text("utf-8")
        assert written == (run_folder("calm") / name).read_text("utf-8").replace("Evaluation calm", "Evaluation coser"), name
