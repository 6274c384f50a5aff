"""her/store/playtests.py: consent, and the law by which missions are given to people."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from her.errors import InputError, NotFound
from her.store import Store
from her.store.withdrawals import erase_withdrawn
from tests.store.samples import ANNE, BEN, greeted, opened, rating, reply, sql, turn

LONG_AGO, EVER = 0, 2**60
PLACES = {"case": 7, "quarrel": 7, "supper": 6}


def person(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def given(store: Store, visitor: str, places: dict[str, int] = PLACES, since: int = LONG_AGO, wanted: str = "") -> str:
    found = store.assign(visitor, "evening", places, since=since, wanted=wanted)
    return found.mission if found else ""


def test_twenty_people_are_spread_and_the_next_one_finds_no_place(store: Store) -> None:
    missions = [given(store, person(number)) for number in range(20)]
    assert Counter(missions) == PLACES
    for number in range(1, 20):  # the fewest first: no mission is ever two ahead of another with places left
        counts = Counter(missions[:number])
        assert max(counts.values()) - min(counts[name] for name in PLACES if counts[name] < PLACES[name]) <= 1
    assert set(missions[:3]) == set(PLACES), "the first three meet three missions"
    assert given(store, person(20)) == "" and store.missions_taken("evening", LONG_AGO) == PLACES


def test_the_first_of_many_evenings_is_not_always_the_first_card(store: Store) -> None:
    firsts: Counter[str] = Counter()
    for number in range(12):
        found = store.assign(person(number), f"evening {number}", PLACES, since=LONG_AGO)
        assert found is not None
        firsts[found.mission] += 1
    assert len(firsts) == 3


def test_missions_in_a_language_that_a_person_reads_come_first(store: Store) -> None:
    missions = [store.assign(person(number), "evening", {"en": 2, "zh": 2}, since=0, readable=["zh"]) for number in range(4)]
    assert [each.mission for each in missions if each] == ["zh", "zh", "en", "en"]


def test_asked_again_a_visitor_stays_with_the_mission(store: Store) -> None:
    first = store.assign(ANNE, "evening", PLACES, since=LONG_AGO)
    assert first is not None and store.current_assignment(ANNE, "evening", PLACES) == first
    again = store.assign(ANNE, "evening", PLACES, since=LONG_AGO)
    assert again is not None and again.id == first.id
    assert store.current_assignment(ANNE, "another evening", PLACES) is None


def test_a_done_mission_keeps_its_place_and_the_next_is_another(store: Store, tmp_path: Path) -> None:
    places = {"one": 1, "two": 1}
    first = store.assign(ANNE, "evening", places, since=LONG_AGO)
    assert first is not None
    store.finish_mission(ANNE, first.id)
    assert store.done_missions(ANNE, "evening") == 1
    second = given(store, ANNE, places, since=EVER)
    assert {first.mission, second} == set(places)
    assert given(store, BEN, places, since=EVER) == second, "not done and not used: its place is free"
    assert store.missions_taken("evening", EVER) == {first.mission: 1}


def test_a_mission_is_free_after_a_while_unless_its_chat_goes_on(store: Store, tmp_path: Path) -> None:
    chat, question = greeted(store)
    first = store.assign(ANNE, "evening", {"one": 1}, since=LONG_AGO)
    assert first is not None
    store.begin_mission(ANNE, first.id, chat.id)
    sql(tmp_path / "her.sqlite3", "UPDATE assignments SET used_at = 5", "UPDATE conversations SET updated_at = 5")
    assert store.missions_taken("evening", 4) == {"one": 1} and store.missions_taken("evening", 5) == {}
    reply(store, question, "What, man?")
    assert store.missions_taken("evening", 5) == {"one": 1}, "a turn in its chat keeps the place"
    assert given(store, BEN, {"one": 1}, since=5) == ""


def test_a_mission_is_given_up_and_not_given_to_the_same_person_again(store: Store) -> None:
    first = store.assign(ANNE, "evening", {"one": 1, "two": 1}, since=LONG_AGO)
    assert first is not None
    store.give_up_mission(ANNE, first.id)
    assert given(store, ANNE, {"one": 1, "two": 1}) != first.mission
    assert given(store, BEN, {"one": 1, "two": 1}) == first.mission
    with pytest.raises(NotFound):
        store.give_up_mission(BEN, first.id)


def test_a_link_names_the_mission_until_it_is_full(store: Store) -> None:
    assert given(store, ANNE, wanted="supper") == "supper"
    assert given(store, ANNE) == "supper", "it is the one that the visitor is at"
    assert given(store, ANNE, wanted="case") == "case"
    assert store.missions_taken("evening", LONG_AGO) == {"case": 1}, "what was not begun is given back"
    with pytest.raises(InputError, match="as many people as it is for"):
        given(store, BEN, {"case": 1}, wanted="case")


def test_progress_counts_turns_of_the_visitor_and_what_they_rated(store: Store) -> None:
    chat, question = greeted(store)
    answer = reply(store, question, "What, man?")
    assert store.mission_progress(ANNE, chat.id).turns == 1
    store.add_turn(ANNE, chat.id, answer.id, turn("Come.", "Cassio"), "visitor")
    store.rate(ANNE, chat.id, answer.id, rating(stars={"voice": 4}))
    store.rate(ANNE, chat.id, None, rating(stars={"engaging": 2}))
    progress = store.mission_progress(ANNE, chat.id)
    assert (progress.turns, set(progress.rated)) == (2, {"voice", "engaging"})
    store.rate(ANNE, chat.id, None, rating())
    assert store.mission_progress(ANNE, chat.id).rated == {"voice"}, "an empty rating takes the earlier one back"
    with pytest.raises(NotFound):
        store.mission_progress(BEN, chat.id)


def test_the_last_consent_counts_and_is_gone_with_the_person(store: Store, tmp_path: Path) -> None:
    assert store.agreed_version(ANNE, "evening") == ""
    for version in ("v1", "v2"):
        store.agree(ANNE, "evening", version, "zh", "我同意。")
    assert (store.agreed_version(ANNE, "evening"), store.agreed_version(BEN, "evening")) == ("v2", "")
    digest = hashlib.sha256("我同意。".encode()).hexdigest()
    assert sql(tmp_path / "her.sqlite3", "SELECT DISTINCT language, text_sha256 FROM consents") == [("zh", digest)]
    given(store, ANNE)
    store.withdraw_visitor(ANNE)
    assert store.missions_taken("evening", LONG_AGO) == {}
    erase_withdrawn(store)
    assert sql(tmp_path / "her.sqlite3", "SELECT visitor_id FROM consents UNION SELECT visitor_id FROM assignments") == []
