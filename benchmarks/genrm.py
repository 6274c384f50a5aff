"""Test if RL improves a generative reward model. Run: `python -m benchmarks.genrm FOLDER [--quick] [KEY=VALUE ...]`

A model of 1 million weights learns to judge planted pairs made from the CoSER books in FOLDER and the project's personas
(pipelines/reward/planted_critic.py): `pipelines/configs/reward_generative_tiny.toml`, three seeds on two cores. Fine-tuning on a
scripted judge's words, which quote their evidence, ends near .84; then 8 minutes of GRPO on the labels. Both models are asked
about 1,000 held-out pairs in both orders, most of which the prompt decides, about attacks of every kind and about honest turns
that look like attacks. Then one model is trained for each kind of attack with this kind left out of training.

`--quick` trains one smaller model for a few minutes and leaves no kind out: for development. KEY=VALUE changes settings of all
runs. `--keep FOLDER` keeps the runs; the seconds are wall-clock, so run it on a quiet machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import report
from her.config import load
from pipelines.reward.options import RewardOptions

CONFIG = "@pipelines/configs/reward_generative_tiny.toml"
CORES = 2
SEEDS = (1, 2, 3)
QUICK = (
    "model.shape.hidden=96",
    "model.shape.intermediate=288",
    "model.shape.layers=3",
    "model.shape.head=24",
    "generative.evaluated=150",
    "generative.checked=60",
    "generative.grpo.minutes=4",
    "evaluation.attacked=10",
)
BAR = {
    "sft_accuracy": 0.80,
    "gain_above": 0.0,
    "swap_consistency": 0.88,
    "ties_within": 0.05,
    "attacks_passed": 0.95,
    "false_alarms_at_most": 0.05,
    "prompt_decides": 0.5,
}


def train(home: Path, words: Sequence[str], name: str) -> dict[str, Any]:
    """Run one training on two cores; return its report."""
    cores = sorted(os.sched_getaffinity(0))[:CORES] if hasattr(os, "sched_getaffinity") else []
    environment = {**os.environ, "HER_HOME": str(home), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(CORES))}

    def pin() -> None:
        if cores:
            os.sched_setaffinity(0, cores)

    command = [sys.executable, "-m", "pipelines.reward", *words, f"name={name}"]
    subprocess.run(command, env=environment, check=True, preexec_fn=pin, stdout=sys.stderr)
    figures: dict[str, Any] = json.loads((home / "runs" / name / "report.json").read_text("utf-8"))
    return figures


def seed_figures(run: dict[str, Any]) -> dict[str, Any]:
    """Return what the bars are about, of one run."""
    sft, last = run["models"][0], run["models"][-1]
    return {
        "sft_accuracy": sft["accuracy"],
        "accuracy": last["accuracy"],
        "gain": run["gain"],
        "by_principle": {name: [part["by_principle"].get(name) for part in (sft, last)] for name in last["by_principle"]},
        "swap_consistency": [sft["swap_consistency"], last["swap_consistency"]],
        "ties": [sft["ties"], last["ties"], last["label_ties"]],
        "missing": [sft["missing"], last["missing"]],
        "attacks_passed": [sft["passed"], last["passed"]],
        "attacks": {kind: interval[0] for kind, interval in last["attacks"].items()},
        "false_alarms": {kind: interval[0] for kind, interval in last["false_alarms"].items()},
        "balance": [run["before"], run["after"]],
        "stages": run["stages"],
    }


def left_out(home: Path, words: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield each kind of attack with its pass rate after a training without it."""
    kinds = load(RewardOptions, words)[0].pairs.attacks
    for kind in kinds:
        rest = json.dumps([other for other in kinds if other != kind])
        yield kind, train(home, [*words, f"pairs.attacks={rest}"], f"without-{kind}")["models"][-1]["attacks"][kind][0]


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians over seeds of the figures that have a bar."""
    return {
        "sft_accuracy": median(run["sft_accuracy"][0] for run in runs),
        "accuracy": median(run["accuracy"][0] for run in runs),
        "gain": median(run["gain"][0] for run in runs),
        "gain_low": median(run["gain"][1] for run in runs),
        "swap_consistency": median(run["swap_consistency"][-1][0] for run in runs),
        "ties_off": median(abs(run["ties"][1] - run["ties"][2]) for run in runs),
        "attacks_passed": median(run["attacks_passed"][-1] for run in runs),
        "false_alarms": {kind: median(run["false_alarms"][kind] for run in runs) for kind in runs[0]["false_alarms"]},
    }


def passes(measured: dict[str, Any]) -> bool:
    """Return whether every bar holds for the medians."""
    return bool(
        measured["sft_accuracy"] >= BAR["sft_accuracy"]
        and measured["gain_low"] > BAR["gain_above"]
        and measured["swap_consistency"] >= BAR["swap_consistency"]
        and measured["ties_off"] <= BAR["ties_within"]
        and measured["attacks_passed"] >= BAR["attacks_passed"]
        and max(measured["false_alarms"].values()) <= BAR["false_alarms_at_most"]
        and measured["prompt_decides"] >= BAR["prompt_decides"]
    )


def prompt_share(words: Sequence[str]) -> float:
    """Return the share of held-out pairs that the prompt alone decides."""
    from pipelines.reward.generative_material import gather

    with tempfile.TemporaryDirectory() as folder:
        decided = gather(load(RewardOptions, words)[0], Path(folder)).tests.decided
    return sum(name in ("fitting act", "own words") for name in decided.values()) / len(decided)


def main(words: Sequence[str]) -> None:
    """Train all models, print the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("books", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", type=Path)
    known, changes = parser.parse_known_args(words)
    books = json.dumps([str(path) for path in sorted(known.books.expanduser().resolve().glob("*.json"))])
    settings = [CONFIG, f"pairs.planted.books={books}", *(QUICK if known.quick else ()), *changes]
    with tempfile.TemporaryDirectory() as folder:
        home = known.keep.resolve() if known.keep else Path(folder)
        seeds = SEEDS[:1] if known.quick else SEEDS
        runs = [seed_figures(train(home, [*settings, f"seed={seed}"], f"seed-{seed}")) for seed in seeds]
        kinds = {} if known.quick else dict(left_out(home, settings))
    measured = {**summary(runs), "prompt_decides": prompt_share(settings), "left_out_of_training": kinds, "seeds": runs}
    report("genrm", BAR, measured, passes(measured))


if __name__ == "__main__":
    main(sys.argv[1:])
