"""Conversations as trees: the history once, every target turn a branch of it. Pure; token ids in, rows of token ids out.

A plan stands in its target and in no history, so the N target turns of a conversation fit no causal sequence, and one row for
each reads the history N times. A tree holds it once:

    trunk    system prompt and history, as the longest prompt has it, without plans
    branch   what a prompt has of its own after the `fork`, at least its last token, then the target

A branch sees the trunk up to its fork and itself; positions go on from the fork. So every target has the context, positions
and labels of its own row, and the same loss and gradients. Forks are found in the token ids, whatever the template does:
what two prompts do not share, they do not share here. The branch with the last fork goes on where the trunk ends.

A row is one tree or several; its `spans` say who sees what, for the attention in pipelines/models/attention.py.
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
"""The label of a token that is not trained, as PyTorch's cross entropy has it."""
SHARED = 0.5
"""A prompt that has less than this share of itself in common with a trunk begins a tree of its own."""


class Encoded(NamedTuple):
    """A sample's tokens. Samples with one `key` (a conversation as one character sees it) may share a trunk.

    Args:
        prompt: int32, up to the point of generation; at least one token.
        target: int32, what is trained; at least one token.
    """

    key: str
    prompt: Ids
    target: Ids


class Branch(NamedTuple):
    """One target: it leaves the trunk after `fork` tokens; `ids[trained:]` is the target. `sample` counts as they were given."""

    fork: int
    ids: Ids
    trained: int
    sample: int


class Tree(NamedTuple):
    """Branches in the order of their forks, and the trunk up to the last of these."""

    trunk: Ids
    branches: tuple[Branch, ...]

    @property
    def tokens(self) -> int:
        """Of the trunk and all branches."""
        return len(self.trunk) + sum(len(branch.ids) for branch in self.branches)


class Span(NamedTuple):
    """Tokens `start` to `stop` of a row: each sees this span up to itself, and all tokens from `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


class TokenRow(NamedTuple):
    """What a model reads at once; four arrays of one length, but for `spans`."""

    input_ids: list[int]
    labels: list[int]
    position_ids: list[int]
    spans: list[Span]


def trees(samples: Iterable[Encoded], most: int) -> Iterator[Tree]:
    """The samples as trees of at most `most` tokens; neighbours with one key share a trunk.

    Raises:
        InputError: a sample alone has more tokens than `most`, or no prompt or target.
    """
    for _, neighbours in groupby(enumerate(samples), key=lambda numbered: numbered[1].key):
        members = []
        for number, sample in neighbours:
            _check(sample, most)
            whole = np.concatenate((sample.prompt, sample.target))
            members.append(Branch(0, whole, len(sample.prompt), number))
        yield from _grown(members, most)


def pack(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Rows of at most `most` tokens, best fit decreasing: the indices of what goes into each, in order."""
    free: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda each: -sizes[each]):
        place = bisect.bisect_left(free, (sizes[index], -1))
        room, row = free.pop(place) if place < len(free) else (most, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        bisect.insort(free, (room - sizes[index], row))
    return [sorted(row) for row in rows]


def row(packed: Sequence[Tree]) -> TokenRow:
    """Trees, one behind the other."""
    made = TokenRow([], [], [], [])
    for tree in packed:
        _lay(made, tree)
    return made


def _check(sample: Encoded, most: int) -> None:
    if not len(sample.prompt) or not len(sample.target):
        raise InputError(f"a sample of {sample.key!r} has no prompt or no target; it cannot be trained")
    if (size := len(sample.prompt) + len(sample.target)) > most:
        raise InputError(f"a sample of {sample.key!r} has {size} tokens and a row at most {most}; raise row_tokens")


def _grown(members: list[Branch], most: int) -> Iterator[Tree]:
    """The trees of samples that may share; each comes as a branch that has forked nowhere yet."""
    while members:
        trunk = max((branch.ids[: branch.trained] for branch in members), key=len)
        forked, others = [], []
        for branch in members:
            fork = min(_shared(branch.ids[: branch.trained], trunk), branch.trained - 1)
            near = fork >= SHARED * (branch.trained - 1)
            (forked if near else others).append(_forked(branch, fork) if near else branch)
        yield from _split(trunk, sorted(forked, key=lambda branch: branch.fork), most)
        members = others


def _forked(branch: Branch, fork: int) -> Branch:
    # a copy: a view would keep the whole prompt in memory, once for every target
    return Branch(fork, branch.ids[fork:].copy(), branch.trained - fork, branch.sample)


def _shared(one: Ids, other: Ids) -> int:
    """Length of the common beginning."""
    size = min(len(one), len(other))
    differ = np.flatnonzero(one[:size] != other[:size])
    return int(differ[0]) if len(differ) else size


def _split(trunk: Ids, branches: list[Branch], most: int) -> Iterator[Tree]:
    """As few trees as there have to be; each has the trunk up to its own last fork, so no target loses any context."""
    kept: list[Branch] = []
    size = 0
    for branch in branches:
        if kept and branch.fork + size + len(branch.ids) > most:
            yield Tree(trunk[: kept[-1].fork].copy(), tuple(kept))
            kept, size = [], 0
        kept.append(branch)
        size += len(branch.ids)
    yield Tree(trunk[: kept[-1].fork].copy(), tuple(kept))


def _lay(made: TokenRow, tree: Tree) -> None:
    """Trunk and last branch as one span, then the others, each a span that sees its part of the trunk."""
    *early, last = tree.branches
    begin = len(made.input_ids)
    made.input_ids.extend(tree.trunk.tolist())
    made.labels.extend([IGNORED] * len(tree.trunk))
    made.position_ids.extend(range(len(tree.trunk)))
    _add(made, last)
    made.spans.append(Span(begin, len(made.input_ids), begin, begin))
    for branch in early:
        start = len(made.input_ids)
        _add(made, branch)
        made.spans.append(Span(start, len(made.input_ids), begin, begin + branch.fork))


def _add(made: TokenRow, branch: Branch) -> None:
    ids = branch.ids.tolist()
    made.input_ids.extend(ids)
    made.labels.extend([IGNORED] * branch.trained + ids[branch.trained :])
    made.position_ids.extend(range(branch.fork, branch.fork + len(ids)))
