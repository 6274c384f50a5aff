"""Texts of answers survive packing byte for byte, are packed only if that is shorter, and are unpacked when they are used."""

import zlib
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.store.ledger_records import Entry, Failure, StoredText, Sums, pack, unpack

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)
"""Also NULs and halves of characters: what a model says is kept as it is."""


@settings(max_examples=50, deadline=None)
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_texts_survive_packing(text: str, reasoning: str, fixed: str, choices: str) -> None:
    assert unpack(pack(text, reasoning, fixed, choices)) == (text, reasoning, fixed, choices)


@pytest.mark.parametrize("text", ["", "a", "word " * 500, "话" * 300])
def test_packing_pays_or_is_left(text: str) -> None:
    assert len(pack(text, "", "")) <= len(text.encode()) + 1


def test_the_first_byte_says_how_a_text_is_packed() -> None:
    """Ledgers of earlier versions are read by these flags."""
    long = "word " * 500
    assert pack("a", "", "") == b"\x02a"
    assert pack(long, "", "") == b"\x03" + zlib.compress(long.encode())
    assert pack("a", "b", "") == b'\x00["a", "b", ""]'
    assert pack(long, "", "c")[0] == 1 and unpack(pack(long, "", "c")) == (long, "", "c", "")
    assert pack("a", "", "", "[]") == b'\x00["a", "", "", "[]"]'
    assert pack("", "", "") == b"\x02"


@pytest.mark.parametrize(
    "texts", [("t", "r", "f", "c"), ("t", "", "", ""), ("", "r", "", ""), ("", "", "f", ""), ("", "", "", "c"), ("", "", "", "")]
)
def test_a_stored_text_is_the_same_packed_and_unpacked(texts: tuple[str, str, str, str]) -> None:
    plain, packed = StoredText(*texts), StoredText(packed=pack(*texts))
    assert (plain.text, plain.reasoning, plain.fixed, plain.choices) == texts
    assert (packed.text, packed.reasoning, packed.fixed, packed.choices) == texts
    assert plain.packed == packed.packed == pack(*texts)
    assert plain == packed and hash(plain) == hash(packed) and repr(plain) == f"StoredText{texts!r}"
    assert plain != StoredText("other") and plain != texts


def test_a_packed_text_is_unpacked_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, unpacked = pack("t", "r", ""), []

    def counted(data: bytes) -> tuple[str, str, str, str]:
        unpacked.append(data)
        return unpack(data)

    monkeypatch.setattr("her.store.ledger_records.unpack", counted)
    text = StoredText(packed=packed)
    assert text.packed == packed and unpacked == []
    assert (text.text, text.reasoning) == ("t", "r") and unpacked == [packed]


def test_the_defaults_of_an_entry_are_those_of_one_request_for_free_text() -> None:
    entry = Entry(b"k", "s", "m", StoredText("t"))
    assert (entry.tier, entry.finish, entry.error, entry.requests) == ("", "stop", "", 1)
    assert (entry.prompt_tokens, entry.completion_tokens, entry.seconds) == (0, 0, 0.0)
    failure = Failure(b"k", "s", "n", "timeout", "late")
    assert (failure.prompt_tokens, failure.completion_tokens) == (0, 0) and Sums() == Sums(0, 0, 0)


@pytest.mark.parametrize("record", [Entry(b"k", "s", "m", StoredText("t")), Failure(b"k", "s", "n", "r", "e"), Sums()])
def test_records_do_not_change(record: object) -> None:
    with pytest.raises(FrozenInstanceError):
        record.prompt_tokens = 1  # type: ignore[attr-defined]
    assert not hasattr(record, "__dict__"), "a run holds many thousands of them"
