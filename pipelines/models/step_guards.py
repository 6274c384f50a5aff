"""Guards of every training: an end at a NaN or infinite loss, and no step after the last one."""

import math
from collections.abc import Mapping
from typing import Any

from her.errors import HerError


class AllStepsDone(Exception):
    """The checkpoint that a run resumes from has all steps already; transformers would do one more."""


def require_finite(step: int, numbers: Mapping[str, Any]) -> None:
    """Stop the run at a NaN or infinite loss or gradient norm; all processes see the same numbers.

    Raises:
        HerError: with the step and the advice to lower the learning rate.
    """
    for name in ("loss", "grad_norm"):
        if not math.isfinite(value := float(numbers.get(name, 0))):
            raise HerError(
                f"{name} is {value} at step {step}: the training diverged. Its step was not saved; "
                "start a run with another name and a lower learning_rate, or clip"
            )
