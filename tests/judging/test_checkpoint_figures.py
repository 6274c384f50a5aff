"""her/judging/checkpoint_figures.py: the same checkpoint gives the same figures, another one others, by turns or by scores."""

from pathlib import Path

import pytest

from her.deploy.hub.figures import unlike
from her.errors import InputError
from her.judging import checkpoint_figures
from her.judging.checkpoint_figures import measure_checkpoint
from her.view import START
from tests.tiny import make_tiny

pytestmark = pytest.mark.whole


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_figures, "TOKENS", 12)


def test_a_checkpoint_is_measured_again_by_its_own_prompts(tmp_path: Path) -> None:
    small, large = make_tiny(tmp_path / "small", context=256), make_tiny(tmp_path / "large", context=4096)
    first = measure_checkpoint(small)
    assert len(first.turns) == 10 and first.figures["turns"] == 10 and first.versions["device"] == "cpu"
    assert [prompt[0].content for prompt in first.prompts[::5]] == ["Ann", "安娘"], "a small context takes a line for each"
    assert unlike(first, measure_checkpoint(small, first.prompts)) == []
    other = measure_checkpoint(make_tiny(tmp_path / "other", context=256, seed=1), first.prompts)
    assert any("greedy turns are others" in said for said in unlike(first, other))
    assert all(prompt[1].content.startswith(START) for prompt in measure_checkpoint(large).prompts), "as the playground asks"


def test_a_scalar_reward_model_is_measured_by_scores(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    folders = []
    for seed in (1, 2):
        folder = make_tiny(tmp_path / f"judge-{seed}", context=256)
        torch.manual_seed(seed)
        AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).save_pretrained(folder)
        folders.append(folder)
    first = measure_checkpoint(folders[0])
    assert len(first.scores) == 10 and not first.turns and first.prompts[0][-1].role == "assistant"
    assert unlike(first, measure_checkpoint(folders[0], first.prompts)) == []
    assert unlike(first, measure_checkpoint(folders[1], first.prompts))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no readable config.json"):
        measure_checkpoint(tmp_path)
