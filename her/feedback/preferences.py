"""Votes, ratings, edits and choices as preferences with verdicts, and statistics of them; her/feedback/export.py writes files.

Replies that the visitor stopped and replies that failed are left out of every file, because the model did not finish them;
truncated ones are left out where a model would learn to imitate them. Everything left out is counted.

Preferences come from her/feedback/pairs.py: votes, edits (the edit is preferred to its original), choices (the kept reply is
preferred to each swipe), rewritten plans and thoughts (the turn that follows from them is preferred) and stars (two swipes that
one person rated under one prompt).
"""

from collections import Counter
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from her.feedback.pairs import compared_pairs, same_content
from her.feedback.rubric import RUBRIC
from her.feedback.votes import rater, rater_votes
from her.store import Rating, Seen, Store
from her.store.exports import (
    EVERYTHING,
    ExportedReply,
    ExportFilter,
    chosen_replies,
    edited_replies,
    rated_replies,
    totals,
)
from her.types import Preference

WELL_RATED = 4.0
"""Smallest mean of stars of a reply that a model may imitate."""


def mean_stars(rating: Rating) -> float | None:
    """Return the mean over the rated dimensions; None without any."""
    return fmean(rating.stars.values()) if rating.stars else None


def well_rated(rating: Rating) -> bool:
    """Tell whether a rating is good: thumb up, or a mean of at least WELL_RATED stars without a thumb down."""
    mean = mean_stars(rating)
    return rating.thumb == 1 or (rating.thumb != -1 and mean is not None and mean >= WELL_RATED)


def preferences(store: Store, left_out: Counter[str] | None = None, only: ExportFilter = EVERYTHING) -> Iterator[Preference]:
    """Yield preferences from votes, then edits, choices, rewritten plans and thoughts, and stars.

    A pair that an earlier source decided is not repeated. `left_out` counts what is not a preference, by reason.
    """
    counts = left_out if left_out is not None else Counter()
    decided: set[tuple[str, str, str]] = set()
    for pair in compared_pairs(store, counts, only):
        chosen, rejected = pair.chosen, pair.rejected
        ids = (pair.visitor_id, min(chosen.node.id, rejected.node.id), max(chosen.node.id, rejected.node.id))
        reason = "pair decided before" if ids in decided else _unfit_pair(chosen, rejected)
        decided.add(ids)
        if reason:
            counts[reason] += 1
        else:
            yield Preference(
                prompt=rejected.prompt,
                chosen=chosen.node.turn,
                rejected=rejected.node.turn,
                verdict=pair.verdict,
                margin=pair.margin,
                rater=rater(pair.visitor_id),
                conversation=rejected.node.conversation_id,
            )


def stats(store: Store) -> dict[str, Any]:
    """Return counts, and means with their n, over all and by persona, as JSON values. Withdrawn and deleted rows do not count."""
    counts: Counter[str] = Counter(dict.fromkeys(("turns", "chats", "thumbs_up", "thumbs_down"), 0))
    tags: Counter[str] = Counter()
    thoughts: Counter[str] = Counter()
    raters: set[str] = set()
    everyone: dict[str, list[int]] = {}  # stars by dimension
    personas: dict[str, dict[str, list[int]]] = {}
    ratings_of: Counter[str] = Counter()
    for row in rated_replies(store):
        rating = row.rated.rating
        counts.update({"characters" if row.rated.character else "chats" if row.reply is None else "turns": 1})
        counts.update({"thumbs_up": int(rating.thumb == 1), "thumbs_down": int(rating.thumb == -1)})
        tags.update(rating.tags)
        if row.reply is not None:
            thoughts[_thoughts(rating.seen)] += 1
        raters.add(row.rated.visitor_id)
        persona = row.persona_id or row.speaker
        ratings_of[persona] += 1
        stars = personas.setdefault(persona, {})
        for dimension, count in rating.stars.items():
            everyone.setdefault(dimension, []).append(count)
            stars.setdefault(dimension, []).append(count)
    return totals(store) | {
        "raters": len(raters),
        "ratings": dict(counts),
        "edits": sum(1 for _ in edited_replies(store)),
        "choices": sum(1 for _ in chosen_replies(store)),
        "votes": len(rater_votes(store)),
        "dimensions": _means(everyone),
        "tags": dict(tags.most_common()),
        "thoughts": dict(sorted(thoughts.items())),
        "personas": {
            name: {"ratings": ratings_of[name], "dimensions": _means(stars)} for name, stars in sorted(personas.items())
        },
    }


def _thoughts(seen: Seen) -> str:
    """Return how the inner thoughts stood when a turn was rated: `open`, `closed`, `none`, or `unknown` in rows of version 1."""
    opened = seen.saw("role_thinking")
    if opened is None:
        return "unknown" if seen.version == 1 else "none"
    return "open" if opened else "closed"


def _means(stars: dict[str, list[int]]) -> dict[str, dict[str, float | int]]:
    order = [label.id for label in RUBRIC.dimensions]
    known = sorted(stars, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: {"mean": round(fmean(stars[name]), 3), "n": len(stars[name])} for name in known}


def unfit(reply: ExportedReply, *, imitated: bool) -> str:
    """Return why training cannot use this reply, or an empty text; `imitated` where a model would learn to write it."""
    if reply.generation is None:
        return "no model wrote it"
    if not reply.edited and reply.generation.finish in ("stopped", "failed"):
        return f"generation {reply.generation.finish}"
    if imitated and not reply.edited and reply.generation.finish == "length":
        return "generation truncated"
    if imitated and not reply.node.turn.spoken:
        return "nothing visible in it"
    return "" if reply.node.turn.parts else "nothing in it"


def _unfit_pair(chosen: ExportedReply, rejected: ExportedReply) -> str:
    """Return why two replies make no preference, or an empty text."""
    if reason := unfit(rejected, imitated=False) or unfit(chosen, imitated=True):
        return reason
    if chosen.prompt != rejected.prompt:
        return "prompts differ"
    return "replies are the same" if same_content(chosen, rejected) else ""
