"""Shorten what a model repeats without end, so that it does not fill the prompts of everybody else."""

import re
from collections.abc import Iterator
from itertools import pairwise

KEPT = 20
"""Characters that stay of a repeated letter or syllable; CoSER keeps as many (arXiv:2502.09082, its published code)."""
LOOP = 100
"""Shortest run of a short unit that counts as a loop."""
TIMES = 5
"""Times that a long unit stands side by side to count as a loop; also CoSER's number."""
_UNIT = 12
"""Length of the shortest long unit."""
_MOST = 400
"""Length of the longest one."""
_SHORT = re.compile(r"(.{1,11}?)\1{8,}", re.DOTALL)
_OVER_AND_OVER = re.compile(r"(.{1,11}?)\1+", re.DOTALL)


def without_loops(text: str) -> str:
    """Return the text with each loop cut: a short unit to KEPT characters, a long one to its first occurrence.

    A loop is a unit of up to 11 characters repeated over at least LOOP characters, or a longer one that stands TIMES times side
    by side. `Ha ha ha` and `no, no, no` stay.
    """
    if len(text) < TIMES * _UNIT:
        return text
    text = _SHORT.sub(lambda match: match[0][:KEPT] if len(match[0]) >= LOOP else match[0], text)
    at = 0
    while loop := next(_loops(text, at), None):
        at, unit, times = loop
        text = text[: at + unit] + text[at + unit * times :]
        at += unit
    return text


def _loops(text: str, first: int) -> Iterator[tuple[int, int, int]]:
    """Yield place, length and number of the units that stand side by side, from `first` on."""
    for at, unit in _candidates(text, first):
        piece, times = text[at : at + unit], 1
        while text.startswith(piece, at + unit * times):
            times += 1
        # A unit that is a short one over and over is measured as a short one.
        if times >= TIMES and not _OVER_AND_OVER.fullmatch(piece):
            yield at, unit, times


def _candidates(text: str, first: int) -> Iterator[tuple[int, int]]:
    """Yield place and distance where a piece stands TIMES times at one distance, as in every loop; the time is linear."""
    places: dict[str, list[int]] = {}
    for at in range(first, len(text) - _UNIT + 1):
        places.setdefault(text[at : at + _UNIT], []).append(at)
    for found in places.values():
        steps = [later - earlier for earlier, later in pairwise(found)]
        for at in range(len(steps) - TIMES + 2):
            if _UNIT <= steps[at] <= _MOST and len(set(steps[at : at + TIMES - 1])) == 1:
                yield found[at], steps[at]
                break
