"""Return TRL's SFTTrainer with two changes: an evaluation loss that is a mean over tokens, and marked complete checkpoints."""

from collections.abc import Sequence
from typing import Any

from pipelines.models.checkpoints import marking_trainer
from pipelines.models.prefix_tree import IGNORED


def sft_trainer(keep: int) -> type[Any]:
    """Return the trainer's class; it keeps the last `keep` checkpoints. A function, because trl is imported late."""
    from trl import SFTTrainer

    class TokenMeanTrainer(SFTTrainer):  # type: ignore[misc]
        """SFTTrainer whose evaluation loss is a mean over trained tokens.

        TRL takes the mean over rows, where a row of one target counts as much as a row of twenty. The training loss is a mean
        over tokens already.
        """

        def evaluation_loop(self, *words: Any, **named: Any) -> Any:
            self._evaluated = [0.0, 0]
            output = super().evaluation_loop(*words, **named)
            losses, tokens = self._sum_over_processes(self._evaluated)
            prefix = named.get("metric_key_prefix", "eval")
            if tokens:
                output.metrics[f"{prefix}_loss"] = losses / tokens
            return output

        def prediction_step(self, model: Any, inputs: Any, *words: Any, **named: Any) -> Any:
            # The first label is never predicted, because logits and labels are shifted by one.
            trained = int((inputs["labels"][..., 1:] != IGNORED).sum())
            outputs = super().prediction_step(model, inputs, *words, **named)
            if outputs[0] is not None and trained:
                self._evaluated[0] += float(outputs[0]) * trained
                self._evaluated[1] += trained
            return outputs

        def _sum_over_processes(self, sums: Sequence[float]) -> list[float]:
            import torch

            local = torch.tensor(sums, dtype=torch.float64, device=self.args.device)
            total: list[float] = self.accelerator.reduce(local, "sum").tolist()
            return total

    return marking_trainer(TokenMeanTrainer, keep)
