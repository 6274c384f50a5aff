"""Shape rewards within a group by length, repetition and diversity of patterns; sums over the group are 0.

Shaping is relative, as in NeMo Gym's comparison rewards: an absolute bonus for short or well-formed answers is a second reward
that the policy can maximise alone, whereas here an answer only gains against its siblings.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from her.format import pattern
from her.rewards import centred_penalties
from her.types import Turn
from her.words import runs, words
from pipelines.rl.reward_options import ShapingOptions

NGRAM = 3


class Shaping(NamedTuple):
    """Additions to the rewards of a group, and by feature the penalties (0 to 1) that they come from."""

    additions: list[float]
    penalties: dict[str, list[float | None]]


def shaped(turns: Sequence[Turn | None], options: ShapingOptions) -> Shaping:
    """Return the shaping of a group.

    Args:
        turns: the answers; None for one that takes no part, being malformed or without a reward.
    """
    additions = [0.0] * len(turns)
    penalties: dict[str, list[float | None]] = {}
    present = [index for index, turn in enumerate(turns) if turn is not None]
    for name, measure in FEATURES.items():
        own = measure([turn for turn in turns if turn is not None])
        found: list[float | None] = [None] * len(turns)
        for index, value in zip(present, own, strict=True):
            found[index] = value
        penalties[name] = found
        for index, value in enumerate(centred_penalties(found, getattr(options, name))):
            additions[index] += value
    return Shaping(additions, penalties)


def bound(options: ShapingOptions) -> float:
    """Return the largest change of a reward by all shaping together."""
    return options.length + options.repetition + options.pattern


def repetition(turn: Turn) -> float:
    """Return the share of word triples of an answer, its plan included, that occurred in it before."""
    triples = list(runs(words(turn.text()), NGRAM))
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


def _lengths(turns: Sequence[Turn]) -> list[float]:
    counts = [len(words(turn.text())) for turn in turns]
    middle = max(1, median(counts)) if counts else 1
    return [min(1.0, max(0.0, count / middle - 1)) for count in counts]


def _repetitions(turns: Sequence[Turn]) -> list[float]:
    return [repetition(turn) for turn in turns]


def _patterns(turns: Sequence[Turn]) -> list[float]:
    found = [pattern(turn.parts) for turn in turns]
    others = max(1, len(found) - 1)
    return [(found.count(own) - 1) / others for own in found]


FEATURES: dict[str, Callable[[Sequence[Turn]], list[float]]] = {
    "length": _lengths,
    "repetition": _repetitions,
    "pattern": _patterns,
}
