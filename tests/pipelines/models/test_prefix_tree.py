"""pipelines/models/prefix_tree.py: every target keeps the context, positions and labels of a row of its own."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.errors import InputError
from pipelines.models.prefix_tree import IGNORED, Encoded, TokenRow, build_row, grow_trees, pack

Plain = tuple[tuple[int, ...], int]
"""One row per target: all token ids, and how many of them are the prompt."""


def encoded(key: str, prompt: Sequence[int], target: Sequence[int]) -> Encoded:
    return Encoded(key, np.array(prompt, dtype=np.int32), np.array(target, dtype=np.int32))


def contexts(row: TokenRow) -> list[Plain]:
    """Every target of a row with all that its tokens see, read from the spans by brute force."""
    found_contexts = []
    spans = [span for span in row.spans for _ in range(span.stop - span.start)]
    place = 0
    while place < len(row.labels):
        if row.labels[place] == IGNORED:
            place += 1
            continue
        end = place
        span = spans[place]
        while end < span.stop and row.labels[end] != IGNORED:
            end += 1
        attended = [*range(span.first, span.last), *range(span.start, end)]
        assert [row.position_ids[index] for index in attended] == list(range(len(attended)))
        found_contexts.append((tuple(row.input_ids[index] for index in attended), len(attended) - (end - place)))
        place = end
    return found_contexts


def plain(samples: Sequence[Encoded]) -> list[Plain]:
    return [((*sample.prompt.tolist(), *sample.target.tolist()), len(sample.prompt)) for sample in samples]


TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=8)


@st.composite
def conversations(draw: st.DrawFn) -> list[Encoded]:
    """Conversations whose prompts grow, sometimes with an end of their own, as when a character speaks twice running."""
    samples = []
    for number in range(draw(st.integers(1, 3))):
        history: list[int] = []
        for _ in range(draw(st.integers(1, 6))):
            history += draw(TOKENS)
            own = draw(st.lists(st.integers(0, 3), max_size=2))
            key = f"{number} {draw(st.integers(0, 1))}"
            samples.append(encoded(key, [*history, *own], draw(TOKENS)))
    return samples


@pytest.mark.whole
@given(conversations(), st.integers(70, 200))
def test_every_target_keeps_its_context(samples: list[Encoded], most: int) -> None:
    grown = list(grow_trees(samples, most))
    packed = [build_row([grown[index] for index in indices]) for indices in pack([tree.tokens for tree in grown], most)]
    assert sorted(each for row in packed for each in contexts(row)) == sorted(plain(samples))
    for row in packed:
        assert len(row.input_ids) == len(row.labels) == len(row.position_ids) == row.spans[-1].stop <= most
        assert [span.start for span in row.spans[1:]] == [span.stop for span in row.spans[:-1]]


@pytest.mark.whole
@given(conversations())
def test_a_tree_never_has_more_tokens_than_the_rows_it_replaces(samples: list[Encoded]) -> None:
    assert sum(tree.tokens for tree in grow_trees(samples, 10_000)) <= sum(len(ids) for ids, _ in plain(samples))


@pytest.mark.whole
@given(conversations())
def test_every_sample_is_in_one_branch(samples: list[Encoded]) -> None:
    numbers = [branch.sample for tree in grow_trees(samples, 10_000) for branch in tree.branches]
    assert sorted(numbers) == list(range(len(samples)))


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 90))
def test_rows_hold_everything_once_and_none_is_too_long(sizes: list[int], most: int) -> None:
    rows = pack(sizes, most)
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    assert all(0 < sum(sizes[index] for index in row) <= most for row in rows)
    assert len(rows) <= 2 * -(-sum(sizes) // most)


def test_the_history_stands_once() -> None:
    history = list(range(100))
    samples = [encoded("a", history[: 50 + 10 * turn], [7] * 20) for turn in range(5)]
    (tree,) = grow_trees(samples, 1000)
    assert (len(tree.trunk), [branch.fork for branch in tree.branches]) == (89, [49, 59, 69, 79, 89])
    assert tree.tokens == 89 + 5 * 21


def test_a_long_conversation_is_split_and_no_trunk_is_longer_than_it_has_to_be() -> None:
    history = list(range(100))
    samples = [encoded("a", history[: 50 + 10 * turn], [7] * 20) for turn in range(5)]
    trees = list(grow_trees(samples, 120))
    assert [(len(tree.trunk), len(tree.branches)) for tree in trees] == [(59, 2), (69, 1), (79, 1), (89, 1)]
    assert sorted(each for tree in trees for each in contexts(build_row([tree]))) == sorted(plain(samples))


def test_prompts_with_little_in_common_share_nothing() -> None:
    samples = [encoded("a", [1, *range(50, 90)], [5]), encoded("a", [1, *range(20, 40)], [5])]
    assert [len(tree.branches) for tree in grow_trees(samples, 1000)] == [1, 1]


def test_other_characters_share_nothing() -> None:
    samples = [encoded("a Ann", range(50), [5]), encoded("a Bob", range(50), [5])]
    assert [len(tree.branches) for tree in grow_trees(samples, 1000)] == [1, 1]


@pytest.mark.parametrize(
    ("prompt", "target", "said"),
    [([1] * 30, [2] * 21, "51 tokens"), ([], [2], "no prompt or no target"), ([1], [], "no prompt or no target")],
)
def test_what_cannot_be_trained_is_refused(prompt: list[int], target: list[int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(grow_trees([encoded("a", prompt, target)], 50))
