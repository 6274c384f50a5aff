"""her/store/shown_pairs.py: a pair waits until it is decided, planted turns are no swipes, repeats change no chat."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from her.errors import InputError, NotFound
from her.store import Ballot, Node, PairSide, ShownArm, Store, Vote
from her.store.exports import voted_pairs
from her.store.records import Side
from tests.store.samples import ANNE, BEN, generation, greeted, opened, sql, turn


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    yield store
    store.close()


def side(text: str, *, planted: bool = False, finish: str = "stop") -> PairSide:
    record = None if planted else generation(finish, raw=text)  # type: ignore[arg-type]
    name = "planted:assistant" if planted else text
    return PairSide(turn=turn(text), origin="planted" if planted else "model", generation=record, arm=ShownArm(name=name))


def asked(store: Store, *sides: PairSide) -> tuple[Node, Ballot]:
    """Return the question of a new chat and the ballot on its two replies."""
    chat, question = greeted(store)
    first, second = sides or (side("one"), side("two"))
    return question, store.add_pair(ANNE, chat.id, question.id, (first, second))


def head(store: Store, ballot: Ballot) -> str | None:
    return store.conversation(ANNE, ballot.conversation_id).head_id


def test_a_pair_waits_with_its_sides_and_arms_in_the_order_of_showing(store: Store) -> None:
    question, ballot = asked(store)
    pair = store.waiting_pair(ANNE, ballot.conversation_id)
    assert pair is not None and pair.ballot == ballot and pair.vote is None and pair.above == question
    assert [node.turn.text("speech") for node in pair.sides] == ["one", "two"]
    assert ballot.shown_arms is not None and [arm.name for arm in ballot.shown_arms] == ["one", "two"]
    assert head(store, ballot) == question.id and ballot.shown_ids == tuple(node.id for node in pair.sides)
    with pytest.raises(NotFound, match="no chat"):
        store.waiting_pair(BEN, ballot.conversation_id)


def test_nothing_of_a_pair_is_stored_when_one_side_is_not_whole(store: Store) -> None:
    chat, question = greeted(store)
    with pytest.raises(InputError, match="not whole"):
        store.add_pair(ANNE, chat.id, question.id, (side("one"), side("two", finish="stopped")))
    assert store.waiting_pair(ANNE, chat.id) is None and store.leaf_of(ANNE, chat.id, question.id) == question.id


@pytest.mark.parametrize(("winner", "goes_on"), [("first", "one"), ("second", "two"), ("tie", "one"), ("both_bad", "")])
def test_the_chat_goes_on_with_the_winner(store: Store, winner: str, goes_on: str) -> None:
    question, ballot = asked(store)
    second: Side = "b" if ballot.first == "a" else "a"
    vote = Vote(winner={"first": ballot.first, "second": second}.get(winner, winner))  # type: ignore[arg-type]
    store.vote(ANNE, ballot.id, vote, go_on=True)
    shown = store.path(ANNE, ballot.conversation_id)[-1]
    waiting = store.waiting_pair(ANNE, ballot.conversation_id)
    if goes_on:
        assert shown.turn.text("speech") == goes_on and shown.swipe_count == 2 and waiting is None
        with pytest.raises(InputError, match="has your vote already"):
            store.go_on(ANNE, ballot.id, "a")
    else:
        assert shown.id == question.id and waiting is not None and waiting.vote == vote
        store.go_on(ANNE, ballot.id, second)
        assert head(store, ballot) == ballot.shown_ids[1] and store.waiting_pair(ANNE, ballot.conversation_id) is None


def test_a_skipped_pair_has_no_vote_and_goes_on_once(store: Store) -> None:
    _, ballot = asked(store)
    store.go_on(ANNE, ballot.id, "b")
    assert head(store, ballot) == ballot.b_id and not list(voted_pairs(store))
    assert store.ballot(ANNE, ballot.id).skipped_at
    with pytest.raises(InputError, match="gone on already"):
        store.go_on(ANNE, ballot.id, "a")
    with pytest.raises(NotFound):
        store.go_on(BEN, ballot.id, "a")


@pytest.mark.parametrize("act", ["vote for it", "tie", "skip"])
def test_a_planted_turn_is_neither_the_turn_nor_a_swipe(store: Store, act: str) -> None:
    question, ballot = asked(store, side("bad", planted=True), side("good"))
    assert ballot.worse == ballot.first
    if act == "skip":
        store.go_on(ANNE, ballot.id, ballot.worse)
    else:
        store.vote(ANNE, ballot.id, Vote(winner="tie" if act == "tie" else ballot.worse), go_on=True)
    shown = store.path(ANNE, ballot.conversation_id)[-1]
    assert shown.turn.text("speech") == "good" and shown.swipe_count == 1
    assert [node.id for node in store.siblings(ANNE, ballot.conversation_id, shown.id)] == [shown.id]
    with pytest.raises(InputError, match="only one reply"):
        store.add_choice(ANNE, ballot.conversation_id, shown.id)
    store.delete_turn(ANNE, ballot.conversation_id, question.id)
    left = sql(Path(store.where.strip("'")), "SELECT origin FROM nodes WHERE deleted_at IS NULL")
    assert left == [("greeting",)] and not list(voted_pairs(store))


def test_a_repeat_is_an_older_answered_ballot_and_changes_no_chat(store: Store) -> None:
    first, second = asked(store)[1], asked(store)[1]
    catch = asked(store, side("bad", planted=True), side("good"))[1]
    assert store.repeatable(ANNE) is None
    store.vote(ANNE, first.id, Vote(winner="a"), go_on=True)
    assert store.repeatable(ANNE) is None  # the last one is still in mind
    store.vote(ANNE, second.id, Vote(winner="a"), go_on=True)
    assert store.repeatable(ANNE) == first.id and store.repeatable(BEN) is None
    store.vote(ANNE, catch.id, Vote(winner="tie"), go_on=True)
    repeat = store.repeat_ballot(ANNE, first.id)
    assert store.repeatable(ANNE) == second.id and repeat.arms == first.arms
    shown, before = store.waiting_repeat(ANNE), head(store, first)
    assert shown is not None and shown.ballot == repeat and shown.ballot.shown_ids == first.shown_ids[::-1]
    store.vote(ANNE, repeat.id, Vote(winner="b"), go_on=True)
    assert head(store, first) == before and store.waiting_repeat(ANNE) is None
    again = store.repeat_ballot(ANNE, second.id)
    store.go_on(ANNE, again.id, None)
    assert store.waiting_repeat(ANNE) is None and store.repeatable(ANNE) is None


def test_a_pair_whose_reply_was_deleted_waits_no_more(store: Store) -> None:
    _, ballot = asked(store)
    store.delete_turn(ANNE, ballot.conversation_id, ballot.a_id)
    assert store.waiting_pair(ANNE, ballot.conversation_id) is None
