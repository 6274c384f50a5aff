"""Export ratings and votes as rows: one JSON object a line, of which her/feedback/export_files.py makes files as well.

jsonl       one rating with everything it refers to
sft         prompt and completion, of well rated replies and of those whose plan or thought a person wrote
preference  prompt, chosen, rejected
kto         prompt, completion, label
rm          prompt, chosen, rejected, margin, and where the pair comes from
verdicts    one blind vote with both replies, what was seen, and what measures the voter

`sft`, `preference`, `kto` and `rm` are conversational datasets of TRL 1.16. Withdrawn and deleted rows are in none of them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring
from typing import Any, Literal

from pydantic_core import from_json

from her.feedback.preferences import WELL_RATED, preferences, unfit, well_rated
from her.feedback.votes import on_dimension, rater, vote_verdict
from her.format import render
from her.store import Rating, Store
from her.store.exports import (
    EVERYTHING,
    ExportedReply,
    ExportFilter,
    VotedPair,
    chosen_replies,
    edited_replies,
    rated_replies,
    voted_pairs,
)
from her.store.rating_rows import StoredRating, stored_ratings
from her.types import Message, Preference, Turn, Value

ExportFormat = Literal["jsonl", "sft", "preference", "kto", "rm", "verdicts"]
BADLY_RATED = 2
"""Most stars in a dimension of a reply that a model should not imitate, where an export is about that dimension."""


class Exported(Value):
    """Number of lines written, and of rows left out by reason."""

    written: int
    left_out: dict[str, int]


def export(store: Store, format: ExportFormat, write: Callable[[str], object], only: ExportFilter = EVERYTHING) -> Exported:
    """Pass every line of the export, with its line end, to `write`.

    Args:
        store: where ratings are read from.
        format: one of those above.
        write: called once a line.
        only: what the export is limited to.
    """
    left_out: Counter[str] = Counter()
    written = 0
    for line in lines(store, format, left_out, only):
        write(line)
        written += 1
    return Exported(written=written, left_out=dict(sorted(left_out.items())))


def lines(store: Store, format: ExportFormat, left_out: Counter[str], only: ExportFilter = EVERYTHING) -> Iterator[str]:
    """Yield the lines of an export, each with its line end; `left_out` counts what is none, by reason."""
    if format == "jsonl":
        yield from _rating_lines(store, left_out, only)
        return
    formats = {"sft": _sft, "preference": _preference, "kto": _kto, "rm": _rm, "verdicts": _verdicts}
    for row in formats[format](store, left_out, only):
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _rating_lines(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[str]:
    """Yield every rating with everything it refers to, oldest first, ratings of greetings and whole chats included.

    What is stored as JSON goes into the line as it is: reading and writing it again would take most of the time.
    """
    for row in stored_ratings(store, only):
        if row.thumb is None and row.stars == "{}" and row.tags == "[]" and not row.comment.strip():
            continue
        if only.dimension and only.dimension not in from_json(row.stars):
            continue
        if row.origin != "edit" and row.finish in ("stopped", "failed"):
            left_out[f"generation {row.finish}"] += 1
            continue
        yield _rating_line(row)


def _rating_line(row: StoredRating) -> str:
    # In a scene the model plays several, so the rated turn or the rating itself names the character.
    speaker = row.character or (from_json(row.turn)["speaker"] if row.turn else row.speaker)
    rating = f'{{"thumb": {_number(row.thumb)}, "stars": {row.stars}, "tags": {row.tags}, "comment": {_text(row.comment)}}}'
    fields = {
        "conversation_id": _text(row.conversation_id),
        "persona_id": _text(row.persona_id),
        "speaker": _text(speaker),
        "language": _text(row.language),
        "rater": _text(rater(row.visitor_id)),
        "rubric": _text(row.rubric),
        "seen": _seen(row.seen),
        "rating": rating,
        "created_at": str(row.created_at),
        "origin": _text(row.origin),
        "turn": row.turn or "null",
        "prompt": row.messages or "[]",
        "model": _text(row.model),
        "revision": _text(row.revision),
        "sampling": row.sampling or "null",
        "finish": _text(row.finish),
    }
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}\n"


def _seen(stored: str) -> str:
    """Return the stored record of what was seen with its version, which the rows of version 1 do not name."""
    return stored if '"version":' in stored else '{"version": 1, ' + stored.removeprefix("{")


def _text(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def _number(number: int | None) -> str:
    return "null" if number is None else str(number)


def _messages(prompt: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in prompt]


def _completion(turn: Turn) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": render(turn.parts, turn.speaker)}]


def _usable(
    store: Store, left_out: Counter[str], only: ExportFilter, judge: Callable[[Rating], bool | None]
) -> Iterator[tuple[ExportedReply, bool, str]]:
    """Yield the rated replies that training can use, with the label that `judge` gives and the rater; None is no opinion."""
    for row in rated_replies(store, only):
        label = judge(_about(row.rated.rating, only.dimension))
        if row.reply is None:
            left_out["rating of a whole chat"] += 1
        elif label is None:
            left_out["no clear opinion"] += 1
        elif reason := unfit(row.reply, imitated=label):
            left_out[reason] += 1
        else:
            yield row.reply, label, rater(row.rated.visitor_id)


def _about(rating: Rating, dimension: str) -> Rating:
    """Return what a rating says of a dimension: its stars in it; a thumb is about the whole reply."""
    if not dimension:
        return rating
    stars = {name: count for name, count in rating.stars.items() if name == dimension}
    return Rating(rubric=rating.rubric, stars=stars)


def _sft(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[dict[str, Any]]:
    """Yield rows with the columns of a synthesis. `transcript` is the chat, so that training never splits one chat."""
    for reply, *_ in _usable(store, left_out, only, lambda rating: well_rated(rating) or None):
        yield _sample(reply)
    for reply in _steered(store, left_out, only):
        yield _sample(reply)


def _sample(reply: ExportedReply) -> dict[str, Any]:
    node = reply.node
    return {
        "prompt": _messages(reply.prompt),
        "completion": _completion(node.turn),
        "turn": node.id,
        "transcript": node.conversation_id,
        "speaker": node.turn.speaker,
    }


def _steered(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[ExportedReply]:
    """Yield the replies that go on from a plan or thought that a person wrote.

    A rating says more than the rewriting, and so does another swipe that was kept in the place of the reply.
    """
    edits = [edit for edit in edited_replies(store, only) if edit.rewritten is not None]
    if not edits:
        return
    rated = {row.reply.node.id for row in rated_replies(store) if row.reply is not None}
    passed_over = {swipe.node.id for row in chosen_replies(store) for swipe in row.alternatives}
    for edit in edits:
        if edit.edited.node.id in rated:
            continue
        if reason := "another swipe was kept" if edit.edited.node.id in passed_over else unfit(edit.edited, imitated=True):
            left_out[reason] += 1
        else:
            yield edit.edited


def _kto(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[dict[str, Any]]:
    judge = _starred if only.dimension else _thumbed
    for reply, good, name in _usable(store, left_out, only, judge):
        yield {
            "prompt": _messages(reply.prompt),
            "completion": _completion(reply.node.turn),
            "label": good,
            "rater": name,
            "conversation": reply.node.conversation_id,
            "turns": [reply.node.id],
        }


def _thumbed(rating: Rating) -> bool | None:
    return {1: True, -1: False}.get(rating.thumb or 0)


def _starred(rating: Rating) -> bool | None:
    """Return the label by the stars of one dimension; those between WELL_RATED and BADLY_RATED are no clear opinion."""
    count = next(iter(rating.stars.values()), None)
    return None if count is None or BADLY_RATED < count < WELL_RATED else count >= WELL_RATED


def _preference(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[dict[str, Any]]:
    for preference in preferences(store, left_out, only):
        yield {
            "prompt": _messages(preference.prompt),
            "chosen": _completion(preference.chosen),
            "rejected": _completion(preference.rejected),
            **_origin(preference),
        }


def _rm(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[dict[str, Any]]:
    """Yield the pairs with their margins, which TRL's RewardTrainer subtracts (Llama 2, arXiv:2307.09288, section 3.2.2)."""
    for preference in preferences(store, left_out, only):
        yield {
            "prompt": _messages(preference.prompt),
            "chosen": _completion(preference.chosen),
            "rejected": _completion(preference.rejected),
            "margin": round(preference.margin, 6),
            "source": preference.verdict.reason,
            **_origin(preference),
        }


