"""her/store/segments.py and withdrawals.py: a database rebuilt from its segments is the same, and bad segments are refused."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from her.errors import StoreError
from her.store import Store, segments, withdrawals
from her.store.exports import rated_replies
from her.store.segments import TABLES, Keeping, Place
from tests.store.samples import ANNE, BEN, greeted, opened, rating, reply, sql

STATE = Keeping(repository="ada/ratings")


def rows(folder: Path) -> dict[str, list[Any]]:
    return {name: sql(folder / "her.sqlite3", f"SELECT * FROM {name} ORDER BY rowid") for name in TABLES}


def written(store: Store, place: int, after: str, everything: bool = False) -> dict[str, bytes]:
    """Cut the next segments and confirm them, as a push does."""
    cut = segments.cut_segments(store, Place(1, place), after, everything)
    assert cut is not None
    segments.note_sending(store, list(cut.files)[-1], cut.through)
    segments.confirm(store)
    return dict(cut.files)


def lived(store: Store) -> dict[str, bytes]:
    """Write segments of a store with every kind of change: rows, new heads and titles, deletions, withdrawals."""
    segments.keep(store, STATE)
    chat, question = greeted(store)
    first, second = reply(store, question, "What, man?"), reply(store, question, "Ha! Halt \u2028 wer da")
    store.rate(ANNE, chat.id, first.id, rating(1, comment="gut\n\u4f60\u597d"))
    files = written(store, 1, "")
    store.rate(ANNE, chat.id, first.id, rating(-1))
    store.add_choice(ANNE, chat.id, second.id)
    store.add_ballot(ANNE, chat.id, (first.id, second.id))
    store.agree(ANNE, "evening", "v1", "en", "Yes.")
    mission = store.assign(ANNE, "evening", {"one": 1}, since=0)
    assert mission is not None
    store.begin_mission(ANNE, mission.id, chat.id)
    store.rename(ANNE, chat.id, "Night")
    store.move_head(ANNE, chat.id, first.id)
    other, line = greeted(store, BEN)
    files |= written(store, 2, list(files)[-1])
    store.delete_turn(BEN, other.id, line.id)
    store.withdraw_rating(ANNE, store.ratings(ANNE, chat.id)[first.id].id)
    return files | written(store, 3, list(files)[-1])


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The folder of such a store, closed, and its segments."""
    folder = tmp_path_factory.mktemp("life")
    store = opened(folder)
    files = lived(store)
    store.close()
    return folder, files


def test_a_database_is_rebuilt_from_its_segments(life: tuple[Path, dict[str, bytes]], store: Store, tmp_path: Path) -> None:
    folder, files = life
    count = segments.rebuild(store, files.items(), Keeping(repository="ada/ratings", kept=list(files)[-1]))
    assert rows(tmp_path) == rows(folder) and count >= sum(len(some) for some in rows(folder).values())
    state = sql(folder / "her.sqlite3", "SELECT * FROM durable")
    assert state == sql(tmp_path / "her.sqlite3", "SELECT * FROM durable") and segments.waiting(store) == 0
    chat = store.conversations(ANNE)[0]
    store.rate(ANNE, chat.id, None, rating(1))  # the numbers go on, and changes are noted
    assert segments.waiting(store) == 1 and len(sql(tmp_path / "her.sqlite3", "SELECT DISTINCT seq FROM ratings")) == 3


def test_a_change_leaves_the_outbox_only_when_it_is_confirmed(store: Store) -> None:
    greeted(store)
    assert segments.waiting(store) == 0 and segments.keeping(store) is None, "nothing is noted where nothing is kept"
    segments.keep(store, STATE, everything=True)
    waiting = segments.waiting(store)
    first = segments.cut_segments(store, Place(1, 1), "")
    assert first is not None and waiting == 4 and segments.waiting(store) == waiting
    segments.note_sending(store, list(first.files)[-1], first.through)
    greeted(store, BEN)  # while the push is under way
    segments.confirm(store)
    assert 0 < segments.waiting(store) < 8
    second = segments.cut_segments(store, Place(1, 2), list(first.files)[-1])
    assert second is not None and BEN in gzip.decompress(*second.files.values()).decode()
    segments.confirm(store)
    assert segments.waiting(store) > 0, "nothing was sent, so nothing is confirmed"


