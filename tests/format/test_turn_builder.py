"""her/format/turn_builder.py: the canonical form, and the table of defects."""

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from her.format import DEFECTS, normalise
from her.types import Part
from tests.format.turns import NAME, PARTS


@given(PARTS, st.sampled_from([NAME, "宝玉", "A.*", "**B"]))
@settings(max_examples=40)
def test_law_normalise_is_idempotent(parts: list[Part], speaker: str) -> None:
    once = normalise(parts, speaker)
    assert normalise(once, speaker) == once


def test_the_document_has_the_table_of_defects() -> None:
    page = (Path(__file__).parents[2] / "docs/format.md").read_text("utf-8")
    table = page.partition("## Defects")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)) == DEFECTS
