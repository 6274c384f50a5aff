"""Steer a turn of the model by its inner life: its beginning up to a plan or thought that a person rewrote."""

from typing import NamedTuple

from her.errors import InputError
from her.format import normalise, render
from her.kinds import PANEL_KINDS, PLAN
from her.store import PathNode, Rewritten
from her.types import Part, Turn


class Steer(NamedTuple):
    """The beginning of a turn whose last part a person rewrote.

    Args:
        base: the turn up to the rewritten part; its raw text is what the model goes on from.
        rewritten: the part.
    """

    base: Turn
    rewritten: Rewritten


def steered(node: PathNode, rewritten: Rewritten, text: str) -> Steer:
    """Return the beginning of a turn up to one of its plans or thoughts, which gets this text.

    Raises:
        InputError: the turn has no such part, or the text is what stands there already.
    """
    turn = node.turn
    places = [index for index, part in enumerate(turn.parts) if part.kind == rewritten.kind]
    if rewritten.kind not in PANEL_KINDS or rewritten.place >= len(places):
        raise InputError("this turn has no such plan or thought; reload the page and choose one that is shown")
    index = places[rewritten.place]
    if " ".join(text.split()) == " ".join(turn.parts[index].text.split()):
        raise InputError("the text is the same as before; change it, or ask for another reply")
    begun = (*turn.parts[:index], Part(kind=rewritten.kind, text=text.strip()))
    base = turn.model_copy(update={"parts": begun, "raw": render(begun, turn.speaker), "defects": ()})
    return Steer(base, rewritten)


def resumed(base: Turn, answer: Turn) -> Turn:
    """Return the turn that begins as `base` and goes on as an answer that may hold a plan, and the beginning, once more."""
    rest = [part for part in answer.parts if part.kind != PLAN]
    for part in base.parts:
        if part.kind != PLAN and rest and letters(rest[0]) == letters(part):
            del rest[0]
    parts = normalise((*base.parts, *rest), base.speaker)
    return answer.model_copy(update={"parts": parts, "raw": render(parts, base.speaker), "defects": ()})


def letters(*parts: Part) -> str:
    """Return the letters and digits of parts, in lower case: marks and blanks may differ the second time."""
    return "".join(char for part in parts for char in part.text if char.isalnum()).lower()
