"""TRL's SFTTrainer with two things changed: checkpoints are marked when they are whole, and an evaluation is a mean over tokens.

The classes are made when they are asked for, since trl is imported late.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.models.disk import WHOLE, naming_last_good
from pipelines.models.prefix_tree import IGNORED
from pipelines.sft.train.checkpoints import drop_old


def trainer_class(keep: int) -> Any:
    """The trainer; the last `keep` checkpoints stay."""

    class Trainer(_evaluating()):  # type: ignore[misc]
        """See the module."""

        def create_model_card(self, *words: Any, **named: Any) -> None:
            """The card is written with the model, by pipelines/models/saving.py."""

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            home = Path(self.args.output_dir)
            made = home / f"checkpoint-{self.state.global_step}"
            with naming_last_good(home.parent):
                try:
                    super()._save_checkpoint(model, trial)
                    self.accelerator.wait_for_everyone()  # a sharded checkpoint is whole when every process has written its part
                    if self.args.should_save:
                        (made / ".part").write_text(launched(self.accelerator), "utf-8")
                        (made / ".part").rename(made / WHOLE)
                        drop_old(home.parent, keep)
                except BaseException:
                    if self.args.should_save and not (made / WHOLE).is_file():
                        shutil.rmtree(made, ignore_errors=True)
                    raise

    return Trainer


def launched(accelerator: Any) -> str:
    """How a checkpoint is divided: the kind of launch, and how many processes."""
    return f"{accelerator.distributed_type.value} {accelerator.num_processes}"


def _evaluating() -> Any:
    from trl import SFTTrainer

    class Evaluating(SFTTrainer):  # type: ignore[misc]
        """TRL's mean over rows would count a row of one target as much as a row of twenty; this is one over trained tokens."""

        def evaluation_loop(self, *words: Any, **named: Any) -> Any:
            self._evaluated = [0.0, 0]
            output = super().evaluation_loop(*words, **named)
            losses, tokens = self._over_processes(self._evaluated)
            prefix = named.get("metric_key_prefix", "eval")
            if tokens:
                output.metrics[f"{prefix}_loss"] = losses / tokens
            return output

        def prediction_step(self, model: Any, inputs: Any, *words: Any, **named: Any) -> Any:
            trained = int((inputs["labels"][..., 1:] != IGNORED).sum())
            found = super().prediction_step(model, inputs, *words, **named)
            if found[0] is not None and trained:
                self._evaluated[0] += float(found[0]) * trained
                self._evaluated[1] += trained
            return found

        def _over_processes(self, sums: Sequence[float]) -> list[float]:
            import torch

            here = torch.tensor(sums, dtype=torch.float64, device=self.args.device)
            total: list[float] = self.accelerator.reduce(here, "sum").tolist()
            return total

    return Evaluating
