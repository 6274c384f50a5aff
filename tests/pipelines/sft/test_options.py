"""pipelines/sft/options.py: pipelines/configs/sft.toml names every setting with its default, and contradictions are refused."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from her.config import load
from her.errors import InputError
from pipelines.sft.options import TrainingOptions

CONFIGS = Path(__file__).resolve().parents[3] / "pipelines" / "configs"


def setting_names(model: type[BaseModel], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= setting_names(field.annotation, f"{prefix}{key}.")
        else:
            names.add(f"{prefix}{key}")
    return names


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in table.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return values


def test_the_file_of_all_settings_names_every_one_with_its_default() -> None:
    named = flat(tomllib.loads((CONFIGS / "sft.toml").read_text("utf-8")))
    assert named.keys() == setting_names(TrainingOptions)
    defaults = TrainingOptions(samples={"runs": ("synthesize",)})  # type: ignore[arg-type]
    assert load(TrainingOptions, [f"@{CONFIGS / 'sft.toml'}"])[0] == defaults


@pytest.mark.parametrize("path", [*CONFIGS.glob("qwen3*.toml"), CONFIGS / "tiny.toml", CONFIGS / "sft_smoke.toml"], ids=str)
def test_every_file_of_settings_is_valid(path: Path) -> None:
    options, _ = load(TrainingOptions, [f"@{path}"])
    assert options.name == path.stem.replace("_", "-")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is nothing to learn"),
        (["samples.split=sft"], "there is nothing to learn"),
        (['samples.personas=["bundled"]', "learning_rat=1"], "no setting 'learning_rat'; did you mean 'learning_rate'"),
        (['samples.personas=["bundled"]', "row_tokens=100"], "row_tokens=100 is below samples.most_tokens=8192"),
        (['samples.personas=["bundled"]', "lora.quantise=nf4"], "lora.rank must be above 0"),
        (['samples.personas=["bundled"]', "device=cpu", "lora.rank=4", "lora.quantise=nf4"], "needs a GPU"),
    ],
)
def test_contradictions_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(TrainingOptions, words)
