"""her/format/stops.py: the characters at which the parser stops to look for a token."""

import pytest

from her.format.markers import KIND_OF_MODE, Notation
from her.format.stops import BARE_STOPS, stops_by_mode
from her.kinds import PLAN


@pytest.mark.parametrize(("notation", "stops"), [("her", "<\n"), ("asterisk", "<\n*"), ("coser", "<\n*[(（"), ("auto", "<\n[")])
def test_only_what_may_begin_a_token_stops_the_parser(notation: Notation, stops: str) -> None:
    found = [char for char in "a <>&`\n*[](（)）:" if BARE_STOPS[notation].any_text(char)]
    assert found == [char for char in "<\n*[(（" if char in stops]


def test_every_mode_has_stops_and_only_auto_reads_other_marks_in_a_plan() -> None:
    for notation in BARE_STOPS:
        stops = stops_by_mode(notation, "Iago", ())
        assert set(stops) >= set(KIND_OF_MODE)
        assert bool(stops[PLAN].any_text("[/THINK]")) is (notation == "auto")
