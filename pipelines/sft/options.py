"""The settings of a fine-tuning run: `@pipelines/configs/sft.toml key=value`; unknown keys and impossible values are refused."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from her.capacity.recipe import Checkpointing
from her.config import MAY_CHANGE
from her.types import NonEmpty, Value
from pipelines.models.options import LoraOptions, ModelOptions

Layout = Literal["shared_prefix", "plain"]


class SampleOptions(Value):
    """What is learned.

    Args:
        files: samples: `dataset/sft/trl.parquet` of a synthesis, JSONL of samples, `her ratings export --format sft`.
        runs: names of synthesis runs, whose `dataset/SPLIT/trl.parquet` is learned; `split` which one.
        personas: persona folders whose written exchanges are learned as chats; `house` for those of the house.
        chats: chats made for each persona; `exchanges` in each.
        held_out: files of samples to evaluate on; none takes `held_out_share` of the transcripts, chosen by the seed.
        held_out_share: as a share of the transcripts.
        most_tokens: longest sample, prompt and target; a longer one is a problem that ends the run before its first step.
        dropped: share of the samples that may be longer than that; they are left out whole and counted.
        plans: whether every target has to have system thinking.
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
    def _something(self) -> "SampleOptions":
        if not (self.files or self.runs or self.personas):
            raise ValueError(
                'nothing to learn: give samples.runs=["synthesize"], samples.files=[...] or samples.personas=["house"]'
            )
        return self


class EvaluationOptions(Value):
    """What is looked at during training.

    Args:
        every: steps between evaluations; 0 only at the end.
        turns: turns sampled from held-out prompts and read for defects; 0 for none.
        temperature: of the sampled turns; `tokens` the most of each.
    """

    every: int = Field(default=0, ge=0)
    turns: int = Field(default=16, ge=0)
    temperature: float = Field(default=0.5, ge=0, le=2)
    tokens: int = Field(default=512, ge=8)


class TrainingOptions(Value):
    """All settings of a run.

    Args:
        name: of the run's folder in HER_HOME/runs.
        device: `cuda` refuses to start without a GPU; `auto` takes one where there is one.
        layout: `shared_prefix` holds the history of a conversation once, with every target turn as a branch of it; `plain` has
            one row a target turn, prompt and completion, as TRL trains them. Both give the same loss and gradients.
        packing: in the plain layout, several samples in one row.
        row_tokens: most tokens of a packed or shared row; 0 takes `samples.most_tokens`.
        rows: so many rows at once on a device.
        batch: target turns of one optimiser step, over all devices; packed and shared rows come as near to it as they can.
        epochs: passes over the samples; `steps` above 0 ends after so many steps instead.
        learning_rate: the highest; `schedule` how it goes on after `warmup`, a share of all steps.
        beta2: decay of AdamW's second moment; 0.95 for short runs at high rates.
        clip: largest norm of the gradients.
        checkpointing: which activations are kept: all (`none`), what is dear to compute again (`light`, about half the memory),
            or the inputs of layers (`full`, a third more work); see pipelines/models/checkpointing.py.
        save_every: steps between checkpoints, which a later start goes on from; `keep` of them stay.
        log_every: steps between lines of metrics.jsonl.
        track: `trackio` writes the metrics there as well (a database in HER_HOME/trackio, no account).
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
    def _fitting(self) -> "TrainingOptions":
        if self.row_tokens and self.row_tokens < self.samples.most_tokens:
            raise ValueError(
                f"row_tokens={self.row_tokens} is below samples.most_tokens={self.samples.most_tokens}, so the longest sample "
                "would fit no row; raise row_tokens, or leave it 0"
            )
        if self.lora.quantise and self.device == "cpu":
            raise ValueError("lora.quantise=nf4 needs a GPU; leave it out with device=cpu")
        return self
