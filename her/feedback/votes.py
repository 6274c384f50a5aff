"""Read blind votes from the store as values of raters, and as verdicts."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from her.feedback.raters import SIDES, RaterVote
from her.store import Ballot, Store, Vote
from her.store.exports import EVERYTHING, ExportFilter, votes_cast
from her.store.pseudonyms import pseudonym
from her.types import Comparison, Verdict, Winner


def rater(visitor_id: str) -> str:
    """Return the name of a person in verdicts and files: a made-up one, from which nobody finds the visitor's id."""
    return f"rater:{pseudonym(visitor_id)}"


def rater_votes(store: Store, only: ExportFilter = EVERYTHING) -> tuple[RaterVote, ...]:
    """Return all votes that count, oldest first; nothing of withdrawn people, deleted chats and deleted turns."""
    cast = ((ballot, on_dimension(vote, only.dimension)) for ballot, vote in votes_cast(store, only))
    return tuple(_rater_vote(ballot, vote) for ballot, vote in cast if vote is not None)


def on_dimension(vote: Vote, dimension: str) -> Vote | None:
    """Return a vote with the winner that it names in a dimension, None where it names none; the vote itself for no dimension."""
    if not dimension:
        return vote
    winner = vote.dimensions.get(dimension)
    return None if winner is None else vote.model_copy(update={"winner": winner, "dimensions": {dimension: winner}, "why": ()})


def _rater_vote(ballot: Ballot, vote: Vote) -> RaterVote:
    return RaterVote(
        rater=rater(ballot.visitor_id),
        pair=ballot.pair,
        winner=vote.winner,
        left=ballot.first,
        worse=ballot.worse,
        repeat=ballot.repeat_of is not None,
        conversation=ballot.conversation_id,
        arms=None if ballot.arms is None else (ballot.arms[0].name, ballot.arms[1].name),
    )


def vote_verdict(ballot: Ballot, vote: Vote) -> Verdict:
    """Return a vote as a verdict: dimensions and reasons are its comparisons; a reason counts for the winner."""
    reasons: Winner = vote.winner if vote.winner != "both_bad" else "tie"
    comparisons = [Comparison(principle=name, winner=winner) for name, winner in vote.dimensions.items()]
    comparisons += [Comparison(principle=name, winner=reasons) for name in vote.why]
    return Verdict(
        comparisons=tuple(comparisons),
        winner=vote.winner,
        reason="blind vote",
        judge=rater(ballot.visitor_id),
        first=ballot.first,
        principles=vote.principles,
    )


class Opinion(NamedTuple):
    """Opinion of one rater on one pair: 1 for a, -1 for b, the mean over repeats; `unclear` says why it is no preference."""

    value: float
    unclear: str = ""


def opinions(votes: Iterable[RaterVote]) -> dict[tuple[str, str], Opinion]:
    """Return the opinion of each rater on each pair that is no catch pair, by rater and pair."""
    cast: dict[tuple[str, str], list[RaterVote]] = defaultdict(list)
    for vote in votes:
        if vote.worse is None:
            cast[vote.rater, vote.pair].append(vote)
    return {key: _opinion(own) for key, own in cast.items()}


def _opinion(votes: list[RaterVote]) -> Opinion:
    value = sum(SIDES[vote.winner] for vote in votes) / len(votes)
    if against_oneself(votes):
        return Opinion(0.0, "voted against themselves")
    if value:
        return Opinion(value)
    if any(SIDES[vote.winner] for vote in votes):
        return Opinion(0.0, "repeat disagrees")
    return Opinion(0.0, "both bad" if all(vote.winner == "both_bad" for vote in votes) else "tie")


def against_oneself(votes: Iterable[RaterVote]) -> bool:
    """Tell whether votes of one rater on one pair, repeats aside, name different winners: two people, or one who guesses.

    Repeats may disagree, since they measure care; a pair that is shown twice without being a repeat comes from two people whose
    votes were merged by mistake, from a shared device or a code that was passed on.
    """
    return len({vote.winner for vote in votes if not vote.repeat and SIDES[vote.winner]}) > 1


def merged_raters(votes: Iterable[RaterVote]) -> dict[str, tuple[str, ...]]:
    """Return the pairs on which a rater voted against themselves, by rater; raters without any are not named."""
    cast: dict[tuple[str, str], list[RaterVote]] = defaultdict(list)
    for vote in votes:
        cast[vote.rater, vote.pair].append(vote)
    found: dict[str, list[str]] = defaultdict(list)
    for (name, pair), own in sorted(cast.items()):
        if against_oneself(own):
            found[name].append(pair)
    return {name: tuple(pairs) for name, pairs in found.items()}
