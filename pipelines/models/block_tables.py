"""Say which blocks of a row's attention hold something, from its spans alone; pure, and small beside a dense mask.

FlexAttention computes the attention in blocks of 128 queries and 128 keys: blocks of which no pair counts are skipped, whole ones
need no mask, and the others ask for it pair by pair. PyTorch's `create_block_mask` finds that out by evaluating all pairs at
once, 9.5 bytes each: 2.5 GB for 16,384 tokens. Here it follows from the bounds of the spans.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 128
"""Queries and keys of a block; FlexAttention's own size."""
Table = NDArray[np.int32]


class BlockTables(NamedTuple):
    """Blocks and bounds of one row.

    Args:
        partial: blocks of which some pairs count, (query blocks, 1 + key blocks): their number, then their indices in order.
        full: blocks of which all pairs count, in the same form; no block is in both.
        bounds: start of a token's span, first and last bound of the range before it that it attends to, (3, tokens).
    """

    partial: Table
    full: Table
    bounds: Table


def block_tables(spans: Sequence[Sequence[int]], tokens: int) -> BlockTables:
    """Return the tables of a row.

    Args:
        spans: as `pipelines.models.prefix_tree.Span`, contiguous from token 0 on. A token after the last one is padding and
            attends to itself.
        tokens: tokens of the row.
    """
    count = -(-tokens // BLOCK)
    some, whole = np.zeros((count, count), bool), np.ones((count, count), bool)
    for start, stop, first, last in [*spans, *_padding(spans, tokens)]:
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            low, high = max(start, block * BLOCK), min(stop, (block + 1) * BLOCK)
            some[block, start // BLOCK : (high - 1) // BLOCK + 1] = True
            some[block, first // BLOCK : -(-last // BLOCK) if last > first else first // BLOCK] = True
            # Keys that every query of this piece attends to: up to the first query, and the whole range before.
            all_of = np.zeros(count, bool)
            all_of[-(-start // BLOCK) : (low + 1) // BLOCK] = True
            all_of[-(-first // BLOCK) : last // BLOCK] = True
            whole[block] &= all_of
    if tokens % BLOCK:
        whole[-1] = False  # as PyTorch has it: a block that the row does not fill is no whole one
    return BlockTables(_listed(some & ~whole), _listed(whole & some), _bounds(spans, tokens))


def _padding(spans: Sequence[Sequence[int]], tokens: int) -> list[tuple[int, int, int, int]]:
    """Return the padding as spans of one token each."""
    return [(place, place + 1, place, place) for place in range(spans[-1][1] if spans else 0, tokens)]


def _bounds(spans: Sequence[Sequence[int]], tokens: int) -> Table:
    bounds = np.zeros((3, tokens), np.int32)
    bounds[0] = np.arange(tokens)
    for start, stop, first, last in spans:
        bounds[:, start:stop] = np.array([[start], [first], [last]])
    return bounds


def _listed(blocks: NDArray[np.bool_]) -> Table:
    """Return, for each row, the number of true columns, their indices, and zeros up to the number of columns."""
    # A stable sort puts the true columns first and keeps their order.
    order = np.argsort(~blocks, axis=1, kind="stable").astype(np.int32)
    counts = blocks.sum(1, dtype=np.int32)[:, None]
    return np.concatenate([counts, np.where(np.arange(blocks.shape[1]) < counts, order, 0)], axis=1).astype(np.int32)
