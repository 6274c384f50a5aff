"""her/cli/training.py: run and estimate name settings that exist."""

import pytest

from her import paths
from her.runs.pipelines import PIPELINES
from tests.cli.commands import her


@pytest.mark.parametrize("words", [("run", "sft"), ("run", "synthesize"), ("estimate",)])
def test_a_run_without_settings_names_an_existing_file_of_settings(words: tuple[str, ...]) -> None:
    answer = her(*words)
    assert (answer.exit_code, answer.stderr.count("\n")) == (2, 1)
    named = next(word.removeprefix("@") for word in answer.stderr.split() if word.endswith(".toml"))
    assert (paths.ROOT / named).is_file()


def test_help_lists_every_pipeline_of_the_table() -> None:
    output = " ".join(her("run", "--help").stdout.replace("│", " ").split())
    for entry in PIPELINES.values():
        assert f"{entry.name}: {entry.summary}" in output


def test_an_unknown_pipeline_is_named() -> None:
    answer = her("run", "cook", "@x.toml")
    assert (answer.exit_code, answer.stderr.startswith("her: there is no pipeline 'cook'")) == (2, True)
