"""Ratings are only added; the newest counts, and an empty one withdraws."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from her.errors import InputError, NotFound
from her.store import Store, feedback
from tests.store.samples import ANNE, BEN, SEEN, greeted, opened, rating, reply, sql


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def test_a_rating_comes_back_with_what_was_seen(store: Store) -> None:
    chat, question = greeted(store)
    answer = reply(store, question, "one")
    opinion = rating(-1, {"voice": 2, "engaging": 5}, tags=("too_long", "repeats"), comment="Too long. 太长。", seen=SEEN)
    at = store.rate(ANNE, chat.id, answer.id, opinion)
    kept = store.ratings(ANNE, chat.id)
    assert set(kept) == {answer.id}
    assert (kept[answer.id].rating, kept[answer.id].created_at) == (opinion, at)


def test_the_newest_counts_for_each_turn_and_for_the_chat(store: Store, tmp_path: Path) -> None:
    chat, question = greeted(store)
    answer = reply(store, question, "one")
    for count in (1, 2, 3):  # within one millisecond, most likely
        store.rate(ANNE, chat.id, answer.id, rating(stars={"voice": count}))
        store.rate(ANNE, chat.id, None, rating(stars={"voice": 6 - count}))
    kept = store.ratings(ANNE, chat.id)
    assert {node: rated.rating.stars["voice"] for node, rated in kept.items()} == {answer.id: 3, None: 3}
    store.rate(ANNE, chat.id, answer.id, rating())
    assert set(store.ratings(ANNE, chat.id)) == {None}
    assert sql(tmp_path / "her.sqlite3", "SELECT count(*) FROM ratings") == [(7,)], "rows are only added"


def test_the_older_of_two_acts_of_one_browser_never_counts_whichever_comes_first(store: Store, tmp_path: Path) -> None:
    chat, question = greeted(store)
    answer = reply(store, question, "one")

    def rate(act: int, stars: int, browser: str = "aa", node: str | None = answer.id) -> int:
        seen = SEEN.model_copy(update={"browser": browser, "act": act})
        return store.rate(ANNE, chat.id, node, rating(stars={"voice": stars}, seen=seen))

    newer = rate(8, 5)
    assert rate(7, 1) == newer, "it waited in another tab, or on a slow line"
    assert rate(8, 5) == newer, "it was sent again, since its answer was lost"
    assert store.ratings(ANNE, chat.id)[answer.id].rating.stars == {"voice": 5}
    rate(3, 2, browser="bb")  # another device counts for itself
    assert rate(6, 1) == newer
    assert store.ratings(ANNE, chat.id)[answer.id].rating.stars == {"voice": 2}
    rate(1, 4, node=None)
    rate(9, 3)
    kept = store.ratings(ANNE, chat.id)
    assert (kept[answer.id].rating.stars, kept[None].rating.stars) == ({"voice": 3}, {"voice": 4})
    assert sql(tmp_path / "her.sqlite3", "SELECT count(*) FROM ratings") == [(4,)]


def test_a_choice_is_over_all_other_swipes_and_can_be_changed(store: Store) -> None:
    chat, question = greeted(store)
    one, two, three = (reply(store, question, text) for text in ("one", "two", "three"))
    first = store.add_choice(ANNE, chat.id, one.id, SEEN)
    assert (first.alternatives, first.parent_id, first.seen) == ((two.id, three.id), question.id, SEEN)
    second = store.add_choice(ANNE, chat.id, two.id, alternatives=[one.id])
    assert second.alternatives == (one.id,)
    assert store.choices(ANNE, chat.id) == {question.id: second}


def test_a_choice_needs_something_to_choose_from(store: Store) -> None:
    chat, question = greeted(store)
    only = reply(store, question, "one")
    with pytest.raises(InputError, match="there is only one reply here"):
        store.add_choice(ANNE, chat.id, only.id)
    with pytest.raises(NotFound, match="is no swipe of the one kept"):
        store.add_choice(ANNE, chat.id, only.id, alternatives=[question.id])


def test_only_ones_own_rating_is_withdrawn(store: Store) -> None:
    chat, question = greeted(store)
    store.rate(ANNE, chat.id, question.id, rating(1))
    mine = store.ratings(ANNE, chat.id)[question.id]
    with pytest.raises(NotFound, match="there is no rating"):
        store.withdraw_rating(BEN, mine.id)
    store.withdraw_rating(ANNE, mine.id)


@pytest.mark.parametrize("other", [BEN, "0" * 64])
def test_feedback_of_another_visitor_is_not_ones_own(store: Store, tmp_path: Path, other: str) -> None:
    """Even where rows of two visitors refer to one chat, which no method of the store writes."""
    chat, question = greeted(store)
    kept, _ = reply(store, question, "one"), reply(store, question, "two")
    store.rate(ANNE, chat.id, kept.id, rating(1))
    store.add_choice(ANNE, chat.id, kept.id)
    store.ensure_visitor(other)
    sql(
        tmp_path / "her.sqlite3",
        f"UPDATE ratings SET visitor_id = '{other}'",
        f"UPDATE choices SET visitor_id = '{other}'",
    )
    assert store.ratings(ANNE, chat.id) == {} and store.choices(ANNE, chat.id) == {}


def test_the_queries_of_a_rating_are_built_once() -> None:
    """Building them takes longer than running them."""
    assert feedback._target() is feedback._target() and feedback._insert_rating() is feedback._insert_rating()
