"""Commands of an evaluation end to end, over HTTP: the tiny checkpoint as actor, judged and judged again; killed and resumed;
the arena with people's votes; Role-Play Bench.
"""

import json
import os
import re
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
from her.store import Store, Vote
from her.store.ledger import Ledger
from her.types import Message, Transcript
from pipelines.evaluate.scores import CaseScore
from tests.cli.commands import her
from tests.pipelines.evaluate.cases import case, write_cases
from tests.pipelines.evaluate.serving import role_of, scene_server, spec
from tests.pipelines.evaluate.test_arena import PLAYS, contestants
from tests.pipelines.evaluate.test_role_play_bench import SEED, ZH, published, write_bench
from tests.pipelines.evaluate.test_role_play_run import actor as bench_actor
from tests.pipelines.evaluate.test_role_play_run import judge as bench_judge
from tests.pipelines.evaluate.test_role_play_run import user as bench_user
from tests.playground import ROOT
from tests.servers import ModelServer, Script
from tests.store.samples import generation, greeted, turn

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


def test_the_tiny_checkpoint_plays_is_judged_over_http_and_judged_again(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cases = str(write_cases(tmp_path, case()))
    with scene_server() as server:
        words = ["eval", "coser", "--data", cases, "--actor", f"local:{checkpoint}", "--judge", spec(server), *SETTINGS]
        done = her(*words)
        assert done.exit_code == 0 and (run_folder("coser") / "report.html").is_file(), done.output
        asked = Counter(map(role_of, server.questions))
        assert not asked["actor"] and asked["judge"] == 8
        (played,) = jsonl.read(run_folder("coser") / "transcripts.jsonl", Transcript)
        said = [turn for turn in played.turns if turn.speaker in ("Mira Vance", "Doctor Hale")]
        assert said and all(row.rounds == 2 and row.model.startswith(str(checkpoint)) for row in rows("coser"))
        server.requests.clear()
        again = her("eval", "judge", "coser")
        assert again.exit_code == 0 and (run_folder("coser-judged") / "report.html").is_file(), again.output
        assert set(map(role_of, server.questions)) == {"judge"} and read_status("coser-judged").state == "done"
        weights = bytearray((checkpoint / "model.safetensors").read_bytes())
        (checkpoint / "model.safetensors").write_bytes(weights[:-100] + bytes(100))
        assert her(*words).exit_code == 2 and "the actor of run 'coser' was" in caplog.text, "other weights are another model"
    assert [(row.dimension, row.thoughts, row.score) for row in rows("coser")] == [
        (row.dimension, row.thoughts, row.score) for row in rows("coser-judged")
    ]


def test_a_killed_evaluation_resumes_asks_nothing_twice_and_ends_as_if_undisturbed(tmp_path: Path, home: Path) -> None:
    cases = str(write_cases(tmp_path, *(case(number) for number in range(2))))
    with scene_server(first_delay=0.05) as server:
        words = ["eval", "coser", "--data", cases, "--actor", spec(server), "--judge", spec(server), *SETTINGS]
        command = [sys.executable, "-m", "her.cli", *words, "calls.in_flight=4"]
        where: Any = {"cwd": ROOT, "env": {**os.environ, "HER_HOME": str(home)}, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **where) as first:
            while len(server.questions) < 9 and first.poll() is None:
                time.sleep(0.01)
            first.send_signal(signal.SIGKILL)
        assert first.returncode == -signal.SIGKILL
        with closing(Ledger(run_folder("coser") / "calls.sqlite3")) as ledger:
            recorded = len(ledger)
        lost = len(server.questions) - recorded
        assert recorded > 0 and not (run_folder("coser") / "scores.jsonl").exists()
        resumed = her(*words)
        assert resumed.exit_code == 0, resumed.output
        asked = Counter(json.dumps(chat, sort_keys=True) for chat in server.questions)
        assert sum(asked.values()) - len(asked) <= lost
        server.requests.clear()
        calm = her(*words, "--name", "calm")
        assert calm.exit_code == 0 and {json.dumps(chat, sort_keys=True) for chat in server.questions} == set(asked)
    for name in FILES:
        written = (run_folder("coser") / name).read_text("utf-8")
        assert written == (run_folder("calm") / name).read_text("utf-8").replace("Evaluation calm", "Evaluation coser"), name


def judge_of_plays(body: dict[str, Any]) -> str:
    """Prefer the play that roars, or the first one where both do not."""
    found = PLAYS.search(str(body["messages"][1]["content"]))
    assert found is not None
    first, second = (side.count("roar") for side in found.groups())
    return f"It is louder.\nVerdict: {'tie' if first == second else 'A' if first > second else 'B'}"


def vote_for(winner: str, *models: str, visitor: str, store: Store) -> None:
    """Cast a blind vote on two replies in one chat."""
    chat, question = greeted(store, visitor)
    replies = {
        model: store.add_turn(
            visitor, chat.id, question.id, turn(model), "model", generation=generation(raw=model, model=model, revision="")
        )
        for model in models
    }
    ballot = store.add_ballot(visitor, chat.id, (replies[models[0]].id, replies[models[1]].id))
    store.vote(visitor, ballot.id, Vote(winner="a" if ballot.a_id == replies[winner].id else "b"))


def test_an_arena_over_http_has_people_in_the_same_table(tmp_path: Path) -> None:
    sides = [str(side.run.folder) for side in contestants(tmp_path, cases=24)]
    store = Store()
    for number in range(12):
        vote_for("loud" if number % 4 else "plain", "plain", "loud", visitor=f"{number:064x}", store=store)
    vote_for("loud", "loud", "another model", visitor="f" * 64, store=store)
    store.close()
    with ModelServer(Script(text=judge_of_plays, strict_model=True, model="reader")) as server:
        words = ["eval", "arena", *sides, "--family", "qwen", "--family", "llama", "--held-out-family", "gpt", "--people"]
        wrong = her(*words, "--held-out", spec(server, "weather-9b"))
        assert wrong.exit_code == 2 and "nothing was asked" in wrong.output and not server.questions
        given = ["--held-out", spec(server), "--by-case", spec(server), "--by-case-family", "gpt"]
        held = her(*words, *given)
        assert held.exit_code == 0, held.output
        assert len(server.questions) == 2 * 2 * 24 and "People: loud, plain" in held.stdout
        server.requests.clear()
        assert her(*words, *given).exit_code == 0 and not server.questions
    text = (tmp_path / "plain" / "arena" / "arena.md").read_text("utf-8")
    (row,) = re.findall(r"^\| loud \|(.*)\|$", text.partition("side by side")[2].partition("##")[0], re.MULTILINE)
    assert re.fullmatch(r"(?: \+\d\.\d\d \([+-]\d\.\d\d to \+\d\.\d\d\) \|?){3}", row), row


def test_role_play_bench_runs_over_http(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", [SEED, ZH], [published(model_name=f"m{number}") for number in range(3)])

    def answer(body: dict[str, Any]) -> str:
        messages = [Message(role=each["role"], content=each["content"]) for each in body["messages"]]
        return {"actor": bench_actor, "user": bench_user, "judge": bench_judge}[body["model"]](messages)

    with ModelServer(Script(text=answer, strict_model=True, models=["actor", "user", "judge"])) as server:
        words = ["eval", "role-play-bench", "--data", str(data), "--turns", "20", "--runs", "1", "--published", "3"]
        roles = [word for role in ("actor", "user", "judge") for word in (f"--{role}", spec(server, role))]
        wrong = her(*words, *roles[:-1], spec(server, "weather-9b"))
        assert wrong.exit_code == 2 and "nothing was asked" in wrong.output and not server.questions
        done = her(*words, *roles)
        assert done.exit_code == 0 and "CC BY-SA 4.0" in done.stdout, done.output
        assert Counter(body["model"] for body in server.questions) == {
            "actor": 20,
            "user": 20,
            "judge": 2 + 1,
        }  # the published dialogues are equal
        server.requests.clear()
        assert her(*words, *roles).exit_code == 0 and not server.questions
    assert {row.language for row in rows("role-play-bench")} == {"en", "zh"} and len(rows("role-play-bench")) == 12
