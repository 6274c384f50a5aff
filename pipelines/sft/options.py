"""Settings of a fine-tuning run, with their defaults: the learning rate's default stands here and nowhere else.

    python -m pipelines.sft @pipelines/configs/sft.toml learning_rate=2e-5 --dry-run

Settings of the model are in pipelines/models/options.py. Unknown keys and impossible values are refused.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from her.capacity.recipe import Checkpointing
from her.config import MAY_CHANGE
from her.types import NonEmpty, Value
from pipelines.models.options import LoraOptions, ModelOptions
from pipelines.models.persona_chats import BUNDLED

Layout = Literal["shared_prefix", "plain"]


class SampleOptions(Value):
    """Samples to learn from and to evaluate on.

    Args:
        files: `dataset/sft/trl.parquet` of a synthesis, JSONL of samples, or `her ratings export --format sft`.
        runs: names of synthesis runs, whose `dataset/SPLIT/trl.parquet` is used.
        split: SPLIT of these runs.
        personas: persona folders whose written exchanges become chats; `bundled` for the personas of this project.
        chats: chats for each persona.
        exchanges: exchanges in each chat.
        held_out: files to evaluate on; empty holds out `held_out_share` instead.
        held_out_share: share of the transcripts, chosen by the seed, that is evaluated on and not learned; 0 to 1.
        most_tokens: longest sample, prompt and target together. A longer one stops the run before its first step.
        dropped: share of the samples that may be longer; they are left out whole and counted. 0 to 1.
        plans: whether every target must have system thinking.
    """

    files: tuple[Path, ...] = ()
    runs: tuple[NonEmpty, ...] = ()
    split: NonEmpty = "sft"
    personas: tuple[str, ...] = ()
    chats: int = Field(default=8, ge=1)
    exchanges: int = Field(default=6, ge=1)
    held_out: tuple[Path, ...] = ()
    held_out_share: float = Field(default=0.05, ge=0, lt=1)
    most_tokens: int = Field(default=8192, ge=64)
    dropped: float = Field(default=0, ge=0, lt=1)
    plans: bool = True

    @model_validator(mode="after")
    def _require_source(self) -> "SampleOptions":
        if not (self.files or self.runs or self.personas):
            raise ValueError(
                'there is nothing to learn: give samples.runs=["synthesize"], samples.files=[...] or '
                f'samples.personas=["{BUNDLED}"]'
            )
        return self


class EvaluationOptions(Value):
    """Evaluation during training: the loss on held-out samples, and turns sampled from held-out prompts.

    Args:
        every: steps between evaluations; 0 evaluates at the end only.
        turns: turns to sample and parse for format defects; 0 for none.
        temperature: sampling temperature of these turns.
        tokens: most tokens of a sampled turn.
    """

    every: int = Field(default=0, ge=0)
    turns: int = Field(default=16, ge=0)
    temperature: float = Field(default=0.5, ge=0, le=2)
    tokens: int = Field(default=512, ge=8)


class TrainingOptions(Value):
    """All settings of a fine-tuning run.

    Args:
        name: name of the run's folder in HER_HOME/runs.
        seed: seed of weights, order, noise and held-out transcripts.
        device: `cuda` refuses to start without a GPU; `auto` uses one when there is one.
        layout: `shared_prefix` holds the history of a conversation once, with every target turn as a branch; `plain` has one
            row a target turn, as TRL's prompt-completion rows. Both give the same loss and gradients.
        packing: several samples in one row; plain layout only.
        row_tokens: most tokens of a packed or shared row; 0 takes `samples.most_tokens`.
        rows: rows in one batch on one device.
        batch: target turns of one optimiser step, over all devices; packed and shared rows come as close as whole rows allow.
        epochs: passes over the samples.
        steps: number of optimiser steps; 0 takes `epochs` instead.
        learning_rate: peak learning rate of AdamW.
        schedule: course of the learning rate after the warm-up.
        warmup: share of all steps in which the learning rate rises linearly; 0 to 1.
        weight_decay: weight decay of AdamW.
        beta2: decay of AdamW's second moment; 0.95 suits short runs with a high learning rate.
        clip: largest norm of the gradients.
        checkpointing: activations kept for the backward pass: `none` keeps all, `light` about half of the memory, `full` least
            memory for a third more work (pipelines/models/activation_checkpointing.py).
        save_every: steps between checkpoints, from which a run resumes.
        keep: checkpoints that are kept.
        log_every: steps between lines of metrics.jsonl.
        track: `trackio` writes the metrics there as well (a local database in HER_HOME/trackio, no account).
    """

    name: NonEmpty = "sft"
    seed: int = 42
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", json_schema_extra=MAY_CHANGE)
    model: ModelOptions = ModelOptions()
    lora: LoraOptions = LoraOptions()
    samples: SampleOptions
    evaluation: EvaluationOptions = EvaluationOptions()
    layout: Layout = "shared_prefix"
    packing: bool = False
    row_tokens: int = Field(default=0, ge=0)
    rows: int = Field(default=1, ge=1)
    batch: int = Field(default=32, ge=1)
    epochs: float = Field(default=1, gt=0)
    steps: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-5, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0, ge=0)
    beta2: float = Field(default=0.999, gt=0, lt=1)
    clip: float = Field(default=1, gt=0)
    checkpointing: Checkpointing = "full"
    save_every: int = Field(default=200, ge=1, json_schema_extra=MAY_CHANGE)
    keep: int = Field(default=2, ge=1, json_schema_extra=MAY_CHANGE)
    log_every: int = Field(default=1, ge=1, json_schema_extra=MAY_CHANGE)
    track: Literal["none", "trackio"] = Field(default="none", json_schema_extra=MAY_CHANGE)

    @model_validator(mode="after")
    def _require_consistent(self) -> "TrainingOptions":
        if self.row_tokens and self.row_tokens < self.samples.most_tokens:
            raise ValueError(
                f"row_tokens={self.row_tokens} is below samples.most_tokens={self.samples.most_tokens}, so the longest sample "
                "would fit no row; raise row_tokens, or leave it 0"
            )
        if self.lora.quantise and self.device == "cpu":
            raise ValueError("lora.quantise=nf4 needs a GPU; leave it out with device=cpu")
        return self
