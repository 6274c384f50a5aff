"""Turn judgements of a group into numbers for reinforcement learning. Pure: no model, no file.

A failed judgement is missing (None), never a number. TRL takes None; engines that do not get the mean of the group's other
rewards, which has advantage 0 and moves no baseline. Their division by the group's deviation must be switched off: filling
two of eight shrinks the deviation and inflates the other advantages by 18 %.
"""

from collections.abc import Sequence

import numpy as np

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
