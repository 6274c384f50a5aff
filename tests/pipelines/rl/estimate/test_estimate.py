"""`her estimate --pipeline rl`, pipelines/rl/estimate."""

import json

import pytest
from typer.testing import CliRunner

from her import config
from her.cli import app
from her.errors import InputError
from pipelines.rl.estimate.estimate import estimate_run
from pipelines.rl.estimate.settings import RlEstimate, RlEstimateOptions
from pipelines.rl.estimate.table import to_json, to_table

LORA = "@pipelines/configs/rl_qwen3-4b.toml"
FULL = "@pipelines/configs/rl_qwen3-32b.toml"
KNOWN = ("estimate.model=Qwen/Qwen3-4B", "estimate.prompt_tokens=2600")


def estimated(*words: str, file: str = LORA) -> RlEstimate:
    return estimate_run(config.load(RlEstimateOptions, [file, *KNOWN, *words])[0])


def test_calls_of_the_judge_are_those_of_the_sources_designs() -> None:
    assert estimated().judging.calls == 16 * 16  # 16 groups of 8, each candidate asked about twice in each place
    assert estimated('reward.sources=[{kind="scalar",url="http://a"}]').judging.calls == 16 * 8
    both = 'reward.sources=[{kind="pointwise",url="http://a"},{kind="pairwise",url="http://b"}]'
    assert estimated(both).judging.calls == 16 * 24
    assert estimated("estimate.judge_calls=5").judge_calls == 16 * 5 * 300
    assert estimated("reward.sources=[]", "reward.planted=short").judge_calls == 0


def test_a_run_is_its_steps() -> None:
    made = estimated("estimate.dollars=2", "estimate.judge_prompt_dollars=1")
    assert made.hours == pytest.approx(300 * made.step.seconds / 3600)
    assert made.dollars == pytest.approx(2 * made.hours)
    assert made.judge_dollars == pytest.approx(300 * 256 * (2600 + 1400 + 2000) / 1e6)


def test_sampler_and_reference_take_memory_where_they_are() -> None:
    assert estimated().sampler == 0
    beside = estimated("rollout.sampler=vllm_colocate", "rollout.gpu_share=0.4")
    assert beside.sampler == pytest.approx(0.4 * beside.gpu.memory)
    full = estimated("estimate.gpus=4", "estimate.sampler_gpus=2", file=FULL)
    assert full.gpus == 6
    assert full.reference == pytest.approx(full.weights.total * 2 / 4)
    assert estimated("kl=0.1").reference == 0  # with adapters the base is the reference


def test_turns_of_a_session_have_prompts_of_their_own() -> None:
    made = estimated("rollout.unit=session", "rollout.session_turns=3", "prompts.personas=['bundled']")
    assert (made.load.groups, made.shared) == (48, False)
    assert made.judging.calls == 256


def test_prompts_are_counted_where_they_are_at_hand() -> None:
    words = ["estimate.prompt_tokens=0", "prompts.runs=[]", "prompts.personas=['bundled']", "prompts.scenes=1"]
    made = estimated(*words)
    assert "by their letters" in made.counted
    assert 100 < made.load.prompt < 5000


def test_what_does_not_fit_says_so() -> None:
    assert "It fits" in to_table(estimated())
    assert "It does not fit" in to_table(estimated("estimate.gpu=L4"))
    small = estimated("rollout.sampler=vllm_colocate", "rollout.gpu_share=0.01")
    assert not small.fits
    assert "raise rollout.gpu_share" in to_table(small)


def test_the_json_has_the_totals_of_the_table() -> None:
    made = estimated()
    fields = json.loads(to_json(made))
    assert fields["bytes_on_gpu"] == pytest.approx(made.memory.total)
    assert f"{fields['step']['seconds']:,.1f} s" in to_table(made)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=dpo", 'preferences.files=["a.jsonl"]'], "try `her estimate` with the settings of a run of sft"),
        (["estimate.prompt_tokens=0"], "estimate.prompt_tokens=2600"),
        (["estimate.model="], "estimate.model=Qwen/Qwen3-4B"),
        (["estimate.gpu=Z9"], "there is no GPU"),
    ],
)
def test_what_cannot_be_estimated_is_one_sentence(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        estimated(*words)


def test_the_command_line() -> None:
    words = ["estimate", "--pipeline", "rl", LORA.removeprefix("@"), *KNOWN]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "a step" in shown.output
    assert CliRunner().invoke(app, [*words, "method=kto", 'preferences.files=["a"]']).exit_code == 2
