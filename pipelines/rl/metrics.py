"""Add to a trainer what happens beside its steps: lines of metrics, a stop at NaN, no step after the last one."""

import logging
import math
from collections.abc import Callable
from typing import Any

from her.errors import HerError
from pipelines.models.step_guards import AllStepsDone, require_finite

log = logging.getLogger("rl")
Metric = Callable[..., None]
"""Writes one line of metrics, such as `her.runs.open_run.Run.log_metric`."""

SAMPLER_GAP = "sampling/sampling_logp_difference/mean"
MOST_APART = 0.1
"""Mean difference of log-probabilities, in nats, between vLLM and the policy; bfloat16 on both sides gives about 0.01."""


def add_metrics(trainer: Any, metric: Metric) -> None:
    """Add metrics and the end at a NaN loss to a trainer; only the main process calls `metric`."""
    from transformers import PrinterCallback, TrainerCallback

    class StepCallback(TrainerCallback):  # type: ignore[misc]
        """Write metrics, and stop at a NaN or infinite loss before its step is saved."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            # After a resume transformers takes these two from the checkpoint, although they may change.
            state.save_steps, state.logging_steps = args.save_steps, args.logging_steps

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step >= state.max_steps:
                raise AllStepsDone

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            control.should_log |= control.should_save  # so that a NaN stops the run before its step is saved

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, (int, float))}
            require_finite(state.global_step, numbers)
            require_one_model(state.global_step, numbers)
            if not state.is_world_process_zero:
                return
            # JSON has no NaN: a figure over no answer, such as the length of answers that ended when none did, is left out.
            metric(step=state.global_step, **{name: value for name, value in numbers.items() if math.isfinite(value)})
            if "loss" in numbers:
                reward = f", reward {numbers['reward']:.3f}" if "reward" in numbers else ""
                log.info("step %d of %d: loss %.4f%s", state.global_step, state.max_steps, numbers["loss"], reward)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StepCallback())


def require_one_model(step: int, numbers: dict[str, Any]) -> None:
    """Stop the run when the engine that samples is not the policy: TRL logs how far their log-probabilities are apart.

    Raises:
        HerError: the mean difference over the sampled tokens is above `MOST_APART`.
    """
    apart = float(numbers.get(SAMPLER_GAP, 0.0))
    if apart > MOST_APART:
        raise HerError(
            f"the sampler's log-probabilities are {apart:.2f} from the policy's on average at step {step} "
            f"(at most {MOST_APART}): it is another model. Restart the vLLM server from model.base in the same precision"
        )
