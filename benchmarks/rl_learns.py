"""Show that reinforcement learning raises a planted reward in every seed. Run: `python -m benchmarks.rl_learns`

A small base is fine-tuned first (not counted). `her run rl` trains it with five seeds towards questions, with the format gate
and the panel. The true reward is that of answers to 128 prompts that no run has trained on, sampled from the base and from the
model of each run, 4 answers a prompt; a malformed answer has the worst. It has risen when the mean gain is above 1.96 standard
errors, clustered by prompt. No look of the panel may raise an alarm. Prints one JSON object.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import report
from benchmarks.rl_base import make_base, prompts_file, run_pipeline
from her.files import jsonl
from her.types import Sample

SEEDS, HELD_OUT, ANSWERS, MINUTES = (11, 12, 13, 14, 15), 128, 4, 10
REWARD = "questions"
WORDS = (
    "device=cpu",
    "method=dapo",
    "batch=32",
    "rows=32",
    "steps=30",
    "save_every=30",
    "learning_rate=1e-4",
    "warmup=0",
    "checkpointing=none",
    "rollout.answers=8",
    "rollout.tokens=48",
    f"reward.planted={REWARD}",
    "reward.plans=false",
    "reward.replay=false",
    "panel.every=10",
    "panel.prompts=64",
    "panel.turns=256",
)
BAR = {"risen": len(SEEDS), "alarms": 0, "longest_minutes": MINUTES}


def main() -> None:
    """Train all seeds and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, help="keep the runs here, and use a base that is there already")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = words.home or Path(temporary)
        os.environ["HER_HOME"] = str(home)
        measured = learn(home, words.seeds)
    ok = measured["risen"] == len(SEEDS) and not measured["alarms"] and measured["longest_minutes"] <= MINUTES
    report("rl_learns", BAR, measured, ok)


def learn(home: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Return gains with their standard errors, alarms and minutes."""
    from pipelines.rl.panel import read_looks

    base = make_base(home)
    held_out, train = split_prompts(home)
    start = true_rewards(home / "runs" / base / "model", held_out)
    gains, errors, minutes, alarms = [], [], [], 0
    for seed in seeds:
        name = f"learns-{seed}"
        began = time.monotonic()
        run_pipeline(
            home, "rl", [*WORDS, f"name={name}", f"start={base}", f"prompts.files=['{train}']", f"seed={seed}"], codes=(0, 4)
        )
        minutes.append((time.monotonic() - began) / 60)
        alarms += sum(len(look.alarms) for look in read_looks(home / "runs" / name))
        model = home / "runs" / name / "model"
        after = true_rewards(model, held_out) if model.is_dir() else start
        differences = [now - then for now, then in zip(after, start, strict=True)]
        gains.append(statistics.fmean(differences))
        errors.append(statistics.stdev(differences) / len(differences) ** 0.5)
        print(f"seed {seed}: gain {gains[-1]:.3f} +- {errors[-1]:.3f}, {minutes[-1]:.1f} minutes", flush=True)
    return {
        "risen": sum(gain > 1.96 * error for gain, error in zip(gains, errors, strict=True)),
        "seeds": len(seeds),
        "start": round(statistics.fmean(start), 3),
        "gains": [round(gain, 3) for gain in gains],
        "standard_errors": [round(error, 3) for error in errors],
        "alarms": alarms,
        "longest_minutes": round(max(minutes), 1),
    }


def split_prompts(home: Path) -> tuple[list[Sample], Path]:
    """Return the samples whose prompts measure the true reward, and the file of those that are trained on."""
    samples = list(jsonl.read(prompts_file(home), Sample))
    path = home / "train.jsonl"
    jsonl.write(path, samples[HELD_OUT:])
    return samples[:HELD_OUT], path


def true_rewards(model: Path, samples: Sequence[Sample]) -> list[float]:
    """Return the mean true reward of the answers to each prompt."""
    from her.format import parse
    from her.rewards import WORST, malformation
    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.loading import load_model, load_tokenizer
    from pipelines.models.options import LoraOptions, ModelOptions
    from pipelines.models.sampled_turns import evaluation_mode, generate, other_speakers
    from pipelines.rl.judges import PLANTED

    options = ModelOptions(base=str(model))
    template = ChatTemplate(load_tokenizer(options))
    policy = load_model(options, LoraOptions(), template.tokenizer, "cpu")
    rows = [template.ids(sample.messages[:-1], ask=True) for sample in samples for _ in range(ANSWERS)]
    with evaluation_mode(policy, 7):
        answers = [
            each for at in range(0, len(rows), 64) for each in generate(policy, template.tokenizer, rows[at : at + 64], 1.0, 48)
        ]
    rewards = []
    for number, sample in enumerate(samples):
        found = []
        for answer in answers[number * ANSWERS : (number + 1) * ANSWERS]:
            others = other_speakers(sample)
            fault = malformation(answer.text, sample.speaker, others, finished=answer.finished, plans=False)
            found.append(WORST if fault else PLANTED[REWARD](parse(answer.text, sample.speaker, others)))
        rewards.append(statistics.fmean(found))
    return rewards


if __name__ == "__main__":
    main()
