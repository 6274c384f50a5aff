"""Rewrite or continue a turn of the model: what counts as changed, and what the model is given back."""

from her.chat.pages import Page
from her.errors import InputError
from her.format import normalise, parse, render, without_end
from her.kinds import PLAN
from her.store import PathNode
from her.types import Turn


def played_node(page: Page, node_id: str) -> PathNode:
    """Return a shown turn that the model played.

    Raises:
        NotFound: the turn is not shown.
        InputError: somebody else said it.
    """
    node = page.shown(node_id)
    if not page.played(node):
        raise InputError("this turn is not the model's; choose one that the model played")
    return node


def rewrite(old: Turn, text: str) -> Turn | None:
    """Return `old` as a person rewrote it, in tags or CoSER notation; None when the parts are the same as before.

    A text without a plan keeps the plan of `old`, so that a preference made from the edit compares the visible parts alone.

    Raises:
        InputError: the text leaves nothing that anybody can see.
    """
    turn = parse(text, old.speaker)
    if all(part.kind == PLAN for part in turn.parts):
        raise InputError("the edit leaves nothing to be seen; write speech, an act or a thought")
    if not any(part.kind == PLAN for part in turn.parts):
        turn = _with_plan_of(old, turn)
    turn = turn.model_copy(update={"enters": old.enters, "leaves": old.leaves})
    same = normalise(turn.parts, turn.speaker) == normalise(old.parts, old.speaker)
    return None if same else turn


def _with_plan_of(old: Turn, turn: Turn) -> Turn:
    plan = tuple(part for part in old.parts if part.kind == PLAN)
    # The parser saw only the visible text, so it reported a missing plan; with the old plan that is no longer true.
    defects = tuple(defect for defect in turn.defects if not (plan and defect.name == "plan_missing"))
    return turn.model_copy(update={"parts": plan + turn.parts, "defects": defects})


def continuation_base(node: PathNode) -> tuple[Turn, str]:
    """Return a turn as the model continues it, and the native reasoning that came with it (empty without any).

    The model's own text goes back byte for byte. A written, edited or cut turn goes back in the canonical form.
    """
    turn = node.turn
    # The raw text of a turn that ran into another speaker's line ends with that line, which must not be continued.
    is_cut = any(defect.name == "other_speaker" for defect in turn.defects)
    if node.origin not in ("model", "continue", "steer") or is_cut:
        return turn.model_copy(update={"raw": render(turn.parts, turn.speaker)}), ""
    plan = turn.text(PLAN)
    # The token that ended the turn would end it again.
    turn = turn.model_copy(update={"raw": without_end(turn.raw)})
    # A plan that is not in the raw text came through the API's reasoning field.
    return turn, "" if parse(turn.raw, turn.speaker).text(PLAN) == plan else plan
