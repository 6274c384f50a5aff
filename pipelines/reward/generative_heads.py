"""The two heads of a generative reward model: compare two candidates in both orders, or rate each of two candidates.

A head turns one side of a labelled pair into the messages that a judge is asked, reads the answer as a judge's answer is read,
and says what an answer is worth beside the answers to the other side of the same pair, its twin. Prompts come from her/judging
alone, so those of training, evaluation and use are equal byte for byte.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from her.judging.judge import Instructions, pair_messages, settle, turn_words
from her.judging.pointwise import point_messages, read_score
from her.judging.verdicts import Slot, in_candidates, read_verdict
from her.types import Message, Outcome
from pipelines.reward.labelled_pairs import LabelledPair

Stated = Outcome | float


class Reading(NamedTuple):
    """Statement of an answer: an outcome in terms of candidates a and b, or a score; None with the problem.

    Args:
        mixed: whether both candidates win a comparison; None with fewer than two decided ones.
    """

    value: Stated | None
    problem: str = ""
    mixed: bool | None = None


class Worth(NamedTuple):
    """Worth of one answer: whether it could be used, how far it agrees with the label, and with the twin's answers; 0 to 1."""

    readable: bool
    agreement: float
    consistency: float

    def reward(self, bonus: float) -> float:
        """Return the reward: nothing without the form, so that no verdict can be won by guessing in prose."""
        return self.agreement + bonus * self.consistency if self.readable else 0.0


class Head(Protocol):
    """One of the two forms."""

    def messages(self, pair: LabelledPair, side: Slot, instructions: Instructions) -> tuple[Message, ...]:
        """Return the prompt about one side."""
        ...

    def read(self, pair: LabelledPair, side: Slot, text: str) -> Reading:
        """Return what an answer says; strictly, since a form that is half kept is not learned."""
        ...

    def worth(self, pair: LabelledPair, side: Slot, value: Stated | None, twin: Sequence[Stated | None]) -> Worth:
        """Return the worth of an answer beside all answers to the other side."""
        ...

    def agrees(self, pair: LabelledPair, values: tuple[Stated | None, Stated | None]) -> bool:
        """Return whether the answers to both sides say what the label says; text is trained only then."""
        ...


class PairHead:
    """Compare: the sides are the orders, named by the candidate that is shown first."""

    def messages(self, pair: LabelledPair, side: Slot, instructions: Instructions) -> tuple[Message, ...]:
        """Return the prompt with candidate `side` as A."""
        return pair_messages(pair.question, side, "", instructions)

    def read(self, pair: LabelledPair, side: Slot, text: str) -> Reading:
        """Return the outcome in terms of candidates; a line without evidence makes the answer unusable."""
        shown = [turn_words(turn) for turn in ((pair.a, pair.b) if side == "a" else (pair.b, pair.a))]
        reading = read_verdict(text, *shown)
        if reading.outcome is None:
            return Reading(None, reading.problem)
        if reading.unsupported or not reading.comparisons:
            return Reading(None, "a line has no quote that stands in a candidate" if reading.unsupported else "no comparison")
        outcome, comparisons = in_candidates(reading.outcome, reading.comparisons, side)
        winners = [comparison.winner for comparison in comparisons if comparison.winner != "tie"]
        return Reading(outcome, "", len(set(winners)) == 2 if len(winners) > 1 else None)

    def worth(self, pair: LabelledPair, side: Slot, value: Stated | None, twin: Sequence[Stated | None]) -> Worth:
        """Return 1 for the label, and the share of the other order's answers with the same verdict."""
        if value is None:
            return Worth(False, 0.0, 0.0)
        return Worth(True, float(value == pair.label), sum(other == value for other in twin) / max(1, len(twin)))

    def agrees(self, pair: LabelledPair, values: tuple[Stated | None, Stated | None]) -> bool:
        """Return whether both orders give the label."""
        return values == (pair.label, pair.label)


class PointHead:
    """Rate: the sides are the candidates. An answer's worth is how often its score stands right to those of the other one."""

    def messages(self, pair: LabelledPair, side: Slot, instructions: Instructions) -> tuple[Message, ...]:
        """Return the prompt about candidate `side`."""
        turn = pair.a if side == "a" else pair.b
        return point_messages(pair.prompt, turn, pair.language, "", instructions)

    def read(self, pair: LabelledPair, side: Slot, text: str) -> Reading:
        """Return the score."""
        reading = read_score(text)
        return Reading(reading.score, reading.problem)

    def worth(self, pair: LabelledPair, side: Slot, value: Stated | None, twin: Sequence[Stated | None]) -> Worth:
        """Return the share of the twin's scores that this one stands right to; one half for equal ones of a decided pair.

        There is no order, so no consistency. Without a readable twin the agreement is one half for all answers.
        """
        if value is None:
            return Worth(False, 0.0, 0.0)
        others = [other for other in twin if other is not None]
        shares = [_stands_right(pair.label, side, float(value), float(other)) for other in others]
        return Worth(True, sum(shares) / len(shares) if shares else 0.5, 0.0)

    def agrees(self, pair: LabelledPair, values: tuple[Stated | None, Stated | None]) -> bool:
        """Return whether the scores stand to each other as the label says."""
        a, b = values
        return a is not None and b is not None and _stands_right(pair.label, "a", float(a), float(b)) == 1


HEADS: dict[str, Head] = {"pair": PairHead(), "point": PointHead()}


def is_asked(pair: LabelledPair) -> bool:
    """Return whether a judge is asked about a pair; equal and empty candidates are settled by code."""
    return settle(pair.question) is None


def _stands_right(label: Outcome, side: Slot, own: float, other: float) -> float:
    if label not in ("a", "b"):
        return float(own == other)
    if own == other:
        return 0.5
    return float((own > other) == (label == side))
