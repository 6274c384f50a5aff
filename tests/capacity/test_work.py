"""her/capacity/work.py: pairs counted one by one, and laws that hold for both layouts."""

from hypothesis import given, settings
from hypothesis import strategies as st

from her.capacity.work import BranchLengths, EpochLoad, TreeLengths, Work, plain_work, shared_work, sum_load


@st.composite
def trees(draw: st.DrawFn) -> TreeLengths:
    """Draw a tree as pipelines/models/prefix_tree.py builds it: the trunk ends at the last fork, a token precedes each target."""
    forks = sorted(draw(st.lists(st.integers(0, 30), min_size=1, max_size=5)))
    branches = []
    for fork in forks:
        trained = draw(st.integers(1, 6))
        branches.append(BranchLengths(fork, trained + draw(st.integers(1, 3)), trained))
    return TreeLengths(forks[-1], tuple(branches))


def count_pairs(tree: TreeLengths) -> int:
    """Count the pairs of a tree one by one."""
    pairs = sum(1 for asks in range(tree.trunk) for _ in range(asks + 1))
    for branch in tree.branches:
        for asks in range(branch.length):
            pairs += len([*range(branch.fork), *range(asks + 1)])
    return pairs


@settings(max_examples=50)
@given(st.lists(trees(), min_size=1, max_size=3))
def test_pairs_are_those_counted_one_by_one(forest: list[TreeLengths]) -> None:
    assert shared_work(forest).pairs == sum(map(count_pairs, forest))


@settings(max_examples=50)
@given(st.lists(trees(), min_size=1, max_size=3))
def test_sharing_never_reads_more(forest: list[TreeLengths]) -> None:
    load = sum_load(forest)
    assert load.shared.tokens <= load.plain.tokens
    assert load.shared.pairs <= load.plain.pairs
    assert load.shared.trained == load.plain.trained
    assert load.targets == sum(len(tree.branches) for tree in forest)


def test_one_target_is_the_same_work_in_both_layouts() -> None:
    load = sum_load([TreeLengths(9, (BranchLengths(9, 5, 4),))])
    assert load.plain == load.shared == plain_work([(10, 4)]) == Work(tokens=14, trained=4, pairs=105)


def test_a_load_can_be_repeated() -> None:
    tree = TreeLengths(9, (BranchLengths(4, 5, 4), BranchLengths(9, 5, 4)))
    assert sum_load([tree], 3) == sum_load([tree, tree, tree])
    assert sum_load([]) == EpochLoad(targets=0, trees=0, longest=0, plain=Work(), shared=Work())
