"""pipelines/rl/metrics.py: numbers that end a run."""

from typing import Any

import pytest

from her.errors import HerError
from pipelines.models.step_guards import require_finite
from pipelines.rl.metrics import SAMPLER_GAP, require_one_model


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_step_stops_the_run(name: str, value: float) -> None:
    numbers: dict[str, Any] = {"loss": 0.1, "grad_norm": 1.0}
    require_finite(3, numbers)
    with pytest.raises(HerError, match=f"{name} is .* at step 3"):
        require_finite(3, {**numbers, name: value})


def test_a_sampler_that_is_not_the_policy_stops_the_run() -> None:
    require_one_model(3, {SAMPLER_GAP: 0.02})
    require_one_model(3, {"loss": 1.0})
    with pytest.raises(HerError, match=r"0\.70 from the policy's on average at step 3"):
        require_one_model(3, {SAMPLER_GAP: 0.7})
