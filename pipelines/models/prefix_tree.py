"""Arrange the samples of a conversation as a tree: the history once, every target turn a branch. Pure: token ids in, rows out.

The system thinking of a turn is in its target and in no later history, so the N target turns of a conversation do not fit one
causal sequence, and one row per target encodes the history N times. A tree holds it once:

    trunk    system prompt and history, as in the longest prompt, without system thinking
    branch   the tokens of a prompt after its `fork` (at least its last token), then the target

A branch attends to the trunk up to its fork and to itself; its positions continue from the fork. So every target has the same
context, positions and labels as in a row of its own, and the same loss and gradients. Forks are found in the token ids, so any
chat template works: prompts share exactly their common prefix. The branch with the last fork continues where the trunk ends.

A row is one tree or several. Its `spans` say which tokens attend to which, for pipelines/models/attention.py.
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.errors import InputError

Ids = NDArray[np.int32]
IGNORED = -100
"""Label of a token that is not trained, as in PyTorch's cross entropy."""
SHARED = 0.5
"""A prompt that has a smaller share of itself in common with the trunk starts a tree of its own."""


class Encoded(NamedTuple):
    """Tokens of one sample. Samples with the same `key` (a conversation as one character sees it) may share a trunk.

    Args:
        prompt: int32, up to the point of generation; at least one token.
        target: int32, the trained tokens; at least one.
    """

    key: str
    prompt: Ids
    target: Ids


class Branch(NamedTuple):
    """One target: it leaves the trunk after `fork` tokens, and `ids[trained:]` is the target. `sample` is its input index."""

    fork: int
    ids: Ids
    trained: int
    sample: int


class Tree(NamedTuple):
    """Branches sorted by fork, and the trunk up to the last fork."""

    trunk: Ids
    branches: tuple[Branch, ...]

    @property
    def tokens(self) -> int:
        """Return the tokens of the trunk and all branches."""
        return len(self.trunk) + sum(len(branch.ids) for branch in self.branches)


class Span(NamedTuple):
    """Tokens `start` to `stop` of a row: each attends to this span up to itself, and to all tokens from `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


class TokenRow(NamedTuple):
    """One row for a model; all lists have one entry per token, except `spans`."""

    input_ids: list[int]
    labels: list[int]
    position_ids: list[int]
    spans: list[Span]


def grow_trees(samples: Iterable[Encoded], most: int) -> Iterator[Tree]:
    """Yield the samples as trees of at most `most` tokens; only neighbours with the same key share a trunk.

    Raises:
        InputError: a single sample has more than `most` tokens, or no prompt or target.
    """
    for _, neighbours in groupby(enumerate(samples), key=lambda numbered: numbered[1].key):
        members = []
        for number, sample in neighbours:
            _require_trainable(sample, most)
            whole = np.concatenate((sample.prompt, sample.target))
            members.append(Branch(0, whole, len(sample.prompt), number))
        yield from _grow(members, most)


def pack(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Pack items of these sizes into rows of at most `most` tokens, best fit decreasing; return the indices of each row."""
    free: list[tuple[int, int]] = []  # (room, row), sorted
    rows: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        # The first entry with at least this room is the tightest fit; -1 sorts before every row number.
        place = bisect.bisect_left(free, (sizes[index], -1))
        room, row = free.pop(place) if place < len(free) else (most, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        bisect.insort(free, (room - sizes[index], row))
    return [sorted(row) for row in rows]


def build_row(trees: Sequence[Tree]) -> TokenRow:
    """Lay out trees one behind the other as one row."""
    row = TokenRow([], [], [], [])
    for tree in trees:
        _append_tree(row, tree)
    return row


def common_prefix(first: Ids, second: Ids) -> int:
    """Return the number of ids that both begin with."""
    size = min(len(first), len(second))
    differ = np.flatnonzero(first[:size] != second[:size])
    return int(differ[0]) if len(differ) else size


def _require_trainable(sample: Encoded, most: int) -> None:
    if not len(sample.prompt) or not len(sample.target):
        raise InputError(f"a sample of {sample.key!r} has no prompt or no target; it cannot be trained")
    if (size := len(sample.prompt) + len(sample.target)) > most:
        raise InputError(f"a sample of {sample.key!r} has {size} tokens and a row at most {most}; raise row_tokens")


def _grow(members: list[Branch], most: int) -> Iterator[Tree]:
    """Yield the trees of samples that may share a trunk; each comes as a branch with fork 0 and its whole prompt.

    The longest prompt is the trunk. Samples with too little in common with it are left for the next trunk.
    """
    while members:
        # The longest prompt contains most of the others, because a conversation only grows.
        trunk = max((branch.ids[: branch.trained] for branch in members), key=len)
        forked: list[Branch] = []
        others: list[Branch] = []
        for branch in members:
            # At most trained - 1: a branch keeps the last token of its prompt, whose next token is the first trained one.
            fork = min(common_prefix(branch.ids[: branch.trained], trunk), branch.trained - 1)
            if fork >= SHARED * (branch.trained - 1):
                forked.append(_forked(branch, fork))
            else:
                others.append(branch)
        yield from _split(trunk, sorted(forked, key=lambda branch: branch.fork), most)
        members = others


def _forked(branch: Branch, fork: int) -> Branch:
    # A copy: a view would keep the whole prompt of every target in memory.
    return Branch(fork, branch.ids[fork:].copy(), branch.trained - fork, branch.sample)


def _split(trunk: Ids, branches: list[Branch], most: int) -> Iterator[Tree]:
    """Split branches over as few trees as needed; each has the trunk up to its last fork, so no target loses context."""
    kept: list[Branch] = []
    size = 0
    for branch in branches:
        # Branches are sorted by fork, so branch.fork is the trunk that this tree would need.
        if kept and branch.fork + size + len(branch.ids) > most:
            yield Tree(trunk[: kept[-1].fork].copy(), tuple(kept))
            kept, size = [], 0
        kept.append(branch)
        size += len(branch.ids)
    yield Tree(trunk[: kept[-1].fork].copy(), tuple(kept))


def _append_tree(row: TokenRow, tree: Tree) -> None:
    """Append trunk and last branch as one span, then each other branch as a span that attends to its part of the trunk."""
    # The last branch forks where the trunk ends, so both are one causal sequence and one call of the attention less.
    *early, last = tree.branches
    begin = len(row.input_ids)
    row.input_ids.extend(tree.trunk.tolist())
    row.labels.extend([IGNORED] * len(tree.trunk))
    row.position_ids.extend(range(len(tree.trunk)))
    _append_branch(row, last)
    row.spans.append(Span(begin, len(row.input_ids), begin, begin))
    for branch in early:
        start = len(row.input_ids)
        _append_branch(row, branch)
        row.spans.append(Span(start, len(row.input_ids), begin, begin + branch.fork))


def _append_branch(row: TokenRow, branch: Branch) -> None:
    ids = branch.ids.tolist()
    row.input_ids.extend(ids)
    row.labels.extend([IGNORED] * branch.trained + ids[branch.trained :])
    row.position_ids.extend(range(branch.fork, branch.fork + len(ids)))
