"""What the browser is told has changed: small JSON-ready mappings that her/ui/static/stage.js applies.

A patch names the chat it is for, and may be lost or repeated without harm: `put` draws turns by id, `order` lists the
ids that stand last, `view` is everything around them. A transcript of any length is drawn as a window of its last turns.
"""

from collections.abc import Sequence
from typing import Any

from her.chat.views import ChatView, GenerationSnapshot, TurnView
from her.types import Language
from her.ui import bubbles
from her.ui.words import words

WINDOW = 40
FRESH = 4
"""Turns at the end that a reply can change: itself, its question, and the two before them."""
Patch = dict[str, Any]


def whole(view: ChatView, fresh: int = WINDOW) -> Patch:
    """The end of a chat, its last WINDOW turns in order; the last `fresh` of them are drawn anew."""
    shown = view.turns[-WINDOW:]
    return {
        "chat": view.id,
        "put": drawn(shown[-fresh:], view.language),
        "order": [one.turn.id for one in shown],
        "view": around(view),
    }


def older(view: ChatView, before: str) -> Patch:
    """The WINDOW turns that stand before the turn `before`; none when it is not on the path."""
    ids = [one.turn.id for one in view.turns]
    end = ids.index(before) if before in ids else 0
    return {"chat": view.id, "put": drawn(view.turns[max(0, end - WINDOW) : end], view.language)}


def running(snapshot: GenerationSnapshot, put: list[Patch]) -> Patch:
    """A generation at one moment; `put` is the question drawn once, said each time since a patch may be lost."""
    patch: Patch = {"chat": snapshot.chat, "put": put}
    if snapshot.state == "running":
        said = words(snapshot.language)
        html = bubbles.live(snapshot.speaker, snapshot.parts, snapshot.pending, snapshot.language, said)
        patch["live"] = {"id": snapshot.pending, "html": html, "replaces": snapshot.replaces}
    else:
        patch.update(end=True, error=snapshot.error, give_back=snapshot.give_back, sent=not snapshot.give_back)
    return patch


def question(snapshot: GenerationSnapshot) -> list[Patch]:
    """The visitor's turn that is being answered, drawn; nothing when it is on the path already."""
    return drawn([TurnView(turn=snapshot.question, origin="visitor", mine=True)], snapshot.language) if snapshot.question else []


def around(view: ChatView) -> Patch:
    """Head line, meter, replay and chat rating; plain texts, which the browser sets as text."""
    said = words(view.language)
    meter, last = view.meter, view.turns[-1] if view.turns else None
    count = said["meter"].format(tokens=f"{meter.tokens:,}", budget=f"{meter.budget:,}")
    return {
        "title": view.title,
        "speaker": view.speaker,
        "subtitle": view.scenario.title or view.title,
        "letters": bubbles.monogram(view.speaker),
        "colour": view.colour,
        "visitor_name": view.visitor_name,
        "total": len(view.turns),
        "live": view.live,
        "can_continue": bool(last and last.played and last.origin != "greeting"),
        "can_answer": bool(last is None or last.turn.speaker != view.speaker),
        "meter": ("" if meter.exact else said["meter_about"]) + count,
        "meter_hint": f"{meter.context:,}",
        "cut": meter.dropped,
        "cut_note": said["meter_cut"].format(n=meter.dropped) if meter.dropped else "",
        "replay": view.replay.model_dump() if view.replay else None,
        "rating": view.rating.rating.model_dump(exclude={"seen"}) if view.rating else None,
    }


def drawn(turns: Sequence[TurnView], language: Language) -> list[Patch]:
    """Turns as id and HTML."""
    said = words(language)
    return [{"id": one.turn.id, "html": bubbles.turn(one, language, said)} for one in turns]
