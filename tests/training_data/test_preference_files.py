"""her/training_data/preference_files.py: what `her ratings export` writes is read as preferences, in every form."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from her.errors import InputError
from her.feedback.export import ExportFormat
from her.feedback.export_files import write_file
from her.feedback.preferences import preferences
from her.files import jsonl
from her.format import render
from her.store import Store
from her.training_data.preference_files import preferences_in
from tests.store.samples import ANNE, greeted, opened, rating, reply


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    chat, asked = greeted(store)
    for text, stars in (("What, man?", 5), ("Go.", 1)):
        store.rate(ANNE, chat.id, reply(store, asked, text, plan="Tempt him.").id, rating(stars={"voice": stars}))
    yield store
    store.close()


@pytest.mark.parametrize("name", ["preference.jsonl", "preference.parquet", "rm.jsonl", "rm.parquet"])
def test_an_export_is_read_as_the_preferences_that_it_was_made_of(store: Store, tmp_path: Path, name: str) -> None:
    format: ExportFormat = "rm" if name.startswith("rm") else "preference"
    write_file(store, format, tmp_path / name)
    (expected,), (found,) = list(preferences(store)), list(preferences_in(tmp_path / name))
    assert (found.prompt, found.rater, found.conversation) == (expected.prompt, expected.rater, expected.conversation)
    assert found.margin == pytest.approx(expected.margin if format == "rm" else 1, abs=1e-6)
    for read, written in ((found.chosen, expected.chosen), (found.rejected, expected.rejected)):
        assert (read.id, read.speaker, render(read.parts, read.speaker)) == (
            written.id,
            written.speaker,
            render(written.parts, written.speaker),
        )


def test_preferences_are_read_as_they_are(store: Store, tmp_path: Path) -> None:
    jsonl.write(tmp_path / "pairs.jsonl", preferences(store))
    assert list(preferences_in(tmp_path / "pairs.jsonl")) == list(preferences(store))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": [], "chosen": [{"role": "assistant", "content": "x"}]}', r"row 1 is no pair \(.*rejected"),
        ('{"chosen": [], "rejected": []}\n', "row 1 is no pair .*her ratings export --format rm"),
        ("not JSON\n", "pairs.jsonl' line 1"),
        ('{"chosen": {}}\n', "pairs.jsonl' line 1"),
    ],
)
def test_a_row_that_is_no_pair_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        list(preferences_in(tmp_path / "pairs.jsonl"))
