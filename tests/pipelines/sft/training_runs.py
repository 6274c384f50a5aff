"""Small fine-tuning runs, in this process or in others, and what they measured."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from her import paths
from her.runs.folder import read_curve, read_metrics
from tests.processes import run_here, run_to_end

ROOT = Path(__file__).resolve().parents[3]
SMALL = [
    "device=cpu",
    "samples.chats=3",
    "samples.exchanges=3",
    "samples.held_out_share=0.1",
    "samples.most_tokens=6000",
    "model.shape.hidden=16",
    "model.shape.intermediate=16",
    "model.shape.layers=1",
    "model.shape.heads=1",
    "model.shape.kv_heads=1",
    "model.shape.head=16",
    "model.shape.vocabulary=600",
    "model.shape.context=8192",
    "evaluation.turns=2",
    "evaluation.tokens=8",
    "batch=8",
    "steps=4",
    "save_every=2",
    "learning_rate=0.01",
    "checkpointing=none",
]
TWO_PROCESSES = (
    *("-m", "accelerate.commands.launch", "--config_file"),
    *(str(ROOT / "pipelines" / "configs" / "accelerate" / "cpu2.yaml"), "-m"),
)


def small_settings(home: Path) -> list[str]:
    """Return the settings of a tiny model that learns from two personas of this project."""
    folder = home / "two personas"
    if not folder.is_dir():
        folder.mkdir()
        for name in ("sherlock-holmes", "lin-daiyu"):
            shutil.copy(paths.personas_folder() / f"{name}.yaml", folder)  # a link would be refused
    return [*SMALL, f"samples.personas={json.dumps([str(folder)])}"]


def train(*words: str, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run `pipelines.sft` in this process."""
    from pipelines.sft.__main__ import main

    return run_here(main, [*small_settings(home), *words])


def train_apart(*words: str, home: Path, launch: Sequence[str] = ("-m",)) -> "subprocess.CompletedProcess[str]":
    """Run `pipelines.sft` in processes of its own until it ends."""
    return run_to_end([sys.executable, *launch, "pipelines.sft", *small_settings(home), *words], ROOT, environment(home))


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a run: its own home, one thread, no network."""
    return {**os.environ, "HER_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def losses(name: str) -> dict[int, float]:
    """Return the training loss by step; steps that a kill made run again count once."""
    return {line["step"]: line["loss"] for line in read_curve(name) if "loss" in line}


def evaluated(name: str) -> float:
    """Return the last evaluation loss."""
    return [line["eval_loss"] for line in read_metrics(name) if "eval_loss" in line][-1]
