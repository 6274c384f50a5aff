"""pipelines/reward/loss.py: laws of the loss."""

import math

import pytest

torch = pytest.importorskip("torch")
from pipelines.reward.loss import bradley_terry_loss  # noqa: E402


def loss(chosen: float, rejected: float, margin: float = 0, weight: float = 1, label: float = 1, centring: float = 0) -> float:
    terms = {name: torch.tensor([float(value)]) for name, value in (("margin", margin), ("weight", weight), ("label", label))}
    return float(bradley_terry_loss(torch.tensor([float(chosen)]), torch.tensor([float(rejected)]), centring=centring, **terms))


def test_a_hard_label_gives_the_loss_of_bradley_and_terry() -> None:
    assert loss(1.0, 0.25, margin=0.5) == pytest.approx(math.log(1 + math.exp(-0.25)))
    assert loss(1.0, 0.25, centring=0.1) == pytest.approx(math.log(1 + math.exp(-0.75)) + 0.1 * 1.25**2)


def test_swapping_candidates_and_label_changes_nothing() -> None:
    assert loss(1.0, -0.5, margin=0.3, label=0.8) == pytest.approx(loss(-0.5, 1.0, margin=0.3, label=0.2))


def test_a_soft_label_is_met_by_its_log_odds() -> None:
    best = math.log(0.8 / 0.2)
    assert all(loss(best, 0, label=0.8) < loss(best + step, 0, label=0.8) for step in (-0.2, 0.2))
    assert all(loss(0, 0, margin=1, label=0.5) <= loss(step, 0, margin=1, label=0.5) for step in (-0.2, 0.2))


def test_weights_scale_the_pair_and_not_the_centring() -> None:
    assert loss(1.0, 0, weight=3) == pytest.approx(3 * loss(1.0, 0))
    assert loss(1.0, 0, weight=0, centring=0.1) == pytest.approx(0.1)
