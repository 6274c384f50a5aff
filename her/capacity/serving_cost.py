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

    The cache fills what the weights leave of the USABLE share of the memory.
    """
    chats = count_chats(shape, USABLE * gpu.memory, context)
    return ServingEstimate(
        context=context,
        kv_bytes=cache_bytes(shape),
        concurrency=chats,
        decode=chats / decode_seconds(shape, gpu, chats, context),
        prefill=gpu.flops / (2 * count_multiplied(shape)) if chats else 0,
    )


def cache_bytes(shape: Shape) -> int:
    """Return the bytes of keys and values of one token in all layers."""
    return 2 * shape.layers * shape.keys * BFLOAT16_BYTES


def count_chats(shape: Shape, memory: float, context: int) -> int:
    """Return how many chats of `context` tokens fit beside the weights in `memory` bytes."""
    weights = BFLOAT16_BYTES * count_parameters(shape).total
    return max(0, math.floor((memory - weights) / (context * cache_bytes(shape))))


def decode_seconds(shape: Shape, gpu: Gpu, chats: int, context: int) -> float:
    """Return the seconds in which each of `chats` gets one token, at least.

    A decoding step reads all weights and the cache of every chat, or is bound by its arithmetic; the slower of the two decides
    (roofline model, Williams et al. 2009).
    """
    weights = BFLOAT16_BYTES * count_parameters(shape).total
    read = (weights + chats * context * cache_bytes(shape)) / gpu.bandwidth
    return max(read, 2 * count_multiplied(shape) * chats / gpu.flops)
