"""The types of columns: values come back exactly, what a database cannot hold is refused or escaped, damage is named."""

from typing import Any

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from her.errors import InputError, StoreError
from her.store.records import Seen
from her.store.tables import IdColumn, JsonColumn, PlainColumn, metadata

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


@pytest.mark.parametrize(("dialect", "number"), [(sqlite.dialect(), "seq INTEGER"), (postgresql.dialect(), "seq BIGSERIAL")])
def test_rows_are_numbered_by_the_database(dialect: Any, number: str) -> None:
    numbered = [table for table in metadata.sorted_tables if "seq" in table.c and table.name != "outbox"]
    assert len(numbered) == 9
    outbox = str(CreateTable(metadata.tables["outbox"]).compile(dialect=dialect))
    assert "AUTOINCREMENT" in outbox or number == "seq BIGSERIAL", "SQLite never gives a number of the outbox again"
    for table in numbered:
        text = " ".join(str(CreateTable(table).compile(dialect=dialect)).split())
        assert f"{number} NOT NULL, " in text and f"CONSTRAINT pk_{table.name} PRIMARY KEY (seq)" in text
        assert f"CONSTRAINT uq_{table.name}_id UNIQUE (id)" in text


def test_columns_are_cached_by_sqlalchemy() -> None:
    """Else every statement would be compiled anew."""
    assert all(isinstance(column.type._static_cache_key, tuple) for table in metadata.sorted_tables for column in table.c)
