"""Measure the time that `her run sft` adds to TRL. Run: `python -m benchmarks.sft_overhead`

The plain layout of `her run sft` and a bare TRL script train the same samples (the bundled personas) with the same model and
settings, each in a separate process, in turn. Seconds are those of the steps without the first; the ratio is taken within each
pair of neighbours, and the median counts. The losses must be equal. Prints one JSON object.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import report
from benchmarks.trainers import bare_trl, shipped, timed

PAIRS, STEPS, BATCH = 7, 9, 4
BAR = {"ratio": 1.03}


def main() -> None:
    """Measure in turn and report; with `--side` this is one measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("plain", "trl"))
    side = parser.parse_args().side
    if side:
        print(json.dumps(measure(side)))
        return
    runs: dict[str, list[dict[str, Any]]] = {"plain": [], "trl": []}
    for number in range(PAIRS):
        for each in ("plain", "trl") if number % 2 else ("trl", "plain"):
            runs[each].append(_measure_apart(each))
            print(each, runs[each][-1]["seconds"], flush=True)
    ratios = [ours["seconds"] / theirs["seconds"] for ours, theirs in zip(runs["plain"], runs["trl"], strict=True)]
    apart = max(abs(a - b) for a, b in zip(runs["plain"][0]["losses"], runs["trl"][0]["losses"], strict=True))
    measured = {
        "ratio": round(statistics.median(ratios), 4),
        "ratios": [round(each, 3) for each in ratios],
        "seconds": {name: [each["seconds"] for each in each_side] for name, each_side in runs.items()},
        "losses_apart": apart,
    }
    report("sft_overhead", {**BAR, "losses_apart": 1e-4}, measured, measured["ratio"] <= BAR["ratio"] and apart <= 1e-4)


def _measure_apart(side: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.sft_overhead", "--side", side], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(side: str) -> dict[str, Any]:
    """Train a few steps; return seconds and losses."""
    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.loading import load_tokenizer
    from pipelines.sft.options import TrainingOptions
    from pipelines.sft.rows.sample_files import read_samples

    samples = {"personas": ("bundled",), "chats": 1, "exchanges": 3, "held_out_share": 0}
    shape = {"hidden": 256, "intermediate": 768, "layers": 4, "vocabulary": 4096, "context": 8192}
    settings = {"batch": BATCH, "steps": STEPS, "learning_rate": 1e-3, "schedule": "constant", "warmup": 0}
    options = TrainingOptions.model_validate(
        {"samples": samples, "model": {"shape": shape}, **settings, "layout": "plain", "checkpointing": "none", "device": "cpu"}
    )
    rows = read_samples(options.samples, options.seed).train
    template = ChatTemplate(load_tokenizer(options.model, (message.content for row in rows for message in row.messages)))
    with tempfile.TemporaryDirectory() as home:
        if side == "plain":
            trainer, _ = shipped(rows, options, template, Path(home))
        else:
            trainer = bare_trl(
                rows,
                options.model,
                template,
                Path(home),
                max_length=None,
                gradient_accumulation_steps=BATCH,
                max_steps=STEPS,
                learning_rate=1e-3,
                lr_scheduler_type="constant",
                shuffle_dataset=False,
                data_seed=42,
            )
        return timed(trainer, skipped=1)


if __name__ == "__main__":
    main()
