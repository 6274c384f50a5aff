"""The types of columns: values come back exactly, what a database cannot hold is refused or escaped, damage is named."""

from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from her.errors import InputError, StoreError
from her.store.records import Seen
from her.store.tables import IdColumn, JsonColumn, PlainColumn

DIALECT = sqlite.dialect()


@pytest.mark.parametrize("value", [Seen(opened=("speech",), dwell_ms=3), None])
def test_json_comes_back(value: Any) -> None:
    column = JsonColumn(Seen)
    assert column.process_result_value(column.process_bind_param(value, DIALECT), DIALECT) == value


def test_json_holds_nul_and_refuses_half_a_character() -> None:
    column = JsonColumn(str)
    assert "\x00" not in str(column.process_bind_param("a\x00", DIALECT))
    with pytest.raises(InputError, match="a text cannot be stored: .*send valid Unicode"):
        column.process_bind_param("\ud83d", DIALECT)


def test_a_value_that_does_not_fit_is_named_and_shortened() -> None:
    with pytest.raises(StoreError, match="a stored row cannot be read") as caught:
        JsonColumn(Seen).process_result_value('{"dwell_ms": "' + "x" * 500, DIALECT)
    assert str(caught.value).count("x") == 80 - len('{"dwell_ms": "') and len(str(caught.value)) < 200


def test_plain_text_is_kept_or_refused() -> None:
    column = PlainColumn()
    assert [column.process_bind_param(text, DIALECT) for text in (None, "", "太长 😀")] == [None, "", "太长 😀"]
    with pytest.raises(InputError, match="NUL character at position 2"):
        column.process_bind_param("ab\x00", DIALECT)
    with pytest.raises(InputError, match="half a character .* at position 1"):
        column.process_bind_param("a\ud83d", DIALECT)


def test_an_id_that_no_database_can_hold_finds_nothing() -> None:
    column = IdColumn()
    assert [column.process_bind_param(text, DIALECT) for text in (None, "abc", "a\x00\ud800")] == [None, "abc", "a\\0\\ud800"]
