"""her/capacity/rollout_cost.py against figures calculated by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.capacity.recipe import Recipe
from her.capacity.rollout_cost import Judging, SamplingSide, StepForecast, StepLoad, forecast_step
from her.capacity.shapes import SHAPES, count_multiplied, count_parameters
from tests.capacity.examples import H200

SHAPE = SHAPES["Qwen3-0.6B"]
LOAD = StepLoad(groups=4, answers=8, prompt=2600, answer=700)


def forecast(
    load: StepLoad = LOAD, *, shared: bool = True, forwards: int = 0, iterations: int = 1, memory: float = 0.9 * H200.memory
) -> StepForecast:
    side = SamplingSide(gpu=H200, memory=memory, reached=0.5)
    judging = Judging(calls=100, seconds=2, slots=64)
    return forecast_step(SHAPE, load, side, judging, Recipe(), shared=shared, forwards=forwards, iterations=iterations, mfu=0.4)


def test_a_group_as_one_row_reads_its_prompt_once() -> None:
    shared, expanded = LOAD.work(shared=True), LOAD.work(shared=False)
    assert expanded.tokens == 4 * 8 * 3300
    assert shared.tokens == 4 * (2599 + 8 * 701)
    assert shared.trained == expanded.trained == LOAD.sampled == 4 * 8 * 700


def test_sampling_reads_weights_and_cache_for_every_token() -> None:
    step = forecast()
    cache = 112 * 1024 * 32 * 3300  # bytes: 112 KiB a token, 32 answers of 3,300 tokens
    each = (2 * count_parameters(SHAPE).total + cache) / H200.bandwidth
    read = 2 * count_multiplied(SHAPE) * 4 * 2600 / H200.flops
    assert step.at_once == 32
    assert step.sampling == pytest.approx((read + 700 * each) / 0.5)


def test_judging_fills_its_slots_and_is_shared_by_the_iterations() -> None:
    assert forecast().judging == 4  # 100 calls on 64 slots are two rounds of 2 s
    assert forecast(iterations=2).judging == 2
    judging = Judging(calls=100, prompt=4000, answer=500, prompt_dollars=1, answer_dollars=10)
    assert judging.batch_dollars == pytest.approx(100 * (0.004 + 0.005))


def test_every_other_set_of_log_probabilities_is_a_third_of_the_update_at_most() -> None:
    plain, more = forecast(), forecast(forwards=2)
    assert plain.updating < more.updating <= plain.updating * (1 + 2 / 3)


def test_weights_that_leave_no_memory_sample_never() -> None:
    step = forecast(memory=1e9)
    assert (step.at_once, step.sampling) == (0, math.inf)


@given(groups=st.integers(1, 64), answers=st.integers(1, 32), prompt=st.integers(1, 5000), answer=st.integers(1, 2000))
def test_sharing_never_costs_more_than_one_token_an_answer(groups: int, answers: int, prompt: int, answer: int) -> None:
    load = StepLoad(groups=groups, answers=answers, prompt=prompt, answer=answer)
    assert load.work(shared=True).tokens <= load.work(shared=False).tokens
    assert forecast(load).updating <= forecast(load, shared=False).updating
