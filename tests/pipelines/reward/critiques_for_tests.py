"""Labelled pairs and critiques of the planted judge for the tests of the generative reward model."""

from her.judging.verdicts import Slot
from pipelines.reward.labelled_pairs import SIDES, Critique, LabelledPair
from pipelines.reward.planted_critic import critique, planted_pairs

PAIRS = planted_pairs(60, (), seed=3)
DECIDED = tuple(pair for pair in PAIRS if pair.label in ("a", "b"))


def critiques(pairs: tuple[LabelledPair, ...] = PAIRS) -> list[Critique]:
    """Return both critiques of every pair."""
    return [Critique(pair=pair, side=side, text=critique(pair, side), judge="planted") for pair in pairs for side in SIDES]


def turned(text: str) -> str:
    """Return a critique whose verdict names the other candidate."""
    verdict = {"A": "B", "B": "A", "tie": "A"}[text.rpartition(" ")[2]]
    return f"{text.rpartition(' ')[0]} {verdict}"


def slot(side: str) -> Slot:
    """Return a side as the type that judges take."""
    return "a" if side == "a" else "b"
