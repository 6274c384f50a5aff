"""Compare two replies by what one person did: a blind vote, an edit, a kept swipe, stars that differ.

Only replies to one prompt are compared, and only opinions of one person. A margin of 1 is a clear difference: a vote, an edit
and a kept swipe have it, and a difference of stars is divided by the rater's own spread, since some use all five stars and
others two of them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations, groupby
from statistics import fmean
from typing import Literal, NamedTuple

from her.feedback.votes import merged_raters, opinions, rater, rater_votes, vote_verdict
from her.format import normalise
from her.store import Store
from her.store.exports import (
    EVERYTHING,
    ExportedReply,
    ExportFilter,
    RatedReply,
    VotedPair,
    chosen_replies,
    edited_replies,
    rated_replies,
    stars_given,
    voted_pairs,
)
from her.types import Comparison, Turn, Verdict

MARGIN = 0.75
"""Smallest difference of two means of stars that is a preference, in spreads of the rater: a whole star for the usual one."""
USUAL_SPREAD, USUAL_RATINGS = 1.0, 10
"""Spread of stars that is taken for a new rater, and how many ratings of their own outweigh it."""


class ComparedReplies(NamedTuple):
    """Two replies, the better one first, by one visitor; the verdict says how it was found."""

    visitor_id: str
    chosen: ExportedReply
    rejected: ExportedReply
    verdict: Verdict
    margin: float = 1.0


def compared_pairs(store: Store, left_out: Counter[str], only: ExportFilter = EVERYTHING) -> Iterator[ComparedReplies]:
    """Yield pairs from votes, edits, kept swipes, rewritten plans and thoughts, and stars, in this order.

    `left_out` counts what makes no pair, by reason. Whoever rewrote a plan and then kept the old reply has decided against it.
    """
    yield from _voted(store, left_out, only)
    yield from _edited(store, left_out, only)
    for row in chosen_replies(store, only):
        verdict = Verdict(winner="a", reason="kept among swipes", judge=rater(row.choice.visitor_id))
        for swipe in row.alternatives:
            yield ComparedReplies(row.choice.visitor_id, row.chosen, swipe, verdict)
    yield from _steered(store, only)
    spread = spreads(store)
    rated = (row for row in rated_replies(store, only) if row.reply is not None and row.rated.rating.stars)
    for _, swipes in groupby(rated, key=_place):  # the store yields the swipes of one place as neighbours
        for first, second in combinations(list(swipes), 2):
            yield from _star_pair(first, second, _shared(first, second, only.dimension), spread, left_out)


def spreads(store: Store) -> dict[str, float]:
    """Return the standard deviation of each visitor's mean stars, shrunk to USUAL_SPREAD by USUAL_RATINGS."""
    means: dict[str, list[float]] = defaultdict(list)
    for visitor_id, stars in stars_given(store):
        means[visitor_id].append(fmean(stars.values()))
    return {visitor_id: _spread(own) for visitor_id, own in means.items()}


def same_content(first: ExportedReply, second: ExportedReply) -> bool:
    """Tell whether two replies have the same parts."""
    return _parts(first.node.turn) == _parts(second.node.turn)


def _spread(means: list[float]) -> float:
    middle = fmean(means)
    squares = sum((mean - middle) ** 2 for mean in means) + USUAL_RATINGS * USUAL_SPREAD**2
    return math.sqrt(squares / (len(means) - 1 + USUAL_RATINGS))


