"""Kill reinforcement learning with SIGKILL at random steps, resume, and compare. Run: `python -m benchmarks.rl_resume`

A small base is fine-tuned first (not counted). `her run rl` trains it undisturbed with a served reward model, a stand-in that
counts what it is asked. The same run under other names is killed right after a random step and a random wait, and started again
until it is done. Loss and reward of all steps must equal those of the undisturbed run (CPU, float32), and no answer may be judged
twice within one run. Prints one JSON object.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.report import report
from benchmarks.rl_base import make_base, prompts_file
from her.paths import ROOT
from her.runs.folder import read_curve

KILLS, STEPS, SAVE_EVERY = 3, 10, 3
BAR = {"apart": 1e-4, "judged_twice": 0}


class CountingModel(BaseHTTPRequestHandler):
    """A reward model that likes short answers; `asked` counts the requests by their content."""

    asked: Counter[str] = Counter()

    def do_POST(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked[body.decode()] += 1
        rows = [{"index": place, "score": -len(text) / 50} for place, text in enumerate(json.loads(body)["candidates"])]
        answer = json.dumps({"data": rows}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


def main() -> None:
    """Train, kill, resume and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, help="keep the runs here, and use a base that is there already")
    words = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), CountingModel)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with tempfile.TemporaryDirectory() as temporary:
        home = words.home or Path(temporary)
        os.environ["HER_HOME"] = str(home)
        measured = compare(make_base(home), url)
    server.shutdown()
    report("rl_resume", BAR, measured, measured["apart"] <= BAR["apart"] and not measured["judged_twice"])


def compare(base: str, url: str) -> dict[str, Any]:
    """Return how far killed runs are from the undisturbed one, and how many requests came twice within a run."""
    dice = random.Random(time.time_ns())
    tag = f"{time.time_ns():x}"
    train(f"undisturbed-{tag}", base, url, 0)
    undisturbed = curve(f"undisturbed-{tag}")
    twice = [_asked_twice()]
    apart, killed_after = [], [dice.randint(1, STEPS - 1) for _ in range(KILLS)]
    for number, step in enumerate(killed_after):
        name = f"killed-{number}-{tag}"
        train(name, base, url, step, wait=dice.random())
        train(name, base, url, 0)
        resumed = curve(name)
        assert resumed.keys() == undisturbed.keys(), f"{name}: steps {sorted(resumed)} instead of {sorted(undisturbed)}"
        apart.append(max(abs(a - b) for key in undisturbed for a, b in zip(undisturbed[key], resumed[key], strict=True)))
        twice.append(_asked_twice())
        print(f"killed after step {step}: {apart[-1]:.2e} apart, {twice[-1]} judged twice", flush=True)
    return {
        "apart": max(apart),
        "judged_twice": sum(twice),
        "killed_after": killed_after,
        "steps": STEPS,
        "checkpoint_every": SAVE_EVERY,
        "first_rewards": [round(undisturbed[step][1], 4) for step in sorted(undisturbed)[:3]],
    }


def _asked_twice() -> int:
    found = sum(count - 1 for count in CountingModel.asked.values())
    CountingModel.asked.clear()
    return found


def train(name: str, base: str, url: str, kill_after: int, wait: float = 0.0) -> None:
    """Run until done, or kill the run after a step and a wait in seconds."""
    words = [
        f"name={name}",
        f"start={base}",
        "device=cpu",
        "batch=8",
        "rows=4",
        f"steps={STEPS}",
        f"save_every={SAVE_EVERY}",
        "keep=1",
        "learning_rate=1e-4",
        "checkpointing=none",
        "rollout.answers=4",
        "rollout.tokens=48",
        "rollout.most_dropped=1",
        f"prompts.files=['{prompts_file(Path(os.environ['HER_HOME']))}']",
        f"reward.sources=[{{kind='scalar', url='{url}'}}]",
        "reward.plans=false",
        "panel.every=0",
        "format_check.answers=0",
    ]
    command = [sys.executable, "-m", "pipelines.rl", *words]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        lines = []
        for line in running.stderr:
            lines.append(line)
            if kill_after and line.startswith(f"step {kill_after} of"):
                time.sleep(wait)
                running.send_signal(signal.SIGKILL)
    wanted = -signal.SIGKILL if kill_after else 0
    if running.returncode != wanted:
        raise RuntimeError(f"{name} ended with {running.returncode}: {''.join(lines[-20:])}")


def curve(name: str) -> dict[int, tuple[float, float]]:
    """Return loss and reward of each step; a step that was done twice counts as it was done last."""
    return {line["step"]: (line["loss"], line["reward"]) for line in read_curve(name) if "loss" in line and "reward" in line}


if __name__ == "__main__":
    main()
