"""Estimate how many chats one GPU can serve and how fast: upper bounds, weights and cache in bfloat16. Pure arithmetic."""

import math

from her.capacity.gpus import USABLE, Gpu
from her.capacity.shapes import Shape, count_multiplied, count_parameters
from her.types import Value

BFLOAT16_BYTES = 2


class ServingEstimate(Value):
    """Upper bounds for one GPU. Expect 50 to 65 % of `decode` from vLLM (an assumption, not measured here).

    Args:
        context: tokens of each chat.
        kv_bytes: bytes of the key-value cache per token.
        concurrency: chats of `context` tokens that fit at once.
        decode: tokens per second that are written, all chats together.
        prefill: tokens per second that are read; attention is not counted.
    """

    context: int
    kv_bytes: int
    concurrency: int
    decode: float
    prefill: float


def estimate_serving(shape: Shape, gpu: Gpu, context: int) -> ServingEstimate:
    """Return the upper bounds for chats of `context` tokens on one GPU.

    A decoding step reads all weights and the cache of every chat, or is bound by its arithmetic; the slower of the two decides
    (roofline model, Williams et al. 2009).
    """
    weights = BFLOAT16_BYTES * count_parameters(shape).total
    cache = 2 * shape.layers * shape.keys * BFLOAT16_BYTES  # 2: keys and values
    chats = max(0, math.floor((USABLE * gpu.memory - weights) / (context * cache)))
    flops_per_token = 2 * count_multiplied(shape)
    step_seconds = max((weights + chats * context * cache) / gpu.bandwidth, flops_per_token * chats / gpu.flops)
    return ServingEstimate(
        context=context,
        kv_bytes=cache,
        concurrency=chats,
        decode=chats / step_seconds,
        prefill=gpu.flops / flops_per_token if chats else 0,
    )
