"""Build the patches that tell the page what has changed; her/ui/answers.py has their types.

A patch names its chat and is idempotent: it may be lost or repeated without harm. A long chat is drawn as a window of its
last WINDOW turns; earlier turns come on request.
"""

from collections.abc import Sequence

from her.chat.views import BallotView, ChatView, GenerationSnapshot, Sides, TurnView
from her.errors import Forbidden, NotFound
from her.kinds import VISIBLE_KINDS
from her.store.records import Rated
from her.types import Language
from her.ui import bubbles
from her.ui.answers import ChatFrame, ChatPatch, DrawnTurn, SceneFrame, ShownBallot, ShownRating
from her.ui.chinese_errors import in_language
from her.ui.words import words
from her.view import Viewer, reader, visible_parts

WINDOW = 40
PERSON = Viewer(kind="person")
CHANGED_BY_REPLY = 4
"""Turns at the end that a reply can change: the reply, its question, and the two turns before them."""


def reader_of(view: ChatView, director: bool | None) -> Viewer:
    """Return as whom the visitor reads a chat."""
    return reader(view.visitor_name, scene=view.ensemble is not None, director=director)


def chat_patch(view: ChatView, redrawn: int = WINDOW, viewer: Viewer = PERSON, interface: Language | None = None) -> ChatPatch:
    """Show the last WINDOW turns of a chat; only the last `redrawn` of them carry HTML, with what `viewer` sees of them.

    Buttons and meter are in the language of the `interface`; None is that of the chat.
    """
    shown = view.turns[-WINDOW:]
    return {
        "chat": view.id,
        "put": drawn_turns(shown[-redrawn:], view.language, viewer, interface),
        "order": [turn_view.turn.id for turn_view in shown],
        "view": chat_frame(view, interface),
        "ballot": shown_ballot(view.ballot, viewer, interface) if view.ballot else None,
    }


def whole_turn(view: ChatView, node: str, director: bool | None, language: Language) -> TurnView:
    """Return a shown turn that the visitor may edit.

    Raises:
        NotFound: it is not shown.
        Forbidden: it has thoughts that are hidden from the visitor, who cannot edit them either.
    """
    shown = next((turn_view for turn_view in view.turns if turn_view.turn.id == node), None)
    if shown is None:
        raise NotFound("this turn is no longer shown in this chat; reload the page")
    if visible_parts(shown.turn.parts, shown.turn.speaker, reader_of(view, director)) != shown.turn.parts:
        raise Forbidden(words(language)["director_first"])
    return shown


def older_turns(view: ChatView, before: str, viewer: Viewer = PERSON, interface: Language | None = None) -> ChatPatch:
    """Draw the WINDOW turns above the turn `before`; none when that turn is not on the shown path."""
    ids = [turn_view.turn.id for turn_view in view.turns]
    end = ids.index(before) if before in ids else 0
    return {"chat": view.id, "put": drawn_turns(view.turns[max(0, end - WINDOW) : end], view.language, viewer, interface)}


def generation_patch(
    snapshot: GenerationSnapshot, question: list[DrawnTurn], viewer: Viewer = PERSON, interface: Language | None = None
) -> ChatPatch:
    """Show a generation at one moment; `question` is sent with every snapshot, because a patch may be lost."""
    texts = words(interface or snapshot.language)
    if snapshot.state != "running":
        return {
            "chat": snapshot.chat,
            "put": question,
            "end": True,
            "error": in_language(snapshot.error, interface or snapshot.language),
            "give_back": snapshot.give_back,
            "notice": texts["pair_fallen"] if snapshot.fallen else snapshot.notice,
        }
    if snapshot.pair is not None:
        return {"chat": snapshot.chat, "put": question, "ballot": _written_pair(snapshot, snapshot.pair, viewer, texts)}
    parts = visible_parts(snapshot.parts, snapshot.speaker, viewer)
    html = bubbles.live_turn(snapshot.speaker, parts, snapshot.pending, snapshot.language, texts)
    return {
        "chat": snapshot.chat,
        "put": question,
        "live": {"id": snapshot.pending, "html": html, "replaces": snapshot.replaces},
    }


def shown_ballot(ballot: BallotView, viewer: Viewer = PERSON, interface: Language | None = None) -> ShownBallot:
    """Draw two replies that wait for a vote."""
    asked, texts = ballot.question, words(interface or ballot.language)
    return {
        "id": ballot.id,
        "state": ballot.state,
        "repeat": ballot.repeat,
        "language": ballot.language,
        "sides": _drawn_sides(ballot.sides, ballot.speaker, ballot.language, viewer, texts, whole=True),
        "question": {"speaker": asked.speaker, "text": asked.text(*VISIBLE_KINDS)} if asked else None,
    }


