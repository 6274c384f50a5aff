"""Merge neighbouring turns of one speaker into one turn, as HER does with its books (docs/format.md, Neighbours).

Every reader of a transcript merges by this function: prompts and samples (her/view.py), synthesis and conversion of books.
"""

from collections.abc import Iterable, Sequence

from her.format.turn_builder import normalise
from her.kinds import BARE, PLAN, Kind
from her.types import Defect, Part, Turn

BLANK_LINE, NEW_LINE = "\n\n", "\n"
"""Between two runs of speech and between two plans, as in HER; between two thoughts or acts, where a blank line would look like
the end of a turn."""


def merged(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the turns with neighbours of one speaker merged; the first's id stays, `Turn.merged` has the others'.

    Where somebody comes or goes between two turns they stay two: not the same people witness both. Merging again changes
    nothing.
    """
    if not any(map(_belong_together, turns, turns[1:])):
        return tuple(turns)
    runs: list[list[Turn]] = []
    for turn in turns:
        if runs and _belong_together(runs[-1][-1], turn):
            runs[-1].append(turn)
        else:
            runs.append([turn])
    return tuple(run[0] if len(run) == 1 else _joined(run) for run in runs)


def _belong_together(before: Turn, after: Turn) -> bool:
    return before.speaker == after.speaker and not before.leaves and not after.enters


def _joined(run: Sequence[Turn]) -> Turn:
    first, *others = run
    parts = _joined_parts(run)
    return Turn(
        id=first.id,
        speaker=first.speaker,
        parts=parts,
        raw=BLANK_LINE.join(turn.raw for turn in run),
        defects=_first_of_each(defect for turn in run for defect in turn.defects),
        enters=first.enters,
        leaves=run[-1].leaves,
        merged=(*first.merged, *(name for turn in others for name in (turn.id, *turn.merged))),
    )


def _joined_parts(run: Sequence[Turn]) -> tuple[Part, ...]:
    """Return the parts of all turns in order. The plan is all their plans, or none where a turn that shows something has none."""
    pairs: list[tuple[Kind, str]] = []
    plans: list[str] = []
    for turn in run:
        parts = normalise(turn.parts, turn.speaker)
        shown = [(part.kind, part.text) for part in parts if part.kind != PLAN]
        if shown:
            # A plan that leads to a half of the turn only would teach to say the other half without one.
            plans.append(parts[0].text if parts[0].kind == PLAN else "")
        if pairs and shown and pairs[-1][0] == shown[0][0]:
            kind, text = pairs.pop()
            shown[0] = (kind, f"{text}{BLANK_LINE if kind == BARE else NEW_LINE}{shown[0][1]}")
        pairs += shown
    if plans and all(plans):
        pairs.insert(0, (PLAN, BLANK_LINE.join(plans)))
    return normalise((Part(kind=kind, text=text) for kind, text in pairs), run[0].speaker)


def _first_of_each(defects: Iterable[Defect]) -> tuple[Defect, ...]:
    by_name: dict[str, Defect] = {}
    for defect in defects:
        by_name.setdefault(defect.name, defect)
    return tuple(by_name.values())
