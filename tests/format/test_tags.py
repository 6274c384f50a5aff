"""her/format/tags.py: tokens are found whole or cut, and escaping loses nothing."""

from hypothesis import given

from her.format.tags import escape, unescape
from tests.format.turns import TEXT


@given(TEXT)
def test_law_escape_is_undone(text: str) -> None:
    assert unescape(escape(text)) == text
