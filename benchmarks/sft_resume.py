"""Compare the losses of a killed and resumed run with those of an undisturbed one. Run: `python -m benchmarks.sft_resume`

`her run sft` trains a small model on the bundled personas, undisturbed. The same run under other names is killed with SIGKILL
right after a random step, and started again until it is done. The losses of all steps must equal those of the undisturbed run
(CPU, float32); a step that was done twice counts as it was done last. Prints one JSON object.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import report

KILLS, STEPS, SAVE_EVERY = 5, 24, 5
BAR = 1e-4
WORDS = (
    "device=cpu",
    'samples.personas=["bundled"]',
    "samples.chats=1",
    "samples.exchanges=4",
    "samples.held_out_share=0.1",
    "model.shape.hidden=64",
    "model.shape.intermediate=128",
    "model.shape.layers=2",
    "model.shape.heads=2",
    "model.shape.kv_heads=1",
    "model.shape.head=32",
    "model.shape.vocabulary=2048",
    "model.shape.context=8192",
    "evaluation.turns=0",
    "batch=8",
    f"steps={STEPS}",
    f"save_every={SAVE_EVERY}",
    "learning_rate=0.003",
    "checkpointing=none",
)


def main() -> None:
    """Train, kill, resume and compare."""
    dice = random.Random(time.time_ns())
    with tempfile.TemporaryDirectory() as home:
        os.environ["HER_HOME"] = home
        train("undisturbed", 0)
        undisturbed = losses("undisturbed")
        killed_at = [dice.randint(2, STEPS - 1) for _ in range(KILLS)]
        apart = []
        for number, last_step in enumerate(killed_at):
            name = f"killed-{number}"
            train(name, last_step)
            train(name, 0)
            resumed = losses(name)
            assert resumed.keys() == undisturbed.keys(), f"{name}: steps {sorted(resumed)} instead of {sorted(undisturbed)}"
            apart.append(max(abs(resumed[step] - loss) for step, loss in undisturbed.items()))
            print(f"killed after step {last_step}: losses {apart[-1]:.2e} apart", flush=True)
    measured = {"apart": max(apart), "killed_after": killed_at, "steps": STEPS, "checkpoint_every": SAVE_EVERY}
    report("sft_resume", {"apart": BAR}, measured, max(apart) <= BAR)


def train(name: str, kill_after: int) -> None:
    """Run until done, or kill the run right after a step."""
    command = [sys.executable, "-m", "pipelines.sft", *WORDS, f"name={name}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        lines = []
        for line in running.stderr:
            lines.append(line)
            if kill_after and line.startswith(f"step {kill_after} of"):
                running.send_signal(signal.SIGKILL)
    wanted = -signal.SIGKILL if kill_after else 0
    if running.returncode != wanted:
        raise RuntimeError(f"{name} ended with {running.returncode}: {''.join(lines[-20:])}")


def losses(name: str) -> dict[int, float]:
    """Return the loss of each step; a step that was done twice counts as it was done last."""
    from her.runs.folder import read_curve

    assert Path(os.environ["HER_HOME"]).is_dir()
    return {line["step"]: line["loss"] for line in read_curve(name) if "loss" in line}


if __name__ == "__main__":
    main()
