"""The table of reasons is complete, is what docs/protocols.md says, and its advice completes a sentence.

What the running caller does by it is tested in tests/inference/test_attempts.py.
"""

import re
from pathlib import Path
from typing import get_args

import pytest

from her.errors import REASONS, BackendError, Reason

PROTOCOLS = Path(__file__).parents[1] / "docs/protocols.md"


def test_every_reason_has_a_policy() -> None:
    assert set(REASONS) == set(get_args(Reason))


def test_the_documented_table_is_the_table() -> None:
    section = PROTOCOLS.read_text("utf-8").split("## Retry policy")[1].split("\n## ")[0]
    documented = {tuple(cell.strip() for cell in row.strip("|").split("|")) for row in re.findall(r"^\|.*\|$", section, re.M)[2:]}
    assert documented == {
        (reason, policy.retries, policy.blame, "yes" if policy.fatal else "no", policy.cost) for reason, policy in REASONS.items()
    }


@pytest.mark.parametrize("reason", REASONS)
def test_advice_completes_a_sentence(reason: Reason) -> None:
    error = BackendError.with_advice("host said nothing", reason)
    assert re.fullmatch(r"host said nothing; [a-z].*[^.;]\.", str(error))
    assert (error.reason, error.policy, error.retry_after) == (reason, REASONS[reason], None)
    assert error.retryable == (error.policy.retries != "none")


def test_a_lost_endpoint_is_not_asked_again() -> None:
    assert all(policy.retries == "none" and policy.blame == "endpoint" for policy in REASONS.values() if policy.fatal)
