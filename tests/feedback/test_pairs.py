"""her/feedback/pairs.py and votes.py through the store: votes and stars become preferences, each fault is counted."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from her.feedback.pairs import spreads
from her.feedback.preferences import preferences, stats
from her.feedback.votes import merged_raters, rater, rater_votes
from her.store import Ballot, Node, Store, Vote
from her.types import Message, Outcome, Preference
from tests.store.samples import ANNE, BEN, PROMPT, generation, greeted, opened, rating, reply, turn


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = opened(tmp_path)
    store.ensure_visitor(BEN)
    yield store
    store.close()


def swipes(store: Store, first: str = "good", second: str = "bad", **fields: Any) -> tuple[Node, Node]:
    _, asked = greeted(store)
    return reply(store, asked, first, **fields), reply(store, asked, second)


def cast(store: Store, shown: tuple[Node, Node], better: Node | Outcome, visitor_id: str = ANNE, **fields: Any) -> Ballot:
    """Show two replies and vote for one of them, or for neither."""
    ids = (shown[0].id, shown[1].id)
    ballot = store.add_ballot(visitor_id, shown[0].conversation_id, ids)
    store.vote(visitor_id, ballot.id, Vote(winner=_winner(ballot, better), **fields))
    return ballot


def again(store: Store, ballot: Ballot, better: Node | Outcome, visitor_id: str = ANNE) -> None:
    repeat = store.repeat_ballot(visitor_id, ballot.id)
    store.vote(visitor_id, repeat.id, Vote(winner=_winner(repeat, better)))


def _winner(ballot: Ballot, better: Node | Outcome) -> Outcome:
    if not isinstance(better, Node):
        return better
    return "a" if ballot.a_id == better.id else "b"


def read(store: Store) -> tuple[list[Preference], dict[str, int]]:
    left_out: Counter[str] = Counter()
    return list(preferences(store, left_out)), dict(left_out)


def test_a_vote_is_a_preference_with_its_verdict(store: Store) -> None:
    good, bad = swipes(store)
    ballot = cast(store, (bad, good), good, BEN, dimensions={"voice": "tie"}, why=("p1",), principles="f" * 64)
    (pair,), left_out = read(store)
    assert (pair.chosen, pair.rejected, pair.prompt) == (good.turn, bad.turn, PROMPT) and not left_out
    assert (pair.rater, pair.margin, pair.conversation) == (rater(BEN), 1.0, good.conversation_id)
    winner = _winner(ballot, good)
    assert (pair.verdict.winner, pair.verdict.first, pair.verdict.principles) == (winner, ballot.first, "f" * 64)
    assert [(each.principle, each.winner) for each in pair.verdict.comparisons] == [("voice", "tie"), ("p1", winner)]
    assert stats(store)["votes"] == 1


@pytest.mark.parametrize("shown_first", ["good", "bad"])
def test_sides_do_not_matter(store: Store, shown_first: str) -> None:
    good, bad = swipes(store)
    cast(store, (good, bad) if shown_first == "good" else (bad, good), good)
    (pair,), _ = read(store)
    assert pair.chosen.text("speech") == "good"
    (vote,) = rater_votes(store)
    assert (vote.winner == vote.left) == (shown_first == "good")


@pytest.mark.parametrize(("outcome", "reason"), [("tie", "tie"), ("both_bad", "both bad")])
def test_no_winner_is_no_preference(store: Store, outcome: Outcome, reason: str) -> None:
    cast(store, swipes(store), outcome)
    assert read(store) == ([], {reason: 1})
    (vote,) = rater_votes(store)
    assert vote.winner == outcome


def test_a_repeat_confirms_or_takes_back(store: Store) -> None:
    confirmed, weakened, retracted = swipes(store), swipes(store), swipes(store)
    again(store, cast(store, confirmed, confirmed[0]), confirmed[0])
    again(store, cast(store, weakened, weakened[0]), "tie")
    again(store, cast(store, retracted, retracted[0]), retracted[1])
    pairs, left_out = read(store)
    assert [pair.margin for pair in pairs] == [1.0, 0.5] and left_out == {"repeat disagrees": 1}
    assert [vote.repeat for vote in rater_votes(store)] == [False, True] * 3


def test_a_catch_pair_is_a_check_and_no_preference(store: Store) -> None:
    good, _ = swipes(store)
    asked = str(good.parent_id)
    bad = store.add_turn(ANNE, good.conversation_id, asked, turn("."), "planted", move_head=False)
    ballot = store.add_ballot(ANNE, good.conversation_id, (good.id, bad.id), worse_id=bad.id)
    store.vote(ANNE, ballot.id, Vote(winner=_winner(ballot, good)))
    assert read(store) == ([], {"catch pair": 1})
    (vote,) = rater_votes(store)
    assert vote.worse == _winner(ballot, bad) != vote.winner


def test_a_visitor_who_votes_against_themselves_is_reported(store: Store) -> None:
    good, bad = swipes(store)
    cast(store, (good, bad), good)
    cast(store, (good, bad), bad)  # another browser with the same code: not a repeat
    other = swipes(store)
    again(store, cast(store, other, other[0]), other[1])  # careless, but one person
    same = swipes(store)
    cast(store, same, same[0])
    cast(store, same, same[0])
    pairs, left_out = read(store)
    assert len(pairs) == 1 and pairs[0].chosen == same[0].turn
    assert left_out[f"{rater(ANNE)} voted against themselves"] == left_out["voted against themselves"] == 1
    (found,) = merged_raters(rater_votes(store)).items()
    assert found == (rater(ANNE), ("-".join(sorted((good.id, bad.id))),))


@pytest.mark.parametrize("side", [0, 1], ids=["chosen", "rejected"])
def test_a_vote_on_a_truncated_reply_may_be_about_the_cut(store: Store, side: int) -> None:
    shown = swipes(store, finish="length")
    cast(store, shown, shown[side])
    assert read(store) == ([], {"generation truncated": 1})


def test_prompts_that_differ_and_equal_replies_are_left_out(store: Store) -> None:
    _, asked = greeted(store)
    changed = generation(prompt=(*PROMPT, Message(role="user", content="Cassio: Well?")))
    other = store.add_turn(ANNE, asked.conversation_id, asked.id, turn("new prompt"), "model", generation=changed)
    cast(store, (reply(store, asked, "one"), other), other)
    cast(store, swipes(store, "same", "same"), "a")
    assert read(store) == ([], {"prompts differ": 1, "replies are the same": 1})


def test_a_vote_comes_before_a_choice_of_the_same_visitor_only(store: Store) -> None:
    good, bad = swipes(store)
    cast(store, (good, bad), good)
    cast(store, (good, bad), bad, BEN)
    store.add_choice(ANNE, good.conversation_id, bad.id)
    pairs, left_out = read(store)
    assert [(pair.rater, pair.chosen.text("speech")) for pair in pairs] == [(rater(ANNE), "good"), (rater(BEN), "bad")]
    assert left_out == {"pair decided before": 1}


Withdrawal = Callable[[Store, tuple[Node, Node]], None]
WITHDRAWALS: dict[str, Withdrawal] = {
    "the voter": lambda store, shown: store.withdraw_visitor(BEN),
    "the owner": lambda store, shown: store.withdraw_visitor(ANNE),
    "the chat": lambda store, shown: store.delete_conversation(ANNE, shown[0].conversation_id),
    "a side": lambda store, shown: store.delete_turn(ANNE, shown[0].conversation_id, shown[1].id),
}


@pytest.mark.parametrize("withdraw", WITHDRAWALS.values(), ids=WITHDRAWALS.keys())
def test_votes_of_withdrawn_people_and_deleted_turns_are_nowhere(store: Store, withdraw: Withdrawal) -> None:
    shown = swipes(store)
    cast(store, shown, shown[0], BEN)
    assert len(read(store)[0]) == len(rater_votes(store)) == stats(store)["votes"] == 1
    withdraw(store, shown)
    assert (read(store)[0], rater_votes(store), stats(store)["votes"]) == ([], (), 0)


def rate_all(store: Store, visitor_id: str, counts: list[int]) -> list[Node]:
    """Rate replies to one line, one by one."""
    _, asked = greeted(store, visitor_id)
    nodes = [reply(store, asked, f"{number}", visitor_id=visitor_id) for number in range(len(counts))]
    for node, count in zip(nodes, counts, strict=True):
        store.rate(visitor_id, node.conversation_id, node.id, rating(stars={"voice": count}))
    return nodes


@pytest.mark.whole
def test_a_margin_of_stars_is_in_spreads_of_the_rater(store: Store) -> None:
    rate_all(store, ANNE, [1, 5] * 6)  # uses the whole scale
    rate_all(store, BEN, [4, 4, 5, 4] * 6)
    wide, narrow = (spreads(store)[visitor_id] for visitor_id in (ANNE, BEN))
    assert narrow < 0.8 < 1.5 < wide
    pairs, _ = read(store)
    margins = {name: {round(pair.margin, 6) for pair in pairs if pair.rater == rater(name)} for name in (ANNE, BEN)}
    assert margins == {ANNE: {round(4 / wide, 6)}, BEN: {round(1 / narrow, 6)}}
    bens = [pair for pair in pairs if pair.rater == rater(BEN)]
    assert len(bens) == 6 * 18, "one star is much for somebody who gives 4 and 5"


def test_one_star_is_little_for_somebody_who_uses_all_five(store: Store) -> None:
    rate_all(store, ANNE, [1, 5] * 8)
    rate_all(store, ANNE, [4, 5])
    pairs, left_out = read(store)
    assert len(pairs) == 64 and left_out == {"stars less than 0.75 spreads apart": 2 * 28 + 1}
