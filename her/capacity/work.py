"""Count the work of a training run in both row layouts: tokens, trained tokens and attention pairs.

A target is one assistant turn that is trained. Its prompt is the history before it.

    plain           one row per target: its whole prompt, then the target
    shared_prefix   one row per tree: the history (trunk) is read once, each target is a branch that leaves the trunk

Attention pairs are the (query, key) pairs that the causal mask allows, counted once per head.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from her.types import Value


class Work(Value):
    """Tokens that are read, the tokens among them that are trained, and attention pairs of one head."""

    tokens: int = 0
    trained: int = 0
    pairs: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(tokens=self.tokens + other.tokens, trained=self.trained + other.trained, pairs=self.pairs + other.pairs)

    def times(self, factor: float) -> "Work":
        """Return this work multiplied by `factor`, such as a number of epochs."""
        return Work(tokens=round(self.tokens * factor), trained=round(self.trained * factor), pairs=round(self.pairs * factor))


class BranchLengths(NamedTuple):
    """Tokens of a branch: it leaves the trunk after `fork` tokens and adds `length`; the last `trained` are the target."""

    fork: int
    length: int
    trained: int


class TreeLengths(NamedTuple):
    """Token counts of one tree: a history of `trunk` tokens, read once, and the branches that leave it."""

    trunk: int
    branches: tuple[BranchLengths, ...]


class EpochLoad(Value):
    """Work of one epoch in both layouts.

    Args:
        targets: number of trained turns.
        trees: number of trunks that they share.
        longest: tokens of the longest sample, prompt and target together.
    """

    targets: int
    trees: int
    longest: int
    plain: Work
    shared: Work


def causal_pairs(tokens: int) -> int:
    """Return the attention pairs of one causal sequence: each token sees itself and all tokens before it."""
    return tokens * (tokens + 1) // 2


def plain_work(samples: Iterable[tuple[int, int]]) -> Work:
    """Return the work of the plain layout. `samples` are (prompt tokens, target tokens)."""
    work = Work()
    for prompt, target in samples:
        work += Work(tokens=prompt + target, trained=target, pairs=causal_pairs(prompt + target))
    return work


def shared_work(trees: Iterable[TreeLengths]) -> Work:
    """Return the work of the shared-prefix layout."""
    work = Work()
    for tree in trees:
        own = sum(branch.length for branch in tree.branches)
        # A branch token sees the trunk up to the fork and the branch before itself, and no other branch.
        branch_pairs = sum(branch.length * branch.fork + causal_pairs(branch.length) for branch in tree.branches)
        trained = sum(branch.trained for branch in tree.branches)
        work += Work(tokens=tree.trunk + own, trained=trained, pairs=causal_pairs(tree.trunk) + branch_pairs)
    return work


def sum_load(trees: Sequence[TreeLengths], copies: float = 1) -> EpochLoad:
    """Return the work of these trees in both layouts, multiplied by `copies`.

    In the plain layout a branch's prompt is the trunk up to the fork and the branch's tokens before the target.
    """
    samples = [(branch.fork + branch.length - branch.trained, branch.trained) for tree in trees for branch in tree.branches]
    return EpochLoad(
        targets=round(len(samples) * copies),
        trees=round(len(trees) * copies),
        longest=max((prompt + target for prompt, target in samples), default=0),
        plain=plain_work(samples).times(copies),
        shared=shared_work(trees).times(copies),
    )
