"""Votes, ratings, edits and choices as training data: preferences with verdicts, labelled replies, export files, statistics.

Replies that the visitor stopped and replies that failed are left out of every file, because the model did not finish them;
truncated ones are left out where a model would learn to imitate them. Everything left out is counted.

Preferences come from her/feedback/pairs.py: votes, edits (the edit is preferred to its original), choices (the kept reply is
preferred to each swipe) and stars (two swipes that one person rated under one prompt).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from statistics import fmean
from typing import Any, Literal

from her.feedback.pairs import compared_pairs, same_content
from her.feedback.rubric import RUBRIC
from her.feedback.votes import rater, rater_votes
from her.format import render
from her.store import Rating, Store
from her.store.exports import ExportedReply, chosen_replies, edited_replies, rated_replies, totals
from her.types import Message, Preference, Turn, Value

ExportFormat = Literal["jsonl", "sft", "preference", "kto"]
WELL_RATED = 4.0
"""Smallest mean of stars of a reply that a model may imitate."""


class Exported(Value):
    """Number of lines written, and of rows left out by reason."""

    written: int
    left_out: dict[str, int]


def export(store: Store, format: ExportFormat, write: Callable[[str], object]) -> Exported:
    """Pass every line of the export, with its line end, to `write`. Withdrawn and deleted rows are not exported.

    Args:
        store: where ratings are read from.
        format: `jsonl` has one rating a line. `sft`, `preference` and `kto` are conversational datasets of TRL 1.16:
            prompt and completion; prompt, chosen and rejected; prompt, completion and label.
        write: called once a line.
    """
    left_out: Counter[str] = Counter()
    formats = {"jsonl": _jsonl, "sft": _sft, "preference": _preference, "kto": _kto}
    written = 0
    for row in formats[format](store, left_out):
        write(json.dumps(row, ensure_ascii=False) + "\n")
        written += 1
    return Exported(written=written, left_out=dict(sorted(left_out.items())))


def mean_stars(rating: Rating) -> float | None:
    """Return the mean over the rated dimensions; None without any."""
    return fmean(rating.stars.values()) if rating.stars else None


def well_rated(rating: Rating) -> bool:
    """Tell whether a rating is good: thumb up, or a mean of at least WELL_RATED stars without a thumb down."""
    mean = mean_stars(rating)
    return rating.thumb == 1 or (rating.thumb != -1 and mean is not None and mean >= WELL_RATED)


def preferences(store: Store, left_out: Counter[str] | None = None) -> Iterator[Preference]:
    """Yield preferences from votes, then edits, choices and stars; a pair that an earlier source decided is not repeated.

    `left_out` counts what is not a preference, by reason.
    """
    counts = left_out if left_out is not None else Counter()
    decided: set[tuple[str, str, str]] = set()
    for pair in compared_pairs(store, counts):
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
    raters: set[str] = set()
    everyone: dict[str, list[int]] = {}  # stars by dimension
    personas: dict[str, dict[str, list[int]]] = {}
    ratings_of: Counter[str] = Counter()
    for row in rated_replies(store):
        rating = row.rated.rating
        counts.update({"characters" if row.rated.character else "chats" if row.reply is None else "turns": 1})
        counts.update({"thumbs_up": int(rating.thumb == 1), "thumbs_down": int(rating.thumb == -1)})
        tags.update(rating.tags)
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
        "personas": {
            name: {"ratings": ratings_of[name], "dimensions": _means(stars)} for name, stars in sorted(personas.items())
        },
    }


def _means(stars: dict[str, list[int]]) -> dict[str, dict[str, float | int]]:
    order = [label.id for label in RUBRIC.dimensions]
    known = sorted(stars, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: {"mean": round(fmean(stars[name]), 3), "n": len(stars[name])} for name in known}


def _unfit(reply: ExportedReply, *, imitated: bool) -> str:
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
    if reason := _unfit(rejected, imitated=False) or _unfit(chosen, imitated=True):
        return reason
    if chosen.prompt != rejected.prompt:
        return "prompts differ"
    return "replies are the same" if same_content(chosen, rejected) else ""


def _messages(prompt: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in prompt]


def _completion(turn: Turn) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": render(turn.parts, turn.speaker)}]


def _jsonl(store: Store, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield every rating with everything it refers to, ratings of greetings and whole chats included."""
    for row in rated_replies(store):
        rating = row.rated.rating.model_dump(mode="json")
        reply, generation = row.reply, row.reply.generation if row.reply else None
        if reply and generation and (reason := _unfit(reply, imitated=False)).startswith("generation"):
            left_out[reason] += 1
            continue
        yield {
            "conversation_id": row.rated.conversation_id,
            "persona_id": row.persona_id,
            "speaker": row.speaker,
            "language": row.language,
            "rater": rater(row.rated.visitor_id),
            "rubric": rating.pop("rubric"),
            "seen": rating.pop("seen"),
            "rating": rating,
            "created_at": row.rated.created_at,
            "origin": reply.node.origin if reply else None,
            "turn": reply.node.turn.model_dump(mode="json") if reply else None,
            "prompt": _messages(reply.prompt) if reply else [],
            "model": generation.model if generation else None,
            "revision": generation.revision if generation else None,
            "sampling": generation.sampling.model_dump(mode="json") if generation else None,
            "finish": generation.finish if generation else None,
        }


def _usable(store: Store, left_out: Counter[str], judge: Callable[[Rating], bool | None]) -> Iterator[tuple[ExportedReply, bool]]:
    """Yield the rated replies that training can use, each with the label that `judge` gives; None is no opinion."""
    for row in rated_replies(store):
        label = judge(row.rated.rating)
        if row.reply is None:
            left_out["rating of a whole chat"] += 1
        elif label is None:
            left_out["no clear opinion"] += 1
        elif reason := _unfit(row.reply, imitated=label):
            left_out[reason] += 1
        else:
            yield row.reply, label


def _sft(store: Store, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield rows with the columns of a synthesis. `transcript` is the chat, so that training never splits one chat."""
    for reply, _ in _usable(store, left_out, lambda rating: well_rated(rating) or None):
        node = reply.node
        yield {
            "prompt": _messages(reply.prompt),
            "completion": _completion(node.turn),
            "turn": node.id,
            "transcript": node.conversation_id,
            "speaker": node.turn.speaker,
        }


def _kto(store: Store, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    for reply, good in _usable(store, left_out, lambda rating: {1: True, -1: False}.get(rating.thumb or 0)):
        yield {"prompt": _messages(reply.prompt), "completion": _completion(reply.node.turn), "label": good}


def _preference(store: Store, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    for preference in preferences(store, left_out):
        yield {
            "prompt": _messages(preference.prompt),
            "chosen": _completion(preference.chosen),
            "rejected": _completion(preference.rejected),
        }
