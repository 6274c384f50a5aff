"""Return TRL's RewardTrainer with our loss: TRL 1.16 drops the columns `weight` and `label` in silence."""

from typing import Any

from pipelines.models.checkpoints import marking_trainer
from pipelines.reward.loss import bradley_terry_loss

EXTRA = ("margin", "weight", "label")


def reward_trainer(keep: int) -> type[Any]:
    """Return the trainer's class; it keeps the last `keep` checkpoints. A function, because trl is imported late."""
    from trl import RewardTrainer

    class WeightedRewardTrainer(RewardTrainer):  # type: ignore[misc]
        """RewardTrainer whose rows have `margin`, `weight` and `label` (pipelines/reward/loss.py)."""

        def _set_signature_columns_if_needed(self) -> None:
            # Columns that are not listed here are removed from the data set.
            self._signature_columns = ["chosen_ids", "rejected_ids", *EXTRA]

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            extra = {name: inputs.pop(name) for name in EXTRA}
            # TRL's own loss is dropped; its metrics (accuracy, mean scores) are kept.
            _, outputs = super().compute_loss(model, inputs, return_outputs=True)
            chosen, rejected = outputs.logits.squeeze(-1).float().chunk(2)
            loss = bradley_terry_loss(chosen, rejected, centring=self.args.center_rewards_coefficient or 0.0, **extra)
            return (loss, outputs) if return_outputs else loss

    return marking_trainer(WeightedRewardTrainer, keep)


def pair_collator(pad_token_id: int) -> Any:
    """Return TRL's collator, which also makes tensors of `weight` and `label`."""
    import torch
    from trl.trainer.reward_trainer import DataCollatorForPreference

    class WeightedCollator(DataCollatorForPreference):  # type: ignore[misc]
        """Collator of pairs: sequences of chosen candidates, then of rejected ones, padded on the right."""

        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            for name in EXTRA:
                batch[name] = torch.tensor([example[name] for example in examples], dtype=torch.float)
            return batch

    return WeightedCollator(pad_token_id=pad_token_id)
