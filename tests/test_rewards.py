"""her/rewards.py: a missing reward moves no other one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.rewards import advantages, fill_missing

REWARDS = st.lists(st.none() | st.floats(-5, 5), min_size=1, max_size=10)


@given(REWARDS)
def test_filling_leaves_the_advantages_of_the_others_as_they_are(rewards: list[float | None]) -> None:
    known = [reward for reward in rewards if reward is not None]
    filled = advantages(fill_missing(rewards))
    assert [filled[at] for at, reward in enumerate(rewards) if reward is not None] == pytest.approx(advantages(known), abs=1e-9)
    assert all(abs(filled[at]) < 1e-9 for at, reward in enumerate(rewards) if reward is None)


@given(REWARDS, st.booleans())
def test_missing_rewards_have_advantage_zero_and_the_rest_sum_to_zero(rewards: list[float | None], divide: bool) -> None:
    found = advantages(rewards, divide=divide)
    assert all(found[at] == 0 for at, reward in enumerate(rewards) if reward is None)
    assert sum(found) == pytest.approx(0, abs=1e-6)


def test_division_after_filling_inflates_by_18_percent() -> None:
    rewards: list[float | None] = [None, None, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    right, wrong = advantages(rewards, divide=True), advantages(fill_missing(rewards), divide=True)
    assert wrong[2] / right[2] == pytest.approx(np.sqrt(7 / 5), rel=1e-6)  # 1.18


def test_equal_and_absent_rewards() -> None:
    assert advantages([2.0, 2.0], divide=True) == [0, 0]
    equal = [1.919695677958941] * 3  # their mean differs from them by one rounding step
    assert advantages(equal, divide=True) == [0, 0, 0]
    assert advantages([3.0], divide=True) == [0]
    assert advantages([None, None]) == [0, 0] and fill_missing([None, None]) == [0, 0]
    assert advantages([1.0, 3.0], divide=True) == pytest.approx([-np.sqrt(0.5), np.sqrt(0.5)])
