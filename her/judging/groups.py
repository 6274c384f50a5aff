"""Judge a group of candidates for one prompt: choose pairs, ask, and fit one relative reward a candidate."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from her.errors import HerError, InputError
from her.judging.designs import REFERENCE, Judgement, Pair, against_member, against_reference, all_pairs, circulant, fit_scores
from her.judging.judge import Judged, PairJudge, PairQuestion
from her.judging.pointwise import PointJudge, relative
from her.types import Language, Message, Outcome, Turn, Value, Verdict

log = logging.getLogger(__name__)
Design = Literal["circulant", "all_pairs", "member", "reference", "paper"]
PROBABILITY: dict[Outcome, float] = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}


class GroupDesign(Value):
    """Choice of the pairs of a group that a judge is asked about.

    Args:
        design: `circulant` is the default: of the designs with 16 calls for a group of 8 it agrees best with true quality
            (benchmarks/pair_design.py). `paper` is +1, 0 or -1 against the frozen reference in both orders, as HER has it.
        rounds: of the circulant: how often each candidate stands first and second; of the others 1 or 2 orders.
    """

    design: Design = "circulant"
    rounds: int = 2

    def pairs(self, size: int) -> list[Pair]:
        """Return the pairs for a group of `size`; a small group gets as many rounds as it allows."""
        if self.design in ("reference", "paper"):
            return against_reference(size, 2 if self.design == "paper" else self.rounds)
        if size < 2:
            return []
        if self.design == "circulant":
            return circulant(size, min(self.rounds, size - 1))
        return (all_pairs if self.design == "all_pairs" else against_member)(size, self.rounds)


class Group(NamedTuple):
    """Candidates for one prompt; None stands for one that has not arrived."""

    id: str
    prompt: tuple[Message, ...]
    candidates: tuple[Turn | None, ...]
    reference: Turn | None = None
    language: Language = "en"


class PairVerdict(NamedTuple):
    """Judgement of two candidates of a group, `first` shown first; a missing verdict has a problem. -1 is the reference."""

    first: int
    second: int
    verdict: Verdict | None
    problem: str = ""


class GroupRewards(NamedTuple):
    """One reward a candidate, None where it is missing; `asked` pairs, of which `failed` gave no verdict.

    Args:
        judgements: of a pairwise judge, one for each pair.
    """

    rewards: tuple[float | None, ...]
    asked: int
    failed: int
    judgements: tuple[PairVerdict, ...] = ()


async def judge_group(judge: PairJudge, group: Group, design: GroupDesign) -> GroupRewards:
    """Return the relative rewards of a group.

    Raises:
        InputError: the design needs a reference and the group has none.
    """
    if design.design in ("reference", "paper") and group.reference is None:
        raise InputError(f"design '{design.design}' compares with a reference answer, and group '{group.id}' has none; give one")
    present = [index for index, candidate in enumerate(group.candidates) if candidate is not None]
    pairs = [_original(pair, present) for pair in design.pairs(len(present))]
    judged = await asyncio.gather(*(_ask(judge, group, pair) for pair in pairs))
    judgements = [
        Judgement(pair.first, pair.second, _share(each.verdict, design))
        for pair, each in zip(pairs, judged, strict=True)
        if each.verdict is not None
    ]
    size = len(group.candidates)
    rewards = _against_reference(size, judgements) if design.design == "paper" else _fitted(size, judgements, group)
    verdicts = tuple(
        PairVerdict(pair.first, pair.second, each.verdict, each.problem) for pair, each in zip(pairs, judged, strict=True)
    )
    return GroupRewards(rewards, len(pairs), len(pairs) - len(judgements), verdicts)


def _share(verdict: Verdict, design: GroupDesign) -> float:
    """Return the share of a win that the first candidate gets; HER's own design counts whole wins alone."""
    hard = PROBABILITY[verdict.winner]
    return hard if verdict.probability is None or design.design == "paper" else verdict.probability


async def score_group(judge: PointJudge, group: Group) -> GroupRewards:
    """Return the relative rewards of a group from one score a candidate."""
    scores = await asyncio.gather(*(_score(judge, group, index) for index in range(len(group.candidates))))
    missing = sum(score is None and group.candidates[index] is not None for index, score in enumerate(scores))
    return GroupRewards(relative(scores), sum(candidate is not None for candidate in group.candidates), missing)


async def _score(judge: PointJudge, group: Group, index: int) -> float | None:
    """Return the score of one candidate; None for one that has not arrived, and after an error of the model."""
    candidate = group.candidates[index]
    if candidate is None:
        return None
    try:
        return (await judge.score(f"{group.id}:{index}", group.prompt, candidate, group.language)).score
    except HerError as error:
        log.warning("candidate %d of group '%s' has no score: %s", index, group.id, error)
        return None


def _original(pair: Pair, present: Sequence[int]) -> Pair:
    """Return a pair of positions among those present as a pair of indices of the whole group."""
    first, second = (index if index == REFERENCE else present[index] for index in pair)
    return Pair(first, second)


async def _ask(judge: PairJudge, group: Group, pair: Pair) -> Judged:
    """Return the judgement with the pair's first member shown first; an error of the model is a missing verdict."""
    first, second = (group.reference if index == REFERENCE else group.candidates[index] for index in pair)
    assert first is not None and second is not None
    question = PairQuestion(f"{group.id}:{pair.first}:{pair.second}", group.prompt, first, second, group.language)
    try:
        return await judge.judge(question)
    except HerError as error:
        return Judged(question, None, str(error))


def _fitted(size: int, judgements: Sequence[Judgement], group: Group) -> tuple[float | None, ...]:
    """Return Bradley-Terry scores; with a reference they are differences from it."""
    scores = fit_scores(size, judgements)
    shift = 0.0 if group.reference is None or np.isnan(scores.reference) else scores.reference
    return tuple(None if np.isnan(score) else float(score - shift) for score in scores.candidates)


def _against_reference(size: int, judgements: Sequence[Judgement]) -> tuple[float | None, ...]:
    """Return +1 for a win in both orders, -1 for a loss in both, 0 else; None where an order is missing."""
    wins: dict[int, list[float]] = {index: [] for index in range(size)}
    for first, second, probability in judgements:
        wins[max(first, second)].append(probability if first != REFERENCE else 1 - probability)
    return tuple(_sign(won) if len(won) == 2 else None for won in (wins[index] for index in range(size)))


def _sign(won: Sequence[float]) -> float:
    return 1.0 if min(won) == 1 else -1.0 if max(won) == 0 else 0.0
