"""pipelines/reward/trainer.py: TRL drops weights and soft labels in silence, ours uses them."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from pipelines.reward.options import LossOptions  # noqa: E402
from tests.pipelines.reward.pairs_for_tests import preference, tiny  # noqa: E402

pytestmark = pytest.mark.whole

ROWS = [
    preference("Come in, sit down.", probability=0.9, weight=1.0, margin=2.0),
    preference("Wait.", "Go away, now.", winner="b", probability=0.4, weight=0.25),
]


def plain_trl(trainer: Any, folder: Path) -> Any:
    """Return TRL's own trainer over the same model and rows."""
    from trl import RewardConfig, RewardTrainer

    arguments = RewardConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=2, bf16=False, use_cpu=True, report_to=[],
        gradient_checkpointing=False, center_rewards_coefficient=0.01, max_length=None, dataloader_pin_memory=False,
    )  # fmt: skip
    return RewardTrainer(
        model=trainer.model, args=arguments, train_dataset=trainer.train_dataset, processing_class=trainer.processing_class
    )


def batch_loss(trainer: Any) -> tuple[set[str], float]:
    """Return the names in the first batch, and its loss."""
    batch = next(iter(trainer.get_train_dataloader()))
    names = set(batch)
    trainer.model.train()
    return names, trainer.compute_loss(trainer.model, batch).item()


def test_trl_drops_weight_and_label_and_ours_uses_them(tmp_path: Path) -> None:
    ours, template = tiny(tmp_path, ROWS, LossOptions(margin=0.5))
    assert {"weight", "label"} <= set(ours.train_dataset.column_names)
    dropped, _ = batch_loss(plain_trl(ours, tmp_path))
    assert "margin" in dropped and not {"weight", "label"} & dropped
    kept, loss = batch_loss(ours)
    assert {"margin", "weight", "label"} <= kept
    assert loss == pytest.approx(by_hand(ours), rel=1e-5)


def by_hand(trainer: Any) -> float:
    """Return the loss of all rows from scores of single sequences."""
    from torch.nn.functional import logsigmoid

    total = 0.0
    for row in trainer.train_dataset:
        chosen, rejected = (
            trainer.model(input_ids=torch.tensor([row[name]])).logits[0, 0].detach() for name in ("chosen_ids", "rejected_ids")
        )
        difference, label = chosen - rejected, row["label"]
        pair = -label * logsigmoid(difference - row["margin"]) - (1 - label) * logsigmoid(-difference - row["margin"])
        total += float(row["weight"] * pair + 0.01 * (chosen + rejected) ** 2)
    return total / len(trainer.train_dataset)


def test_rows_have_mean_weight_1_and_the_probability_of_the_chosen(tmp_path: Path) -> None:
    trainer, _ = tiny(tmp_path, ROWS, LossOptions(margin=0.5))
    columns = trainer.train_dataset[:]
    assert columns["weight"] == pytest.approx([1.6, 0.4]) and columns["margin"] == [1.0, 0.5]
    assert columns["label"] == pytest.approx([0.9, 0.6])


def test_without_weights_soft_labels_and_margins_it_is_the_loss_of_trl(tmp_path: Path) -> None:
    ours, _ = tiny(tmp_path, ROWS, LossOptions(weights=False, soft_labels=False))
    assert batch_loss(ours)[1] == pytest.approx(batch_loss(plain_trl(ours, tmp_path))[1], rel=1e-6)
