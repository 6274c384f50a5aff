"""The settings of a training run that decide its memory and its speed."""

from typing import Literal

from pydantic import Field

from her.types import Value

Precision = Literal["float32", "bfloat16", "mixed"]
Checkpointing = Literal["none", "light", "full"]


class Recipe(Value):
    """Settings of one training run, as the estimate needs them.

    Args:
        precision: of weights and arithmetic. `mixed` keeps float32 weights and computes in bfloat16 (autocast).
        master: keep a float32 copy of bfloat16 weights and float32 optimizer states, as DeepSpeed does.
        rank: of LoRA adapters; 0 trains all weights.
        targets: the matrices that get an adapter.
        quantise: `nf4` holds the matrices of the frozen layers in 4 bits (QLoRA, arXiv 2305.14314).
        checkpointing: activations kept for the backward pass: all (`none`), the results of matrix products and attention
            (`light`), or only the inputs of layers (`full`).
        compiled: attention is compiled, as shared prefixes have it on a GPU. Then `light` cannot keep its result and computes it
            again.
        chunked_head: logits are computed in tiles, for trained tokens only, and again in the backward pass (TRL's fused head).
        gpus: GPUs that share weights, gradients and optimizer states (FSDP2 or ZeRO-3). A 4-bit base is not shared: each GPU
            holds all of it.
    """

    precision: Precision = "bfloat16"
    master: bool = False
    rank: int = Field(default=0, ge=0)
    targets: tuple[str, ...] = ("all-linear",)
    quantise: Literal["", "nf4"] = ""
    checkpointing: Checkpointing = "full"
    compiled: bool = False
    chunked_head: bool = True
    gpus: int = Field(default=1, ge=1)
