"""Add to a trainer what happens beside its steps: metrics, sampled turns, the check of shared prefixes, an end at a NaN loss."""

import logging
from collections.abc import Callable
from typing import Any

from pipelines.models.sampled_turns import sample_turns
from pipelines.models.shared_rows import require_spans_honoured
from pipelines.models.step_guards import AllStepsDone, require_finite
from pipelines.sft.options import TrainingOptions
from pipelines.sft.rows.prepare import Prepared

log = logging.getLogger(__name__)
Metric = Callable[..., None]
"""Writes one line of metrics, such as `her.runs.open_run.Run.log_metric`."""


def add_run_callback(trainer: Any, options: TrainingOptions, prepared: Prepared, metric: Metric) -> None:
    """Add the callback of a run to its trainer; only the main process calls `metric`."""
    from transformers import TrainerCallback

    class RunCallback(TrainerCallback):  # type: ignore[misc]
        """Write metrics, sample turns, check shared prefixes before the first step, stop at a NaN or infinite loss."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if options.layout == "shared_prefix":
                require_spans_honoured(trainer)
            # After a resume transformers takes these two from the checkpoint, although they may change.
            state.save_steps, state.logging_steps = args.save_steps, args.logging_steps

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step >= state.max_steps:
                raise AllStepsDone

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            # Log before every save: so a NaN loss stops the run before its step is saved, and a resumed run logs means over the
            # same steps as one that was never interrupted.
            control.should_log |= control.should_save

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            require_finite(state.global_step, logs or {})
            if state.is_world_process_zero and logs:
                numbers = {name: value for name, value in logs.items() if isinstance(value, (int, float))}
                metric(step=state.global_step, **numbers)
                if "loss" in numbers:
                    log.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, numbers["loss"])

        def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
            if not prepared.prompts:
                return
            evaluation = options.evaluation
            sampled = sample_turns(
                model,
                prepared.template,
                prepared.prompts,
                temperature=evaluation.temperature,
                tokens=evaluation.tokens,
                seed=options.seed,
                plans=options.samples.plans,
            )
            if state.is_world_process_zero:
                counts = {f"defect_{name}": count for name, count in sampled.defects.items()}
                metric(step=state.global_step, sampled=sampled.turns, well_formed=sampled.well_formed, **counts)
                log.info("%d of %d sampled turns are well formed", sampled.well_formed, sampled.turns)

    trainer.add_callback(RunCallback())
