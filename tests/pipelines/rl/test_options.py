"""pipelines/rl/options.py: what is refused before anything is loaded."""

import pytest

from her.config import load
from her.errors import InputError
from pipelines.rl.arguments import require_whole_batches
from pipelines.rl.options import RlOptions

WORDS = ("start=sft", "prompts.runs=['books']", "reward.planted=short")
HELD_OUT = "panel.held_out=['openai:http://127.0.0.1:8001/v1#m']"
FAMILIES = ("panel.policy_family=qwen", "panel.judge_family=llama")


def options(*words: str) -> RlOptions:
    return load(RlOptions, [*WORDS, *words])[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rows=12"], "rows=12 splits a group of rollout.answers=8; take 16"),
        (["rows=8", "batch=20"], "batch=20 splits a group"),
        (["rows=16", "batch=24"], "batch=24 is not a multiple of rows=16; take 32"),
        (["rollout.iterations=4", "save_every=6"], "save_every=6 is inside the rollout.iterations=4"),
        (["rollout.sampler=vllm_server"], "needs rollout.url"),
        (["model.base=x"], "give start="),
        (["method=dpo"], "give preferences.files"),
        ([HELD_OUT], "the family of panel.policy_family, panel.judge_family is not declared"),
        ([HELD_OUT, *FAMILIES], "the family of the held-out judge is not declared"),
        ([HELD_OUT, *FAMILIES, "panel.held_out_family=QWEN"], "of the family 'QWEN', as panel.policy_family is"),
    ],
)
def test_settings_that_cannot_work_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        options(*words)


def test_honest_settings_pass() -> None:
    assert options("rows=16", "batch=64", "rollout.iterations=2", "save_every=4").online
    assert options(HELD_OUT, *FAMILIES, "panel.held_out_family=gpt").panel.held_out
    assert not load(RlOptions, ["start=sft", "method=kto", "preferences.files=['a.jsonl']"])[0].online


def test_a_run_without_start_or_judges_is_refused() -> None:
    with pytest.raises(InputError, match="the name of its run"):
        load(RlOptions, WORDS[1:])
    with pytest.raises(InputError, match=r"reward\.\* to judge"):
        load(RlOptions, WORDS[:2])


def test_the_model_of_a_run_is_found_in_its_folder() -> None:
    assert options().with_base().model.base.endswith("runs/sft/model")


def test_no_device_gets_a_part_of_a_group() -> None:
    assert require_whole_batches(options("batch=64", "rows=8"), processes=4) == 2
    with pytest.raises(InputError, match="rows=8 on each of 3 devices"):
        require_whole_batches(options("batch=64", "rows=8"), processes=3)
