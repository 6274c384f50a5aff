"""her/format/turn_builder.py: the canonical form, and the table of defects."""

from hypothesis import given
from hypothesis import strategies as st

from her.format import normalise
from her.types import Part
from tests.format.turns import NAME, PARTS


@given(PARTS, st.sampled_from([NAME, "宝玉", "A.*", "**B"]))
def test_law_normalise_is_idempotent(parts: list[Part], speaker: str) -> None:
    once = normalise(parts, speaker)
    assert normalise(once, speaker) == once
