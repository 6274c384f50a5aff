"""A whole line in plain CoSER notation, `[thought] (action) speech`, read by one expression: what books are written in.

`read` gives the turn that `her.format.parser.Parser` would give, or None wherever that takes more than brackets that are not
nested: tags, stars, fences, entities, line breaks, names, empty brackets, neighbours of one kind. About 20 times as fast.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from her.format.markers import LONE_SURROGATE
from her.types import Defect, Kind, Part, Turn, new_id

_RUNS = re.compile(r"\[([^\[\]]*)\]|[(（]([^()（）]*)[)）]|([^\[(（]+)")
_BEYOND = re.compile(r"[<*`&\n]").search
_OPENING = re.compile(r"[\[(（]").search
_KINDS: tuple[Kind, ...] = ("role_thinking", "role_action", "speech")


def parse_coser_line(text: str, speaker: str, others: Iterable[str] = (), turn_id: str | None = None) -> Turn | None:
    """The turn that these words are in CoSER notation, or None when the parser has to look."""
    if _BEYOND(text) or not (text.isascii() or LONE_SURROGATE.search(text) is None):
        return None
    if (":" in text or "：" in text) and any(f"{name}{colon}" in text for name in (speaker, *others) for colon in ":："):
        return None
    runs = _runs(text)
    if not runs:
        return None
    return Turn(
        id=turn_id or new_id(),
        speaker=speaker,
        parts=tuple(Part(kind=kind, text=words) for kind, words in runs),
        raw=text,
        defects=_defects(len(text), _OPENING(text) is not None),
    )


@lru_cache(4096)
def _defects(length: int, foreign: bool) -> tuple[Defect, ...]:
    """What such a line always lacks; noted where it ends."""
    names = ("name_missing", "plan_missing", *(("foreign_notation",) if foreign else ()))
    return tuple(Defect(name=name, detail=f"at {length}") for name in names)


def _runs(text: str) -> list[tuple[Kind, str]]:
    """The parts in order; none when brackets are nested, empty or left open, or neighbours are of one kind."""
    runs: list[tuple[Kind, str]] = []
    at = 0
    for found in _RUNS.finditer(text):
        if found.start() != at:
            return []
        at = found.end()
        group = found.lastindex or 0
        kind, words = _KINDS[group - 1], found[group].strip()
        if words:
            if runs and runs[-1][0] == kind:
                return []
            runs.append((kind, words))
        elif kind != "speech":
            return []
    return runs if at == len(text) else []