def _origin(preference: Preference) -> dict[str, Any]:
    """Return who is played, and by whom and of what a pair was made, by which a withdrawal finds it."""
    return {
        "speaker": preference.chosen.speaker,
        "rater": preference.rater,
        "conversation": preference.conversation,
        "turns": [preference.chosen.id, preference.rejected.id],
    }


def _verdicts(store: Store, left_out: Counter[str], only: ExportFilter) -> Iterator[dict[str, Any]]:
    """Yield every vote as a Verdict with its replies; catch pairs and repeats are in it and say so."""
    for row in voted_pairs(store, only):
        vote = on_dimension(row.vote, only.dimension)
        if vote is None:
            left_out[f"no winner in {only.dimension}"] += 1
            continue
        yield {
            "id": vote.id,
            "pair": row.ballot.pair,
            "conversation": row.ballot.conversation_id,
            "persona": row.persona_id,
            "language": row.language,
            "prompt": _messages(row.a.prompt),
            "a": _candidate(row, "a"),
            "b": _candidate(row, "b"),
            "verdict": vote_verdict(row.ballot, vote).model_dump(mode="json"),
            "comment": vote.comment,
            "worse": row.ballot.worse,
            "repeat_of": row.ballot.repeat_of,
            "created_at": row.created_at,
        }


def _candidate(row: VotedPair, side: Literal["a", "b"]) -> dict[str, Any]:
    """Return a reply with the model that wrote it and what the voter saw of it."""
    reply, seen = (row.a, row.vote.seen[0]) if side == "a" else (row.b, row.vote.seen[1])
    call = reply.generation
    return {
        "turn": reply.node.turn.model_dump(mode="json"),
        "completion": _completion(reply.node.turn),
        "origin": reply.node.origin,
        "model": call.model if call else None,
        "revision": call.revision if call else None,
        "sampling": call.sampling.model_dump(mode="json") if call else None,
        "seen": seen.model_dump(mode="json"),
    }