def test_equal_changes_are_equal_bytes_and_long_ones_are_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    segments.keep(store, STATE)
    greeted(store)
    one, two = (segments.cut_segments(store, Place(3, 1), "") for _ in range(2))
    assert one is not None and two is not None and one.files == two.files
    monkeypatch.setattr(segments, "PART_CHARACTERS", 10)
    many = segments.cut_segments(store, Place(3, 9), "x")
    assert many is not None and list(many.files) == [f"boot-000003/segment-{n:06d}.jsonl.gz" for n in range(9, 13)]


def changed(change: Callable[[list[dict[str, Any]]], object]) -> Callable[[dict[str, bytes]], object]:
    """Return a fault that changes the lines of the second segment."""

    def spoil(files: dict[str, bytes]) -> None:
        name = list(files)[1]
        lines = [json.loads(line) for line in gzip.decompress(files[name]).splitlines()]
        change(lines)
        files[name] = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())

    return spoil


def of(table: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = next(line["row"] for line in lines if line.get("table") == table)
    return row


BAD: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "the first is missing": (lambda files: files.pop(list(files)[0]), "follows 'boot-000001/segment-000001.*missing"),
    "one is missing": (lambda files: files.pop(list(files)[1]), "follows 'boot-000001/segment-000002.*missing"),
    "half": (lambda files: files.update({list(files)[1]: files[list(files)[1]][:99]}), "000002.*is damaged"),
    "no gzip": (lambda files: files.update({list(files)[1]: b"{}"}), "000002.*is damaged"),
    "another's": (lambda files: files.update({list(files)[1]: files[list(files)[0]]}), "is that of 'boot-000001/segment-000001"),
    "a line less": (changed(lambda lines: lines.pop()), "is that of .* with"),
    "newer": (changed(lambda lines: lines[0].update(revision="9999")), "newer version of HER .*9999"),
    "an unknown table": (changed(lambda lines: lines[1].update(table="songs")), "does not fit .*songs"),
    "an unknown column": (changed(lambda lines: of("ratings", lines).update({'x"': 1})), "does not fit"),
    "a number twice": (changed(lambda lines: of("ratings", lines).update(seq=1)), "does not fit .*UNIQUE"),
    "no such parent": (changed(lambda lines: of("nodes", lines).update(conversation_id="?")), "lack a row of 'conversations'"),
    "no row": (changed(lambda lines: lines[1].update(row=3)), "does not fit"),
}


@pytest.mark.parametrize(("spoil", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_bad_segment_is_named_and_nothing_is_written(
    life: tuple[Path, dict[str, bytes]], store: Store, spoil: Callable[[dict[str, bytes]], object], sentence: str
) -> None:
    files = dict(life[1])
    spoil(files)
    with pytest.raises(StoreError, match=sentence):
        segments.rebuild(store, files.items(), STATE)
    assert not segments.holds_rows(store) and segments.keeping(store) is None


def test_rows_of_who_withdrew_are_deleted_with_votes_of_others_on_them(tmp_path: Path, store: Store) -> None:
    segments.keep(store, STATE)
    pairs = {}
    for visitor in (ANNE, BEN):
        chat, question = greeted(store, visitor)
        one, two = (reply(store, question, text, visitor_id=visitor) for text in ("One.", "Two."))
        store.rate(visitor, chat.id, one.id, rating(1))
        store.branch(visitor, chat.id, two.id)
        store.agree(visitor, "evening", "v1", "en", "Yes.")
        mission = store.assign(visitor, "evening", {"one": 2}, since=0)
        assert mission is not None
        store.begin_mission(visitor, mission.id, chat.id)
        store.add_choice(visitor, chat.id, one.id)
        pairs[visitor] = chat.id, (one.id, two.id)
    store.add_ballot(BEN, *pairs[ANNE])
    kept = store.add_ballot(BEN, *pairs[BEN])
    store.withdraw_visitor(ANNE)
    through = 10_000
    assert withdrawals.has_withdrawn(store, 0, through) and not withdrawals.has_withdrawn(store, through, through + 1)
    withdrawals.erase_withdrawn(store)
    left = json.dumps(rows(tmp_path) | {"tombstones": []})
    assert sql(tmp_path / "her.sqlite3", "SELECT count(*) FROM assignments", "SELECT count(*) FROM consents") == [(1,)]
    assert ANNE not in left and pairs[ANNE][0] not in left and BEN in left
    assert [voted.ballot for voted in store.ballots(BEN)] == [kept] and len(list(rated_replies(store))) == 1
    assert [row[3] for row in rows(tmp_path)["tombstones"]] == [ANNE], "exports elsewhere still need it"
    assert withdrawals.erase_withdrawn(store) == 0
    assert sql(tmp_path / "her.sqlite3", "PRAGMA foreign_key_check") == []
