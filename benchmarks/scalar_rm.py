"""Test if the scalar reward model learns a rule of the prompt. Run: `python -m benchmarks.scalar_rm FOLDER [KEY=VALUE ...]`

8,000 pairs are made from the CoSER books in FOLDER and the project's personas by seeded rewriting (pipelines/reward/planted.py):
a rule of three features, one of which is a gate in the prompt. `pipelines/configs/reward_tiny.toml` is trained in a process on
two cores and evaluated on held-out conversations with clean labels, beside a length-only and a prompt-blind baseline. Then six
in ten raters are made careless (right in 55 % of their votes, the others in 95 %), and the same model is trained on their votes
twice: with weights and soft labels, and with TRL's plain loss. Both are compared pair by pair on the clean held-out pairs.
KEY=VALUE changes settings of all runs, such as pairs.planted.pairs=1000.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import report
from her.config import load
from her.judging.preference_pairs import conversation_of
from her.statistics import Interval, cluster_bootstrap
from pipelines.reward.evaluation import model_scores, score_differences
from pipelines.reward.options import RewardOptions
from pipelines.reward.pairs import load_pairs
from pipelines.reward.scorer import load_scorer

CONFIG = "@pipelines/configs/reward_tiny.toml"
CARELESS = 0.6
PLAIN = ("loss.weights=false", "loss.soft_labels=false")
BAR = {"accuracy": 0.90, "gate_accuracy": 0.90, "baselines_at_most": 0.55, "minutes": 4.0, "cores": 2, "over_plain_above": 0.0}


def train(home: Path, words: Sequence[str], name: str) -> dict[str, Any]:
    """Run one training on two cores; return its report with the processor minutes of the whole process."""
    cores = sorted(os.sched_getaffinity(0))[: BAR["cores"]] if hasattr(os, "sched_getaffinity") else []
    environment = {**os.environ, "HER_HOME": str(home), "OMP_NUM_THREADS": str(BAR["cores"])}

    def pin() -> None:
        if cores:
            os.sched_setaffinity(0, cores)

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pipelines.reward", *words, f"name={name}"]
    subprocess.run(command, env=environment, check=True, preexec_fn=pin, stdout=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures: dict[str, Any] = json.loads((home / "runs" / name / "report.json").read_text("utf-8"))
    figures["processor_minutes"] = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60
    return figures


def paired_gain(home: Path, words: Sequence[str], ours: str, plain: str) -> Interval:
    """Return by how much more of the clean held-out pairs one run has right than the other, over conversations."""
    options, _ = load(RewardOptions, words)
    held_out = load_pairs(options.pairs, options.seed).held_out
    right = [
        (score_differences(model_scores(load_scorer(home / "runs" / name / "model")), held_out) > 0).astype(float)
        for name in (ours, plain)
    ]
    gains = right[0] - right[1]
    return cluster_bootstrap(lambda places: float(np.mean(gains[places])), [conversation_of(each) for each in held_out])


def main(words: Sequence[str]) -> None:
    """Train four models, compare, print the JSON object."""
    books = json.dumps([str(path) for path in sorted(Path(words[0]).expanduser().resolve().glob("*.json"))])
    settings = [CONFIG, f"pairs.planted.books={books}", *words[1:]]
    noisy = [*settings, f"pairs.planted.careless={CARELESS}", "evaluation.prompt_blind=false", "evaluation.attacked=0"]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        clean = train(home, settings, "clean")
        weighted, plain = train(home, noisy, "weighted"), train(home, [*noisy, *PLAIN], "plain")
        gain = paired_gain(home, noisy, "weighted", "plain")
    scalar, *baselines = clean["models"]
    measured = {
        "accuracy": scalar["accuracy"],
        "gate_accuracy": scalar["by_principle"]["gate"],
        "baselines_gate": {model["name"]: model["by_principle"]["gate"] for model in baselines},
        "ece": scalar["ece"],
        "attacks_passed": {kind: interval[0] for kind, interval in scalar["attacks"].items()},
        "minutes": round(clean["seconds"] / 60, 2),
        "processor_minutes_with_blind_baseline": round(clean["processor_minutes"], 2),
        "trained": clean["trained"],
        "held_out": [clean["held_out"], clean["conversations"]],
        "noisy_weighted": weighted["models"][0]["accuracy"],
        "noisy_plain": plain["models"][0]["accuracy"],
        "over_plain": gain,
    }
    report("scalar_rm", BAR, measured, passes(measured))


def passes(measured: dict[str, Any]) -> bool:
    """Return whether every bar holds."""
    return bool(
        measured["accuracy"][0] >= BAR["accuracy"]
        and measured["gate_accuracy"][0] >= BAR["gate_accuracy"]
        and all(interval[0] <= BAR["baselines_at_most"] for interval in measured["baselines_gate"].values())
        and measured["minutes"] <= BAR["minutes"]
        and measured["over_plain"].low > BAR["over_plain_above"]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
