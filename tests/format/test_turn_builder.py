"""her/format/turn_builder.py: the canonical form, and the table of defects."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.format import DEFECTS, normalise
from her.format.turn_builder import TurnDraft
from her.types import Part
from tests.format.turns import NAME, PARTS, parts_of

CANONICAL = [
    ("", ""),
    ("p:p|t:t|a:a|s:s", "p:p|t:t|a:a|s:s"),
    ("s: hi |t:\tt¶", "s:hi|t:t"),
    ("s:|t:t|a:  ", "t:t"),
    ("s:hi|p:p", "p:p|s:hi"),
    ("p:p|s:hi|p:q", "p:p q|s:hi"),
    ("s:one|s:two|t:t|s:three", "s:one two|t:t|s:three"),
    ("s:one|t: |s:two", "s:one two"),
    ("s:你|s:好", "s:你好"),
    ("s:你|s:ho", "s:你 ho"),
    ("s:hi|s:好", "s:hi 好"),
    ("s:か|s:な", "s:かな"),
    ("s:。|s:好", "s:。好"),
    ("s:…|s:好", "s:… 好"),
    ("s:，|s:好", "s:，好"),
    ("s:Iago: hi", "s:hi"),
    ("s:**Iago:** Iago：hi¶  Iago: ho", "s:hi¶  ho"),
    ("s:so Iago: hi", "s:so Iago: hi"),
    ("t:Iago: hi|s:Iago:", "t:Iago: hi"),
    ("s:Iag|s:o: hi", "s:Iag o: hi"),
]


@pytest.mark.parametrize(("parts", "canonical"), CANONICAL)
def test_the_canonical_form(parts: str, canonical: str) -> None:
    assert normalise(parts_of(parts), NAME) == parts_of(canonical)


def test_a_merge_may_spell_a_name() -> None:
    assert normalise(parts_of("s:宝|s:玉：好"), "宝玉") == parts_of("s:好")


def test_canonical_parts_are_returned_as_they_are() -> None:
    parts = parts_of("p:p|t:Iago: t|s:hi")
    assert normalise(parts, NAME) is parts and normalise(list(parts), NAME) == parts


@given(PARTS, st.sampled_from([NAME, "宝玉", "A.*", "**B"]))
@settings(max_examples=40)
def test_law_normalise_is_idempotent(parts: list[Part], speaker: str) -> None:
    once = normalise(parts, speaker)
    assert normalise(once, speaker) == once


def test_a_defect_is_noted_once_with_its_first_place() -> None:
    draft = TurnDraft(NAME)
    draft.at = 7
    draft.defect("alias", "<think>")
    draft.at = 9
    draft.defect("alias", "<thought>")
    draft.defect("nested", "x" * 99)
    draft.defect("empty")
    assert draft.defects == {"alias": "<think> at 7", "nested": "x" * 60 + " at 9", "empty": "at 9"}


def test_the_document_has_the_table_of_defects() -> None:
    page = (Path(__file__).parents[2] / "docs/format.md").read_text("utf-8")
    table = page.partition("## Defects")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)) == DEFECTS
