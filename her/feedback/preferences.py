"""What people said, as training sees it: preferences with verdicts, labelled replies, statistics and export files.

Replies that were stopped by the visitor or failed say nothing about the model and are left out of every file; so are
truncated ones where they would be imitated. What is left out is counted. Pairs come from edits (the edit over the
original), choices (the kept one over each swipe) and stars (one person, one prompt, means at least MARGIN apart).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, groupby
from statistics import fmean
from typing import Any, Literal

from her.feedback.rubric import RUBRIC, Label, Rubric, check, read_rating
from her.format import normalise, render
from her.store import Rating, Store
from her.store.exports import ExportedReply, RatedReply, chosen_replies, edited_replies, rated_replies, totals
from her.types import Comparison, Message, Preference, Turn, Value, Verdict

__all__ = [
    "RUBRIC",
    "ExportFormat",
    "Exported",
    "Label",
    "Rubric",
    "check",
    "export",
    "preferences",
    "read_rating",
    "stats",
]

ExportFormat = Literal["jsonl", "sft", "preference", "kto"]
MARGIN = 1.0
WELL_RATED = 4.0


class Exported(Value):
    """Lines written, and why others were not."""

    written: int
    left_out: dict[str, int]


def export(store: Store, format: ExportFormat, write: Callable[[str], object]) -> Exported:
    """Give every line of the export, with its line end, to `write`; tombstones are applied.

    Formats: `jsonl` one rating a line; `sft`, `preference` and `kto` the conversational datasets of TRL 1.16
    (prompt and completion; prompt, chosen and rejected; prompt, completion and label).
    """
    left_out: Counter[str] = Counter()
    makers = {"jsonl": _jsonl, "sft": _sft, "preference": _preference, "kto": _kto}
    written = 0
    for line in makers[format](store, left_out):
        write(json.dumps(line, ensure_ascii=False) + "\n")
        written += 1
    return Exported(written=written, left_out=dict(sorted(left_out.items())))


def rater(visitor_id: str) -> str:
    """How verdicts and files name a person: enough to tell raters apart, not the id itself."""
    return f"rater:{visitor_id[:12]}"


def mean_stars(rating: Rating) -> float | None:
    """Mean over the dimensions that were rated; None without any."""
    return fmean(rating.stars.values()) if rating.stars else None


def well_rated(rating: Rating) -> bool:
    """Thumb up, or a mean of at least four stars; a thumb down outweighs stars."""
    mean = mean_stars(rating)
    return rating.thumb == 1 or (rating.thumb != -1 and mean is not None and mean >= WELL_RATED)


def preferences(store: Store, left_out: Counter[str] | None = None) -> Iterator[Preference]:
    """Edits, then choices, then stars as preferences; a pair that an earlier source decided is not repeated."""
    counts = left_out if left_out is not None else Counter()
    decided: set[tuple[str, str, str]] = set()
    for visitor_id, chosen, rejected, verdict in _pairs(store, counts):
        ids = (visitor_id, min(chosen.node.id, rejected.node.id), max(chosen.node.id, rejected.node.id))
        why = "said before" if ids in decided else _unfit_pair(chosen, rejected)
        decided.add(ids)
        if why:
            counts[why] += 1
        else:
            yield Preference(prompt=rejected.prompt, chosen=chosen.node.turn, rejected=rejected.node.turn, verdict=verdict)


def stats(store: Store) -> dict[str, Any]:
    """Counts, and means with their n, over all and by persona; JSON-like. Withdrawn and deleted ones are not in it."""
    counts: Counter[str] = Counter(dict.fromkeys(("turns", "chats", "thumbs_up", "thumbs_down"), 0))
    tags: Counter[str] = Counter()
    raters: set[str] = set()
    everyone: dict[str, list[int]] = {}
    personas: dict[str, dict[str, list[int]]] = {}
    for row in rated_replies(store):
        rating = row.rated.rating
        counts.update({"chats" if row.reply is None else "turns": 1})
        counts.update({"thumbs_up": int(rating.thumb == 1), "thumbs_down": int(rating.thumb == -1)})
        tags.update(rating.tags)
        raters.add(row.rated.visitor_id)
        own = personas.setdefault(row.persona_id or row.speaker, {"": []})
        own[""].append(1)
        for dimension, count in rating.stars.items():
            everyone.setdefault(dimension, []).append(count)
            own.setdefault(dimension, []).append(count)
    return totals(store) | {
        "raters": len(raters),
        "ratings": dict(counts),
        "edits": sum(1 for _ in edited_replies(store)),
        "choices": sum(1 for _ in chosen_replies(store)),
        "dimensions": _means(everyone),
        "tags": dict(tags.most_common()),
        "personas": {name: {"ratings": len(own.pop("")), "dimensions": _means(own)} for name, own in sorted(personas.items())},
    }


def _means(stars: dict[str, list[int]]) -> dict[str, dict[str, float | int]]:
    order = [label.id for label in RUBRIC.dimensions]
    known = sorted(stars, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: {"mean": round(fmean(stars[name]), 3), "n": len(stars[name])} for name in known}


Pair = tuple[str, ExportedReply, ExportedReply, Verdict]


def _pairs(store: Store, left_out: Counter[str]) -> Iterator[Pair]:
    """Visitor, chosen, rejected and why, from the three sources."""
    for edit in edited_replies(store):
        verdict = Verdict(winner="a", reason="edited by hand", judge=rater(edit.visitor_id))
        if _parts(edit.original.node.turn) == _parts(edit.edited.node.turn):
            left_out["edit changed nothing"] += 1
        else:
            yield edit.visitor_id, edit.edited, edit.original, verdict
    for row in chosen_replies(store):
        verdict = Verdict(winner="a", reason="kept among swipes", judge=rater(row.choice.visitor_id))
        for swipe in row.alternatives:
            yield row.choice.visitor_id, row.chosen, swipe, verdict
    rated = (one for one in rated_replies(store) if one.reply is not None and one.rated.rating.stars)
    for _, swipes in groupby(rated, key=_place):
        for first, second in combinations(list(swipes), 2):
            yield from _star_pair(first, second, left_out)


def _place(row: RatedReply) -> tuple[str, str, str | None]:
    assert row.reply is not None
    return row.rated.visitor_id, row.rated.conversation_id, row.reply.node.parent_id


def _star_pair(one: RatedReply, other: RatedReply, left_out: Counter[str]) -> Iterator[Pair]:
    """The better of two swipes by the dimensions rated in both, when their means are MARGIN apart."""
    shared = [name for name in one.rated.rating.stars if name in other.rated.rating.stars]
    if not shared or one.reply is None or other.reply is None:
        left_out["no dimension rated in both"] += 1
        return
    means = [fmean(row.rated.rating.stars[name] for name in shared) for row in (one, other)]
    if abs(means[0] - means[1]) < MARGIN:
        left_out[f"stars less than {MARGIN:g} apart"] += 1
        return
    better, worse = (one, other) if means[0] > means[1] else (other, one)
    comparisons = tuple(_comparison(name, better, worse) for name in shared)
    verdict = Verdict(comparisons=comparisons, winner="a", reason="stars", judge=rater(one.rated.visitor_id))
    assert better.reply is not None and worse.reply is not None
    yield one.rated.visitor_id, better.reply, worse.reply, verdict


def _comparison(name: str, a: RatedReply, b: RatedReply) -> Comparison:
    left, right = a.rated.rating.stars[name], b.rated.rating.stars[name]
    winner: Literal["a", "b", "tie"] = "tie" if left == right else "a" if left > right else "b"
    return Comparison(principle=name, winner=winner, reason=f"{left} stars to {right}")


def _parts(turn: Turn) -> object:
    return normalise(turn.parts, turn.speaker)


def _unfit(reply: ExportedReply, *, imitated: bool) -> str:
    """Why training cannot use this reply, or nothing; `imitated` where it is shown as good."""
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
    """Why two replies are no pair, or nothing."""
    if why := _unfit(rejected, imitated=False) or _unfit(chosen, imitated=True):
        return why
    if chosen.prompt != rejected.prompt:
        return "prompts differ"
    return "replies are the same" if _parts(chosen.node.turn) == _parts(rejected.node.turn) else ""


def _messages(prompt: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in prompt]


def _completion(turn: Turn) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": render(turn.parts, turn.speaker)}]


def _jsonl(store: Store, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """Every rating with all that it refers to, those of greetings and whole chats too."""
    for row in rated_replies(store):
        rating = row.rated.rating.model_dump(mode="json")
        reply, generation = row.reply, row.reply.generation if row.reply else None
        if reply and generation and (why := _unfit(reply, imitated=False)).startswith("generation"):
            left_out[why] += 1
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


def _usable(store: Store, left_out: Counter[str], good: Callable[[Rating], bool | None]) -> Iterator[tuple[ExportedReply, bool]]:
    """Rated replies that training can use, with `good` of their rating; None is no opinion."""
    for row in rated_replies(store):
        label = good(row.rated.rating)
        if row.reply is None:
            left_out["rating of a whole chat"] += 1
        elif label is None:
            left_out["no clear opinion"] += 1
        elif why := _unfit(row.reply, imitated=label):
            left_out[why] += 1
        else:
            yield row.reply, label


def _sft(store: Store, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """With the columns of a synthesis (`transcript` is the chat), so that no chat is both learned and held out."""
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
    for one in preferences(store, left_out):
        yield {
            "prompt": _messages(one.prompt),
            "chosen": _completion(one.chosen),
            "rejected": _completion(one.rejected),
        }
