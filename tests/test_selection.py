"""tests/conftest.py: which files are not imported, because `-m` deselects all of their tests."""

import pytest

from tests.conftest import may_select

UNITS, WHOLE, BROWSER = "not browser and not whole", "whole and not browser", "browser"
PLAIN = "def test_it() -> None: ...\n"
ONE = f"@pytest.mark.whole\n{PLAIN}"
ALL = f"pytestmark = pytest.mark.whole\n{PLAIN}"
BOTH = f"pytestmark = [pytest.mark.browser, pytest.mark.whole]\n{PLAIN}"
OF_THE_TABLE = f'@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.whole)])\n{PLAIN}'


@pytest.mark.parametrize(
    ("text", "selecting"),
    [
        (PLAIN, {"", UNITS}),
        (ONE, {"", UNITS, WHOLE}),
        (OF_THE_TABLE, {"", UNITS, WHOLE}),
        (ALL, {"", WHOLE}),
        (BOTH, {"", BROWSER}),
        (ALL.replace("whole", "browser"), {"", BROWSER}),
    ],
    ids=["plain", "one", "a case", "all", "both", "browser"],
)
def test_a_file_is_read_where_one_of_its_tests_may_be_selected(text: str, selecting: set[str]) -> None:
    assert {words for words in ("", UNITS, WHOLE, BROWSER) if may_select(words, text)} == selecting
