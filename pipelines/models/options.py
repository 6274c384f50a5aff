"""Settings of a model to train, shared by the pipelines that train: shape, base, template, precision and adapters."""

from typing import Literal

from pydantic import Field, model_validator

from her.types import NonEmpty, Value

Precision = Literal["float32", "bfloat16", "mixed"]


class ShapeOptions(Value):
    """Shape of a Qwen3 model with random weights, whose byte-level tokenizer is trained on the run's own samples.

    Args:
        hidden: hidden size; `intermediate` is the size inside the MLP.
        heads: query heads; `kv_heads` are the key-value heads, `head` is the size of one head.
        vocabulary: most tokens of the tokenizer; it has fewer when the samples hold fewer distinct pieces.
        context: most positions.
        pretraining_steps: steps of text pretraining before fine-tuning (pipelines/sft/train/text_pretraining.py); 0 for none.
        token_noise: share of trained input tokens that are replaced, 0 to 1 (pipelines/sft/rows/noise.py); 0 for none.
    """

    hidden: int = Field(default=256, ge=8)
    intermediate: int = Field(default=768, ge=8)
    layers: int = Field(default=5, ge=1)
    heads: int = Field(default=4, ge=1)
    kv_heads: int = Field(default=2, ge=1)
    head: int = Field(default=64, ge=8)
    vocabulary: int = Field(default=4096, ge=300)
    context: int = Field(default=4096, ge=256)
    pretraining_steps: int = Field(default=0, ge=0)
    token_noise: float = Field(default=0, ge=0, lt=1)


class ModelOptions(Value):
    """Model to train.

    Args:
        base: folder or repository of a causal language model with safetensors, or `OWNER/NAME@TAG` of what `her publish` wrote;
            empty creates one of `shape` from scratch.
        revision: branch, tag or commit of a repository.
        template: chat template: `auto` takes the base's own where training and play agree on it, else the shipped one that fits;
            `own`; `chatml`, `llama3`, `gemma`, `mistral` or `llama2` (files beside this one, which write turns unchanged); or the
            path of a Jinja file. It is saved with the checkpoint.
        changes: changes of a target by template or tokenizer that are meant: `nfc`, `trimmed`, `think_block`.
        attention: `auto` takes FlashAttention on a GPU where it is installed, eager attention for a model with soft-capped
            scores, else PyTorch's own (`sdpa`); or a name that transformers knows. Shared-prefix rows have their own.
        precision: `float32`; `bfloat16` for weights and arithmetic; `mixed` for float32 weights with bfloat16 autocast.
        licence: licence of the base, for the model card; empty takes it from the base's own model card.
    """

    base: str = ""
    revision: str = ""
    shape: ShapeOptions = ShapeOptions()
    template: NonEmpty = "auto"
    changes: tuple[Literal["nfc", "trimmed", "think_block"], ...] = ()
    attention: NonEmpty = "auto"
    precision: Precision = "float32"
    licence: str = ""


class LoraOptions(Value):
    """Low-rank adapters (LoRA, Hu et al. 2021); QLoRA (Dettmers et al. 2023) with `quantise`.

    Args:
        rank: rank of the adapters; 0 trains all weights.
        alpha: scale of the adapters, divided by the rank.
        dropout: dropout before the adapters, 0 to 1.
        targets: `all-linear`, or names of modules.
        quantise: `nf4` holds the base in 4 bits; needs a GPU and the extra `quantise`.
    """

    rank: int = Field(default=0, ge=0)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0, ge=0, lt=1)
    targets: tuple[NonEmpty, ...] = ("all-linear",)
    quantise: Literal["", "nf4"] = ""

    @model_validator(mode="after")
    def _require_adapters(self) -> "LoraOptions":
        if self.quantise and not self.rank:
            raise ValueError("lora.quantise=nf4 freezes the base, so lora.rank must be above 0")
        return self
