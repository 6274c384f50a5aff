"""her/cli/training.py: run and estimate name settings that exist."""

from pathlib import Path

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


def test_a_scalar_reward_model_is_served_from_the_name_of_its_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "runs" / "first" / "model").mkdir(parents=True)
    served: list[tuple[object, ...]] = []
    monkeypatch.setattr("pipelines.reward.scorer.load_scorer", lambda folder, device: (folder, device))
    monkeypatch.setattr("her.judging.serving.serve_scores", lambda *words: served.append(words[:4]))
    assert her("serve", "scores", "first", "--port", "9").exit_code == 0
    assert served == [((home / "runs" / "first" / "model", "cpu"), "127.0.0.1", 9, "")]
    answer = her("serve", "first", "--print")
    assert answer.exit_code == 2 and "first" in answer.stderr, "another first word is a checkpoint for vLLM"