def _written_pair(snapshot: GenerationSnapshot, pair: Sides, viewer: Viewer, texts: dict[str, str]) -> ShownBallot:
    sides = _drawn_sides(pair, snapshot.speaker, snapshot.language, viewer, texts, whole=False)
    return {"id": "", "state": "writing", "repeat": False, "language": snapshot.language, "sides": sides, "question": None}


def _drawn_sides(
    sides: Sides, speaker: str, language: Language, viewer: Viewer, texts: dict[str, str], *, whole: bool
) -> list[str]:
    shown = (visible_parts(parts, speaker, viewer) for parts in sides)
    return [bubbles.pair_side(speaker, parts, language, texts, whole=whole) for parts in shown]


def drawn_question(snapshot: GenerationSnapshot, interface: Language | None = None) -> list[DrawnTurn]:
    """Draw the visitor's turn that is being answered; empty when it is on the path already."""
    if snapshot.question is None:
        return []
    return drawn_turns([TurnView(turn=snapshot.question, origin="visitor", mine=True)], snapshot.language, PERSON, interface)


def chat_frame(view: ChatView, interface: Language | None = None) -> ChatFrame:
    """Return everything around the turns: head line, meter, replay bar, rating of the chat. Plain texts."""
    texts = words(interface or view.language)
    meter, last = view.meter, view.turns[-1] if view.turns else None
    waits = view.ballot is not None and not view.ballot.repeat
    return {
        "title": view.title,
        "speaker": view.speaker if view.ensemble is None else view.title,
        "subtitle": subtitle(view),
        "letters": bubbles.monogram(view.speaker),
        "colour": view.colour,
        "visitor_name": view.visitor_name,
        "total": len(view.turns),
        "live": view.live,
        # A greeting was written by hand and is complete, so the page does not offer to continue it.
        "can_continue": bool(last and last.played and last.origin != "greeting"),
        "can_answer": view.ensemble is None and not waits and (last is None or last.turn.speaker != view.speaker),
        "meter": meter_text(meter.tokens, meter.budget, meter.exact, texts),
        "meter_hint": f"{meter.context:,}",
        "cut": meter.dropped,
        "cut_note": texts["meter_cut"].format(n=meter.dropped) if meter.dropped else "",
        "replay": {"shown": view.replay.shown, "total": view.replay.total} if view.replay else None,
        "rating": shown_rating(view.rating),
        "scene": scene_frame(view),
    }


def subtitle(view: ChatView) -> str:
    """Return the second head line: of a scene its setting, of a chat its title without the name that stands above it."""
    if view.ensemble:
        return "" if view.scenario.title == view.title else view.scenario.title
    title = (view.title or view.scenario.title).removeprefix(f"{view.speaker} · ")
    return "" if title == view.speaker else title


def scene_frame(view: ChatView) -> SceneFrame | None:
    """Return what the page shows of a scene; None for a chat with one character."""
    if view.ensemble is None:
        return None
    return {
        "me": view.visitor_name,
        "next_speaker": view.ensemble.next_speaker,
        "narrator": view.ensemble.narrator,
        "cast": [
            {
                "name": member.name,
                "letters": bubbles.monogram(member.name),
                "colour": colour,
                "mine": member.name == view.visitor_name,
                "away": member.name in view.absent,
                "rating": shown_rating(view.characters.get(member.name)),
            }
            for member, colour in zip(view.cast, view.colours, strict=True)
        ],
    }


def meter_text(tokens: int, budget: int, exact: bool, texts: dict[str, str]) -> str:
    """Write the token meter; an estimate begins with the word for "about"."""
    return ("" if exact else texts["meter_about"]) + texts["meter"].format(tokens=f"{tokens:,}", budget=f"{budget:,}")


def shown_rating(rated: Rated | None) -> ShownRating | None:
    """Return a stored rating without the record of what the rater saw."""
    if rated is None:
        return None
    rating = rated.rating
    return {
        "rubric": rating.rubric,
        "thumb": rating.thumb,
        "stars": dict(rating.stars),
        "tags": list(rating.tags),
        "comment": rating.comment,
    }


def drawn_turns(
    turns: Sequence[TurnView], language: Language, viewer: Viewer = PERSON, interface: Language | None = None
) -> list[DrawnTurn]:
    """Draw stored turns as id and HTML: what is hidden from `viewer` is not sent to the page at all."""
    texts = words(interface or language)
    shown = (_seen(turn_view, viewer) for turn_view in turns)
    return [{"id": turn_view.turn.id, "html": bubbles.stored_turn(turn_view, language, texts)} for turn_view in shown]


def _seen(turn_view: TurnView, viewer: Viewer) -> TurnView:
    turn = turn_view.turn
    parts = visible_parts(turn.parts, turn.speaker, viewer)
    return turn_view if parts == turn.parts else turn_view.model_copy(update={"turn": turn.model_copy(update={"parts": parts})})
