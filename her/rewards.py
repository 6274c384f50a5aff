"""Turn judgements of a group into numbers for reinforcement learning. Pure: no model, no file.

A failed judgement is missing (None), never a number. TRL takes None; engines that do not get the mean of the group's other
rewards, which has advantage 0 and moves no baseline. Their division by the group's deviation must be switched off: filling
two of eight shrinks the deviation and inflates the other advantages by 18 %.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from her.format import parse

ROUNDING = 1e-12
"""Deviation, in units of the largest reward, up to which rewards count as equal."""


def fill_missing(rewards: Sequence[float | None]) -> list[float]:
    """Return the rewards of a group with the mean of the known ones in place of None; all 0 when none is known."""
    known = [reward for reward in rewards if reward is not None]
    mean = float(np.mean(known)) if known else 0.0
    return [mean if reward is None else reward for reward in rewards]


def advantages(rewards: Sequence[float | None], *, divide: bool = False) -> list[float]:
    """Return each reward less the group's mean, 0 for a missing one (Dr. GRPO, arXiv:2503.20783).

    Args:
        divide: by the deviation of the known rewards (GRPO, arXiv:2402.03300); a group of equal rewards stays 0.
    """
    known = np.array([reward for reward in rewards if reward is not None], dtype=np.float64)
    if not known.size:
        return [0.0] * len(rewards)
    mean = float(known.mean())
    scale = float(known.std(ddof=1)) if divide and known.size > 1 else 1.0
    # The mean of equal rewards can differ from them by one rounding step; divided by a deviation of that size it would be 0.8.
    if scale <= ROUNDING * float(np.abs(known).max()):
        return [0.0] * len(rewards)
    return [0.0 if reward is None else (reward - mean) / scale for reward in rewards]


WORST, BEST = -1.0, 1.0
"""The scale of every reward source: the paper's loss and win against a reference (arXiv:2601.21459), and its width for others."""
FATAL = frozenset(
    {"empty", "plan_missing", "unclosed_plan", "cut_tag", "missing_close", "missing_open", "other_speaker", "plan_not_first"}
    | {"plan_repeated", "name_missing", "nested", "fenced"}
)
"""Defects with which a turn cannot go on stage as it is; the others, such as a space at a tag, are repaired by the reader."""


def malformation(text: str, speaker: str, others: Iterable[str] = (), *, finished: bool = True, plans: bool = True) -> str:
    """Return why an answer does not pass the format gate; an empty string when it does.

    Args:
        others: names whose line in the answer is a fault.
        finished: whether the model ended the answer itself; one that was cut at the token limit does not pass.
        plans: whether an answer needs a system_thinking.
    """
    if not finished:
        return "truncated"
    names = [defect.name for defect in parse(text, speaker, others, notation="her").defects]
    return next((name for name in names if name in FATAL and (plans or name != "plan_missing")), "")


def on_scale(scores: Sequence[float | None], *, temperature: float = 1.0) -> list[float | None]:
    """Return scores in logits as rewards in (-1, 1): twice the mean probability to beat the others of the group, less one.

    Scores of a Bradley-Terry model have no zero and no bound; this has both, so one outlier does not decide a group, and
    sources can be mixed (pointwise scores as in arXiv:2601.00677). Alone in its group a score says nothing: 0.
    """
    known = np.array([score for score in scores if score is not None], dtype=np.float64)
    if known.size < 2:
        return [None if score is None else 0.0 for score in scores]

    def reward(score: float) -> float:
        wins = 0.5 + 0.5 * np.tanh((score - known) / (2 * temperature))
        return float(2 * (wins.sum() - 0.5) / (known.size - 1) - 1)  # less the half against itself

    return [None if score is None else reward(score) for score in scores]


def mixed(sources: Sequence[Sequence[float | None]], weights: Sequence[float]) -> list[float | None]:
    """Return the weighted mean of several sources' rewards for one group; missing where a source of weight above 0 is missing.

    Raises:
        ValueError: no weight is above 0.
    """
    used = [(source, weight) for source, weight in zip(sources, weights, strict=True) if weight > 0]
    if not used:
        raise ValueError("no source of rewards has a weight above 0")
    total = sum(weight for _, weight in used)
    rows = zip(*(source for source, _ in used), strict=True)
    return [
        None
        if any(reward is None for reward in row)
        else sum(weight * float(reward or 0) for reward, (_, weight) in zip(row, used, strict=True)) / total
        for row in rows
    ]


def centred_penalties(penalties: Sequence[float | None], weight: float) -> list[float]:
    """Return what a group's penalties, each from 0 to 1, add to its rewards: their mean less each one, times the weight.

    The sum over the group is 0, so a group that is long as a whole loses nothing and no baseline moves: only being longer
    than the others does. Each addition is smaller than the weight. None takes no part and gets 0.
    """
    known = [penalty for penalty in penalties if penalty is not None]
    mean = sum(known) / len(known) if known else 0.0
    return [0.0 if penalty is None else weight * (mean - penalty) for penalty in penalties]


def session_advantages(advantage: float, turns: int) -> list[float]:
    """Return the advantage of each turn of a session: that of the session divided by its turns, so that long ones weigh no more.

    Raises:
        ValueError: a session without turns.
    """
    if turns < 1:
        raise ValueError(f"a session has {turns} turns; it needs at least one")
    return [advantage / turns] * turns
