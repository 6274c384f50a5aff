"""Measure how well `tiny` learns the format in ten minutes on two cores. Run: `python -m benchmarks.sft_learns [KEY=VALUE ...]`

Runs `her run sft @pipelines/configs/tiny.toml` in an empty HER_HOME, from random weights, on the bundled personas and
scenes. Then the checkpoint, read back from disk, answers 100 prompts from chats that it was not trained on (another seed
draws scenes, visitors and earlier exchanges), every persona and both languages among them. A turn is well formed when it has
no defect of her/format and ends by itself (pipelines/models/sampled_turns.py). Minutes are those of the complete run: reading,
tokenizer, audit, training, saving; sampling comes after it. `own_share` is the same figure for prompts of the chats that it was
trained on. Arguments are settings of the run.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import report
from her.config import load
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.sampled_turns import SampledTurns, sample_turns
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.sample_files import read_samples

CONFIG = "@pipelines/configs/tiny.toml"
TURNS, TEMPERATURE, TOKENS, SEED = 100, 0.5, 512, 1
BAR = {"well_formed_share": 0.95, "minutes": 10.0, "cores": 2}


def trained(home: Path, words: list[str], name: str) -> float:
    """Run the training on two cores; return its minutes."""
    cores = sorted(os.sched_getaffinity(0))[: BAR["cores"]] if hasattr(os, "sched_getaffinity") else []
    environment = {**os.environ, "HER_HOME": str(home), "OMP_NUM_THREADS": str(BAR["cores"])}

    def pinned() -> None:
        if cores:
            os.sched_setaffinity(0, cores)

    began = time.monotonic()
    command = [sys.executable, "-m", "pipelines.sft", CONFIG, *words, f"name={name}"]
    subprocess.run(command, env=environment, check=True, preexec_fn=pinned, stdout=sys.stderr)
    return (time.monotonic() - began) / 60


def played(model: Path, options: TrainingOptions, seed: int) -> SampledTurns:
    """Sample turns of the checkpoint, from prompts spread evenly over the chats that a seed makes."""
    from transformers import AutoModelForCausalLM

    prompts = read_samples(options.samples, seed).train
    chosen = [prompts[place * len(prompts) // TURNS] for place in range(TURNS)]
    actor = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    return sample_turns(actor, ChatTemplate(str(model)), chosen, temperature=TEMPERATURE, tokens=TOKENS, seed=SEED)


def main() -> None:
    """Train, sample and report."""
    words = sys.argv[1:]
    options, _ = load(TrainingOptions, [CONFIG, *words])
    with tempfile.TemporaryDirectory() as home:
        minutes = trained(Path(home), words, "sft-learns")
        model = Path(home) / "runs" / "sft-learns" / "model"
        sampled = played(model, options, options.seed + 1)
        own = played(model, options, options.seed)
    for example in sampled.examples:
        print(example, "\n", file=sys.stderr)
    share = sampled.well_formed / sampled.turns
    measured = {
        "well_formed_share": share,
        "minutes": round(minutes, 2),
        "turns": sampled.turns,
        "defects": sampled.defects,
        "own_share": own.well_formed / own.turns,
    }
    report("sft_learns", BAR, measured, share >= BAR["well_formed_share"] and minutes <= BAR["minutes"])


if __name__ == "__main__":
    main()
