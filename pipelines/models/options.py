"""The settings of a model to train, shared by the pipelines that train: shape, base, template, precision and adapters."""

from typing import Literal

from pydantic import Field, model_validator

from her.types import NonEmpty, Value

Precision = Literal["float32", "bfloat16", "mixed"]


class ShapeOptions(Value):
    """A Qwen3 model with random weights and a byte-level tokenizer made from the run's own samples.

    Args:
        hidden: width; `intermediate` of the MLP.
        heads: query heads; `kv_heads` of keys and values; `head` the width of one.
        vocabulary: most tokens of the tokenizer; it has fewer when the samples do not offer so many.
        context: most positions.
        reading: steps in which the model first reads its samples as short texts (pipelines/sft/train/first_reading.py).
        noise: share of the words that it reads wrong while it is trained (pipelines/sft/rows/noise.py).
    """

    hidden: int = Field(default=256, ge=8)
    intermediate: int = Field(default=768, ge=8)
    layers: int = Field(default=5, ge=1)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    head: int = Field(default=64, ge=8)
    vocabulary: int = Field(default=4096, ge=300)
    context: int = Field(default=4096, ge=256)
    reading: int = Field(default=0, ge=0)
    noise: float = Field(default=0, ge=0, lt=1)


class ModelOptions(Value):
    """What is trained.

    Args:
        base: folder or repository of a causal language model with safetensors; empty makes one of `shape`.
        revision: branch, tag or commit of a repository.
        template: `chatml` (pipelines/models/chatml.jinja: turns as they are, nothing added), `own` for that of the base, or the
            path of a Jinja file. It is saved with the checkpoint.
        precision: of the weights: `float32`, `bfloat16`, or `mixed` (float32 weights, bfloat16 arithmetic).
        licence: of the base, for the checkpoint's card; empty takes that of the base's own card.
    """

    base: str = ""
    revision: str = ""
    shape: ShapeOptions = ShapeOptions()
    template: NonEmpty = "chatml"
    precision: Precision = "float32"
    licence: str = ""


class LoraOptions(Value):
    """Low-rank adapters (Hu et al. 2021); QLoRA (Dettmers et al. 2023) with `quantise`.

    Args:
        rank: 0 trains all weights.
        alpha: scale, divided by the rank.
        targets: `all-linear`, or names of modules.
        quantise: `nf4` holds the base in 4 bits (a GPU and the extra `quantise` are needed).
    """

    rank: int = Field(default=0, ge=0)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0, ge=0, lt=1)
    targets: tuple[NonEmpty, ...] = ("all-linear",)
    quantise: Literal["", "nf4"] = ""

    @model_validator(mode="after")
    def _adapted(self) -> "LoraOptions":
        if self.quantise and not self.rank:
            raise ValueError("lora.quantise=nf4 freezes the base, so lora.rank must be above 0")
        return self
