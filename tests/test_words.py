"""Measures on words."""

from hypothesis import given
from hypothesis import strategies as st

from her.words import jaccard, longest_run

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


@given(WORDS, WORDS)
def test_the_longest_run_is_the_same_from_both_sides(left: list[str], right: list[str]) -> None:
    assert longest_run(left, right) == longest_run(right, left) <= min(len(left), len(right))
    assert longest_run(left, left) == len(left)


@given(st.text(max_size=60), st.text(max_size=20))
def test_the_jaccard_index_is_a_share(left: str, right: str) -> None:
    assert 0 <= jaccard(left, right) <= 1