def _voted(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[ComparedReplies]:
    """Yield one pair for each visitor and pair of candidates; a repeat that disagrees takes the vote back."""
    votes = rater_votes(store, only)
    decided = opinions(votes)
    for name, pairs in merged_raters(votes).items():
        left_out[f"{name} voted against themselves"] += len(pairs)
    for row in voted_pairs(store, only):
        key = rater(row.ballot.visitor_id), row.ballot.pair
        if row.ballot.worse is not None:
            left_out["catch pair"] += 1
        elif (opinion := decided.pop(key, None)) is not None:  # its first vote; the repeats of it are in the opinion
            if opinion.unclear:
                left_out[opinion.unclear] += 1
            elif reason := _truncated(row):
                left_out[reason] += 1
            else:
                yield _vote_pair(row, opinion.value)


def _vote_pair(row: VotedPair, opinion: float) -> ComparedReplies:
    verdict = vote_verdict(row.ballot, row.vote).model_copy(update={"winner": "a" if opinion > 0 else "b"})
    chosen, rejected = (row.a, row.b) if opinion > 0 else (row.b, row.a)
    return ComparedReplies(row.ballot.visitor_id, chosen, rejected, verdict, abs(opinion))


def _truncated(row: VotedPair) -> str:
    """Return why a vote says nothing of quality: one side was cut at its limit, and the vote may be about that."""
    finishes = [reply.generation.finish for reply in (row.a, row.b) if reply.generation and not reply.edited]
    return "generation truncated" if "length" in finishes else ""


def _edited(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[ComparedReplies]:
    for edit in edited_replies(store, only):
        if edit.rewritten is not None:
            continue  # the model wrote the rest of it: see `_steered`
        if same_content(edit.original, edit.edited):
            left_out["edit changed nothing"] += 1
        else:
            verdict = Verdict(winner="a", reason="edited by hand", judge=rater(edit.visitor_id))
            yield ComparedReplies(edit.visitor_id, edit.edited, edit.original, verdict)


def _steered(store: Store, only: ExportFilter) -> Iterator[ComparedReplies]:
    """Yield the turns that go on from a rewritten plan or thought, each preferred to the turn that had the old one."""
    for edit in edited_replies(store, only):
        if edit.rewritten is not None:
            verdict = Verdict(winner="a", reason=f"{edit.rewritten.kind} rewritten", judge=rater(edit.visitor_id))
            yield ComparedReplies(edit.visitor_id, edit.edited, edit.original, verdict)


def _place(row: RatedReply) -> tuple[str, str, str | None]:
    assert row.reply is not None
    return row.rated.visitor_id, row.rated.conversation_id, row.reply.node.parent_id


def _shared(first: RatedReply, second: RatedReply, dimension: str) -> list[str]:
    """Return the dimensions in which two replies are compared: those that both have stars in, or one of them."""
    both = [name for name in first.rated.rating.stars if name in second.rated.rating.stars]
    return [name for name in both if not dimension or name == dimension]


def _star_pair(
    first: RatedReply, second: RatedReply, shared: list[str], spread: dict[str, float], left_out: Counter[str]
) -> Iterator[ComparedReplies]:
    """Yield the better of two swipes by the shared dimensions, when their means are at least MARGIN spreads apart."""
    if not shared or first.reply is None or second.reply is None:
        left_out["no dimension rated in both"] += 1
        return
    means = [fmean(row.rated.rating.stars[name] for name in shared) for row in (first, second)]
    margin = abs(means[0] - means[1]) / spread[first.rated.visitor_id]
    if margin < MARGIN:
        left_out[f"stars less than {MARGIN:g} spreads apart"] += 1
        return
    better, worse = (first, second) if means[0] > means[1] else (second, first)
    comparisons = tuple(_comparison(name, better, worse) for name in shared)
    verdict = Verdict(comparisons=comparisons, winner="a", reason="stars", judge=rater(first.rated.visitor_id))
    assert better.reply is not None and worse.reply is not None
    yield ComparedReplies(first.rated.visitor_id, better.reply, worse.reply, verdict, margin)


def _comparison(name: str, a: RatedReply, b: RatedReply) -> Comparison:
    left, right = a.rated.rating.stars[name], b.rated.rating.stars[name]
    winner: Literal["a", "b", "tie"] = "tie" if left == right else "a" if left > right else "b"
    return Comparison(principle=name, winner=winner, reason=f"{left} stars to {right}")


def _parts(turn: Turn) -> object:
    return normalise(turn.parts, turn.speaker)
