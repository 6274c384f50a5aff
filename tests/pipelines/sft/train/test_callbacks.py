"""pipelines/sft/train/callbacks.py: a NaN or infinite loss stops the run."""

import math
from typing import Any

import pytest

from her.errors import HerError
from pipelines.models.step_guards import require_finite


@pytest.mark.parametrize("logs", [{"loss": math.nan}, {"loss": 1.0, "grad_norm": math.inf}, {"loss": "nan"}])
def test_a_number_that_is_not_finite_stops_the_run(logs: dict[str, Any]) -> None:
    with pytest.raises(HerError, match="at step 7: the training diverged.*lower learning_rate"):
        require_finite(7, logs)


@pytest.mark.parametrize("logs", [{}, {"loss": 2.5, "grad_norm": 0.1}, {"eval_loss": 3.0}])
def test_finite_numbers_do_not(logs: dict[str, Any]) -> None:
    require_finite(7, logs)
