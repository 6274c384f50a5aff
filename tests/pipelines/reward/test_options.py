"""pipelines/reward/options.py: settings that contradict each other are refused, and the shipped files load."""

from pathlib import Path

import pytest

from her.config import load
from her.errors import InputError
from her.files.atomic import replacing
from pipelines.reward.options import RewardOptions

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = sorted((ROOT / "pipelines" / "configs").glob("reward*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_settings_load(path: Path) -> None:
    options, _ = load(RewardOptions, [f"@{path}"])
    assert options.name == path.stem.replace("_", "-")


def test_the_file_of_all_settings_holds_the_defaults(tmp_path: Path) -> None:
    with replacing(tmp_path / "few.toml") as file:
        file.write('[pairs]\nfiles = ["preferences.jsonl"]\n')
    files = 'pairs.files=["preferences.jsonl"]'  # paths in a file are relative to its folder
    shipped, _ = load(RewardOptions, [f"@{ROOT / 'pipelines/configs/reward.toml'}", files])
    assert shipped == load(RewardOptions, [f"@{tmp_path}/few.toml", files])[0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "pairs"),
        (["pairs.planted.pairs=0"], "give one of pairs.files"),
        (["pairs.planted.pairs=5", 'pairs.files=["a.jsonl"]'], "give one of pairs.files"),
        (["pairs.planted.pairs=5", 'pairs.attacks=["bribed"]'], "bribed"),
        (["pairs.planted.pairs=5", "rows=3", "batch=8"], "batch=8 is not a multiple of rows=3; take 9"),
        (["pairs.planted.pairs=5", "lora.rank=2", "lora.quantise=nf4"], "quantise"),
        (["pairs.planted.pairs=5", "model.shape.token_noise=0.2"], "fine-tuning"),
    ],
)
def test_impossible_settings_are_refused(words: list[str], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load(RewardOptions, words)
