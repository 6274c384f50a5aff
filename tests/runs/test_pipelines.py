"""her/runs/pipelines.py: every entry of the table is complete, and a missing package or pipeline is one sentence."""

import importlib
from collections.abc import Sequence

import pytest

from her import paths
from her.config import load
from her.errors import InputError
from her.runs.pipelines import (
    HELP,
    PIPELINES,
    Pipeline,
    estimate_main,
    pipeline_main,
    pipeline_needs,
    pipeline_options,
    require_pipeline,
)


@pytest.mark.parametrize("entry", PIPELINES.values(), ids=PIPELINES.keys())
def test_every_entry_is_complete(entry: Pipeline) -> None:
    options = pipeline_options(entry.name)
    settings, dry_run = load(options, [f"@{paths.ROOT / entry.example}"])
    assert not dry_run and settings.model_dump()["name"]
    assert callable(pipeline_main(entry.name))
    assert f"{entry.name}: {entry.summary}" in HELP
    assert entry.needs and all(needs in pipeline_needs() and needs.packages for needs in entry.needs)


def test_an_unknown_pipeline_is_named() -> None:
    with pytest.raises(InputError, match="no pipeline 'cook'; there are synthesize, sft"):
        require_pipeline("cook")


def test_only_a_pipeline_with_an_estimate_is_estimated() -> None:
    assert callable(estimate_main("sft"))
    assert callable(estimate_main("rl"))
    with pytest.raises(InputError, match="pipeline 'synthesize' has no estimate; sft and rl have"):
        estimate_main("synthesize")


def test_a_package_that_is_missing_while_a_pipeline_runs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(words: Sequence[str]) -> int:
        return len(importlib.import_module(words[0]).__name__)

    monkeypatch.setattr("pipelines.sft.__main__.main", main)
    with pytest.raises(InputError, match=r"pipeline 'sft' needs the package nowhere_found; .*\[train\]"):
        pipeline_main("sft")(["nowhere_found"])
    with pytest.raises(ModuleNotFoundError):  # a missing module of this project is a bug, not a missing package
        pipeline_main("sft")(["pipelines.nowhere_found"])
