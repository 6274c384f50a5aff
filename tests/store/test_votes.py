"""her/store/votes.py: a vote is on disk once, is blind, and falls out with its chat, its turns and its people."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import ValidationError

from her.errors import InputError, NotFound
from her.store import Ballot, Node, Store, Vote
from her.store.exports import stars_given, voted_pairs
from her.store.segments import TABLES
from tests.store.samples import ANNE, BEN, DRAFT, SEEN, greeted, opened, rating, reply, sql, turn

CARA = "c" * 64
VOTE = Vote(winner="a", dimensions={"voice": "b"}, why=("p1",), principles="f" * 64, comment="好", seen=(SEEN, SEEN))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


class Swipes(NamedTuple):
    """Two replies at one place of a chat."""

    chat: str
    question: Node
    one: Node
    two: Node

    @property
    def shown(self) -> tuple[str, str]:
        return self.one.id, self.two.id


def swipes(store: Store, visitor_id: str = ANNE) -> Swipes:
    chat, question = greeted(store, visitor_id)
    one, two = (reply(store, question, text, visitor_id=visitor_id) for text in ("one", "two"))
    return Swipes(chat.id, question, one, two)


def cast(store: Store, pair: Swipes, visitor_id: str = ANNE, vote: Vote | None = None) -> Ballot:
    ballot = store.add_ballot(visitor_id, pair.chat, pair.shown)
    store.vote(visitor_id, ballot.id, vote or Vote(winner="a"))
    return ballot


def test_a_vote_comes_back_as_it_was_cast(store: Store) -> None:
    pair = swipes(store)
    ballot = store.add_ballot(ANNE, pair.chat, pair.shown)
    assert [voted.vote for voted in store.ballots(ANNE)] == [None]
    at = store.vote(ANNE, ballot.id, VOTE)
    (voted,) = store.ballots(ANNE)
    assert (voted.ballot, voted.vote) == (ballot, VOTE)
    (exported,) = voted_pairs(store)
    assert (exported.vote, exported.ballot, exported.created_at) == (VOTE, ballot, at)
    assert {exported.a.node.id, exported.b.node.id} == set(pair.shown) and exported.persona_id == "iago"


def test_names_and_sides_say_which_reply_was_shown_where(store: Store) -> None:
    pair = swipes(store)
    left, right = (store.add_ballot(ANNE, pair.chat, shown) for shown in (pair.shown, pair.shown[::-1]))
    assert left.pair == right.pair and {left.first, right.first} == {"a", "b"}
    assert (left.a_id if left.first == "a" else left.b_id) == pair.one.id
    catch = store.add_ballot(ANNE, pair.chat, pair.shown, worse_id=pair.two.id)
    assert (catch.a_id if catch.worse == "a" else catch.b_id) == pair.two.id


def test_a_vote_that_is_sent_again_is_saved_once_and_another_is_refused(store: Store) -> None:
    pair = swipes(store)
    ballot = store.add_ballot(ANNE, pair.chat, pair.shown)
    with ThreadPoolExecutor(8) as threads:
        times = set(threads.map(lambda _: store.vote(ANNE, ballot.id, VOTE), range(16)))
    assert len(times) == 1 and len(list(voted_pairs(store))) == 1
    for other in (VOTE.model_copy(update={"winner": "b"}), VOTE.model_copy(update={"id": "another-id"})):
        with pytest.raises(InputError, match="has your vote already"):
            store.vote(ANNE, ballot.id, other)
    second = store.add_ballot(ANNE, pair.chat, pair.shown)
    with pytest.raises(InputError, match="belongs to another vote"):
        store.vote(ANNE, second.id, VOTE)
    assert [voted.vote for voted in store.ballots(ANNE)] == [VOTE, None]


def test_an_id_of_a_client_is_short_and_plain() -> None:
    for bad in ("", "short", "x" * 65, "a b c d e f", "naïve-id-1"):
        with pytest.raises(ValidationError):
            Vote(id=bad, winner="a")


def test_only_who_was_asked_votes(store: Store) -> None:
    pair = swipes(store)
    store.ensure_visitor(BEN)
    ballot = store.add_ballot(ANNE, pair.chat, pair.shown)
    for visitor, name in ((BEN, ballot.id), (ANNE, "nowhere")):
        with pytest.raises(NotFound, match="there is no ballot"):
            store.vote(visitor, name, VOTE)
    asked = store.add_ballot(BEN, pair.chat, pair.shown)  # the organiser may ask others about the same pair
    store.vote(BEN, asked.id, VOTE)
    assert asked.pair == ballot.pair


def test_what_is_not_whole_or_not_at_one_place_gets_no_ballot(store: Store) -> None:
    pair = swipes(store)
    below = reply(store, pair.one, "below")
    other = swipes(store)
    for finish in ("stopped", "failed"):
        cut = reply(store, pair.question, "And then", finish)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"not whole .generation {finish}"):
            store.add_ballot(ANNE, pair.chat, (pair.one.id, cut.id))
    for shown in ((pair.one.id, pair.one.id), (pair.one.id, below.id)):
        with pytest.raises(InputError, match="two different replies at one place"):
            store.add_ballot(ANNE, pair.chat, shown)
    with pytest.raises(NotFound, match="no turn"):
        store.add_ballot(ANNE, pair.chat, (pair.one.id, other.one.id))
    with pytest.raises(InputError, match="not one of the two"):
        store.add_ballot(ANNE, pair.chat, pair.shown, worse_id=below.id)
    store.delete_conversation(ANNE, other.chat)
    with pytest.raises(NotFound, match="no chat"):
        store.add_ballot(ANNE, other.chat, other.shown)
    assert store.ballots(ANNE) == ()


def test_a_planted_turn_may_stand_in_a_catch_pair(store: Store) -> None:
    pair = swipes(store)
    bad = store.add_turn(ANNE, pair.chat, pair.question.id, turn("..."), "planted", move_head=False)
    store.vote(ANNE, store.add_ballot(ANNE, pair.chat, (bad.id, pair.one.id), worse_id=bad.id).id, VOTE)
    (exported,) = voted_pairs(store)
    assert exported.ballot.worse is not None
    planted = exported.a if exported.ballot.worse == "a" else exported.b
    assert planted.generation is None and planted.node.id == bad.id


def test_a_repeat_swaps_the_sides_of_an_answered_ballot_once(store: Store) -> None:
    pair = swipes(store)
    ballot = store.add_ballot(ANNE, pair.chat, pair.shown)
    with pytest.raises(InputError, match="was not answered"):
        store.repeat_ballot(ANNE, ballot.id)
    store.vote(ANNE, ballot.id, VOTE)
    repeat = store.repeat_ballot(ANNE, ballot.id)
    assert (repeat.repeat_of, repeat.pair, {repeat.first, ballot.first}) == (ballot.id, ballot.pair, {"a", "b"})
    store.vote(ANNE, repeat.id, Vote(winner="b"))
    for name in (ballot.id, repeat.id):
        with pytest.raises(InputError, match="repeated before"):
            store.repeat_ballot(ANNE, name)
    with pytest.raises(NotFound):
        store.repeat_ballot(BEN, ballot.id)


def test_a_deleted_reply_cannot_be_voted_on(store: Store) -> None:
    pair = swipes(store)
    ballot = store.add_ballot(ANNE, pair.chat, pair.shown)
    store.delete_turn(ANNE, pair.chat, pair.two.id)
    with pytest.raises(NotFound, match="no turn"):
        store.vote(ANNE, ballot.id, VOTE)
    store.delete_turn(ANNE, pair.chat, pair.one.id)
    with pytest.raises(NotFound, match="no turn"):
        store.vote(ANNE, ballot.id, VOTE)
    other = swipes(store)
    ballot = store.add_ballot(ANNE, other.chat, other.shown)
    store.delete_conversation(ANNE, other.chat)
    with pytest.raises(NotFound, match="no chat"):
        store.vote(ANNE, ballot.id, VOTE)


Withdrawal = Callable[[Store, Swipes], None]
WITHDRAWALS: dict[str, tuple[Withdrawal, int]] = {
    "nothing": (lambda store, pair: None, 4),
    "a voter": (lambda store, pair: store.withdraw_visitor(CARA), 2),
    "the owner of a chat": (lambda store, pair: store.withdraw_visitor(BEN), 2),
    "a voter who owns a chat": (lambda store, pair: store.withdraw_visitor(ANNE), 1),
    "the chat": (lambda store, pair: store.delete_conversation(ANNE, pair.chat), 2),
    "one side": (lambda store, pair: store.delete_turn(ANNE, pair.chat, pair.one.id), 2),
    "the turn above": (lambda store, pair: store.delete_turn(ANNE, pair.chat, pair.question.id), 2),
    "one vote": (lambda store, pair: store.withdraw_vote(ANNE, "vote-of-anne"), 3),
}


@pytest.mark.parametrize(("withdraw", "left"), WITHDRAWALS.values(), ids=WITHDRAWALS.keys())
def test_a_vote_falls_out_with_what_it_stands_on(store: Store, withdraw: Withdrawal, left: int) -> None:
    """Anne and Cara vote on a pair of Anne's chat and on one of Ben's."""
    pair, bens = swipes(store), swipes(store, BEN)
    store.ensure_visitor(CARA)
    cast(store, pair, vote=Vote(id="vote-of-anne", winner="b"))
    cast(store, bens)
    cast(store, pair, CARA)
    cast(store, bens, CARA)
    withdraw(store, pair)
    assert len(list(voted_pairs(store))) == left


def test_a_withdrawn_vote_is_not_shown_and_is_another_visitors_secret(store: Store) -> None:
    pair = swipes(store)
    store.ensure_visitor(BEN)
    cast(store, pair, vote=VOTE)
    with pytest.raises(NotFound, match=re.escape(VOTE.id)):
        store.withdraw_vote(BEN, VOTE.id)
    store.withdraw_vote(ANNE, VOTE.id)
    assert [voted.vote for voted in store.ballots(ANNE)] == [None]


@pytest.mark.whole
def test_a_vote_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    store = opened(tmp_path)
    pair = swipes(store)
    store.close()
    command = (
        "import sys; from her.store import Store, Vote\n"
        "store = Store(sys.argv[1]); visitor, chat, one, two = sys.argv[2:]\n"
        "while True:\n"
        "    vote = Vote(winner='a')\n"
        "    store.vote(visitor, store.add_ballot(visitor, chat, (one, two)).id, vote)\n"
        "    print(vote.id, flush=True)"
    )
    words = [sys.executable, "-c", command, f"sqlite:///{tmp_path / 'her.sqlite3'}", ANNE, pair.chat, *pair.shown]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().strip() for _ in range(20)]
        writer.kill()
        said += [line.strip() for line in writer.stdout if line.endswith("\n")]
    store = opened(tmp_path)
    kept = {voted.vote.id for voted in store.ballots(ANNE) if voted.vote}
    store.close()
    assert len(said) >= 20 and set(said) <= kept and len(kept) <= len(said) + 1


def test_a_database_of_before_gains_the_tables_and_keeps_its_rows(tmp_path: Path) -> None:
    store = opened(tmp_path)
    chat, question = greeted(store)
    store.rate(ANNE, chat.id, question.id, rating(1))
    store.close()
    notes = [f"DROP TRIGGER outbox_{table}_{event}" for table in TABLES for event in ("insert", "update", "delete")]
    drop = (
        *notes,
        "DROP TABLE votes",
        "DROP TABLE ballots",
        "DROP TABLE outbox",
        "DROP TABLE durable",
        "DROP TABLE assignments",
        "DROP TABLE consents",
        "UPDATE alembic_version SET version_num = '0001'",
    )
    later = ("ALTER TABLE conversations DROP COLUMN ensemble", "ALTER TABLE ratings DROP COLUMN character")
    later += ("ALTER TABLE edits DROP COLUMN kind", "ALTER TABLE edits DROP COLUMN place")
    sql(tmp_path / "her.sqlite3", *drop, *later)
    store = opened(tmp_path)
    assert store.ratings(ANNE, chat.id)[question.id].rating.thumb == 1
    pair = swipes(store)
    cast(store, pair)
    assert len(list(voted_pairs(store))) == 1
    store.close()


def test_stars_of_raters_leave_withdrawn_ones_out(store: Store) -> None:
    chat, question = greeted(store)
    answer = reply(store, question, "a")
    for stars in ({"voice": 1}, {"voice": 4}):
        store.rate(ANNE, chat.id, answer.id, rating(stars=stars))
    store.rate(ANNE, chat.id, None, rating(1))
    other = store.create_conversation(BEN, DRAFT)
    store.rate(BEN, other.id, None, rating(stars={"engaging": 2}))
    assert list(stars_given(store)) == [(ANNE, {"voice": 4}), (BEN, {"engaging": 2})]
    store.withdraw_visitor(BEN)
    assert list(stars_given(store)) == [(ANNE, {"voice": 4})]
