"""pipelines/judge_check/options.py: impossible settings are refused, and the ablation is the paper's four designs."""

import pytest

from her import config
from her.errors import InputError
from pipelines.judge_check.options import JudgeCheckOptions


def load(*words: str) -> JudgeCheckOptions:
    return config.load(JudgeCheckOptions, words)[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "input"),
        (["input.planted=5", "input.path=x.jsonl"], "give either input.path=FILE"),
        (["input.path=x.jsonl"], "name the judge: endpoints="),
        (["input.planted=5", "judge.principles=general"], "general asks for the verdict alone"),
        (["input.planted=5", "judge.trained=true"], "a trained model names its own principles"),
        (["input.planted=5", "judge.samples=3"], "judge.samples is for judge.form=pointwise"),
    ],
    ids=["no labels", "two sources", "no judge", "general with reasoning", "trained with a library", "samples of pairs"],
)
def test_settings_that_contradict_each_other_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load(*words)


def test_the_ablation_goes_from_general_principles_to_reasoning() -> None:
    titles = [design.title for design in load("input.planted=5", "ablation=true").designs()]
    assert titles == [
        "general, pointwise",
        "by case, pointwise",
        "by case, pairwise",
        "by case, pairwise, reasoning",
    ]
    assert [design.title for design in load("input.planted=5").designs()] == titles[3:]


@pytest.mark.parametrize("name", ["judge_check", "judge_check_smoke"])
def test_the_settings_files_are_valid(name: str) -> None:
    load(f"@pipelines/configs/{name}.toml")
