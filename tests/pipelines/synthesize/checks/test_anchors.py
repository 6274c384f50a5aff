"""Searching a text: exact, similar and truncated sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.synthesize.checks.anchors import SIMILAR, SearchedText

TEXT = (
    "The night is late. ‘Who goes there?’ cried Bernardo in the dark. Nay, answer me: stand, and unfold yourself. "
    "The bell beats one."
)


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("“Who goes there?” cried Bernardo in the dark.", "Who goes there?’ cried Bernardo in the dark"),
        ("who goes THERE cried bernardo", "Who goes there?’ cried Bernardo"),
        ("Nay answer me, stand and unfold yourselves", "Nay, answer me: stand, and unfold yourself."),
        ("Nothing of the kind was ever said by anybody", ""),
        ("", ""),
    ],
)
def test_sentences_are_found_exactly_or_nearly(sentence: str, found: str) -> None:
    place = SearchedText(TEXT).nearest(sentence)
    assert (TEXT[place.start : place.end].strip() if place else "") == found
    assert place is None or SIMILAR <= place.ratio <= 1


@pytest.mark.parametrize(("end", "found"), [("as it was", True), ("and all of it is another text altogether " * 40, False)])
def test_sentences_without_an_end_are_compared_by_their_beginnings(end: str, found: bool) -> None:
    """50,000 characters without a full stop against as many that are not quite the same."""
    text = " ".join(f"word{number % 97} and{number}" for number in range(5_000))
    place = SearchedText(text).nearest(end if not found else f"so {text[:40_000]} {end}")
    assert (place == (0, len(text), place.ratio)) if place and found else (place is None and not found)


@given(st.text(max_size=60), st.text(max_size=20))
def test_a_quotation_of_the_text_is_always_found(text: str, more: str) -> None:
    whole = f"{more} {text} {more}"
    place = SearchedText(whole).exactly(text)
    assert place is not None or not any(char.isalnum() for char in text) or "".join(text.split()) != text
