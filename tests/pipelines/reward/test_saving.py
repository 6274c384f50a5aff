"""pipelines/reward/saving.py: merged weights give the scores of the model in memory, and a model that does not is refused."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from her.errors import HerError, InputError  # noqa: E402
from pipelines.models.options import LoraOptions  # noqa: E402
from pipelines.reward import saving  # noqa: E402
from pipelines.reward.scorer import ScalarScorer, load_scorer  # noqa: E402
from tests.pipelines.reward.pairs_for_tests import preference, tiny  # noqa: E402

ROWS = [preference(f"Come in {number}.", f"Go away {number}.") for number in range(4)]


@pytest.mark.whole
@pytest.mark.parametrize("rank", [0, 2])
def test_a_saved_model_scores_as_in_memory(tmp_path: Path, rank: int) -> None:
    trainer, template = tiny(tmp_path, ROWS, lora=LoraOptions(rank=rank))
    trainer.train()
    before = [weight.clone() for weight in trainer.model.parameters()]
    probes = trainer.train_dataset[:]["chosen_ids"]
    assert saving.save_scalar(trainer.model, template, tmp_path / "model", card="# Model\n", probes=probes) < 1e-5
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))
    expected = ScalarScorer(trainer.model, template).score_ids(probes)
    assert load_scorer(tmp_path / "model").score_ids(probes) == pytest.approx(expected, rel=1e-5)
    assert (tmp_path / "model" / "chat_template.jinja").is_file() and not list(tmp_path.glob("model.*"))


@pytest.mark.whole
def test_a_wrong_merge_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, template = tiny(tmp_path, ROWS, lora=LoraOptions(rank=2))
    trainer.train()
    merged = saving.merged_weights

    def original_head(model):  # type: ignore[no-untyped-def]  # the head before training, as a careless merge would take it
        for name, tensor in merged(model):
            yield name, torch.ones_like(tensor) if "modules_to_save" in name else tensor

    monkeypatch.setattr(saving, "merged_weights", original_head)
    with pytest.raises(HerError, match="gives other scores"):
        saving.save_scalar(trainer.model, template, tmp_path / "model", card="", probes=trainer.train_dataset[:]["chosen_ids"])
    assert not (tmp_path / "model").exists()


def test_a_difference_that_is_no_number_is_never_small() -> None:
    assert saving.relative_difference([1.0, -2.0], [1.0, -1.0]) == 0.5
    assert saving.relative_difference([], []) == 0
    assert not saving.relative_difference([1.0, 1.0], [float("nan"), 1.0]) <= 1


def test_a_folder_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    from tests.tiny import make_tiny

    with pytest.raises(InputError, match="no config.json"):
        load_scorer(tmp_path)
    with pytest.raises(InputError, match="not a scalar reward model"):
        load_scorer(make_tiny(tmp_path / "chat"))
