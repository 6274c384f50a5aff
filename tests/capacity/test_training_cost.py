"""her/capacity/training_cost.py: figures calculated by hand for an H200, laws, and FLOPs as PyTorch counts them.

Conventions of the figures: a sequence of 4,096 tokens is trained whole; N is all weights that a token is multiplied by (of
Qwen3-32B that is 32.0 billion, without the 0.8 of its untied embedding); checkpointing is full, with or without adapters.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.capacity.gpus import GPUS
from her.capacity.recipe import Checkpointing, Recipe
from her.capacity.shapes import SHAPES, Shape
from her.capacity.training_cost import count_flops, forecast_training, gpus_needed
from her.capacity.work import Work, causal_pairs
from pipelines.models import activation_checkpointing as kept_activations
from tests.capacity.examples import ADAPTERS, FULL, H200, LENGTH, RECIPE, ROW, SHAPE, TINY, tiny_model, token_ids


@pytest.mark.parametrize(
    ("name", "recipe", "ceiling", "expected"),
    [
        ("Qwen3-0.6B", FULL, 149e3, 60e3),
        ("Qwen3-4B", FULL, 26.7e3, 10.7e3),
        ("Qwen3-32B", FULL, 3.6e3, None),
        ("Qwen3-0.6B", ADAPTERS, 181e3, 73e3),
        ("Qwen3-4B", ADAPTERS, 34e3, 13.7e3),
        ("Qwen3-32B", ADAPTERS, 4.7e3, 1.9e3),
    ],
)
def test_tokens_per_second(name: str, recipe: Recipe, ceiling: float, expected: float | None) -> None:
    cost = forecast_training(SHAPES[name], H200, recipe, ROW, targets=1, at_once=LENGTH)
    assert cost.ceiling == pytest.approx(ceiling, rel=0.008)
    assert cost.expected == pytest.approx(0.4 * cost.ceiling)
    if expected:
        assert cost.expected == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("name", "recipe", "fits", "gpus"),
    [
        ("Qwen3-4B", Recipe(precision="mixed"), True, 1),
        ("Qwen3-32B", Recipe(precision="mixed"), False, 5),
        ("Qwen3-32B", Recipe(rank=16), True, 1),
    ],
)
def test_what_fits(name: str, recipe: Recipe, fits: bool, gpus: int) -> None:
    cost = forecast_training(SHAPES[name], H200, recipe, ROW, targets=1, at_once=LENGTH)
    assert (cost.fits, cost.gpus_needed) == (fits, gpus)


def test_share_of_attention() -> None:
    for name, share in (("Qwen3-0.6B", 0.39), ("Qwen3-4B", 0.15), ("Qwen3-32B", 0.07)):
        alone = Work(tokens=LENGTH, trained=LENGTH)
        ratio = count_flops(SHAPES[name], ROW, FULL) / count_flops(SHAPES[name], alone, FULL) - 1
        assert ratio == pytest.approx(share, abs=0.005)


@settings(max_examples=50)
@given(SHAPE, RECIPE, st.integers(1, 8192))
def test_more_layers_cost_more(shape: Shape, recipe: Recipe, tokens: int) -> None:
    deeper = shape.model_copy(update={"layers": shape.layers + 1})
    work = Work(tokens=tokens, trained=tokens, pairs=causal_pairs(tokens))
    assert count_flops(deeper, work, recipe) > count_flops(shape, work, recipe)


@settings(max_examples=50)
@given(SHAPE, RECIPE, st.integers(1, 8192))
def test_full_checkpointing_alone_costs_flops(shape: Shape, recipe: Recipe, tokens: int) -> None:
    none, light, full = (recipe.model_copy(update={"checkpointing": each}) for each in ("none", "light", "full"))
    work = Work(tokens=tokens, trained=1, pairs=causal_pairs(tokens))
    assert count_flops(shape, work, full) > count_flops(shape, work, light) == count_flops(shape, work, none)


def test_no_number_of_gpus_holds_a_row_that_is_too_long() -> None:
    assert gpus_needed(SHAPES["Qwen3-32B"], GPUS["L4"], Recipe(), 1_000_000, 1) is None


def test_hours_and_money() -> None:
    card = H200.model_copy(update={"dollars": 3.5})
    single = forecast_training(SHAPES["Qwen3-4B"], card, Recipe(), ROW.times(1e5), targets=1000, at_once=LENGTH)
    eight = forecast_training(SHAPES["Qwen3-4B"], card, Recipe(gpus=8), ROW.times(1e5), targets=1000, at_once=LENGTH, mfu=0.2)
    assert single.hours == pytest.approx(LENGTH * 1e5 / single.expected / 3600)
    assert single.targets == pytest.approx(1000 / (single.hours * 3600))
    assert eight.hours == pytest.approx(single.hours / 4)
    assert single.dollars == pytest.approx(single.hours * 3.5)
    assert eight.dollars == pytest.approx(eight.hours * 8 * 3.5)
    assert forecast_training(SHAPES["Qwen3-4B"], H200, Recipe(), ROW, targets=1, at_once=1).dollars is None


@pytest.mark.whole
@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize("checkpointing", ["none", "light", "full"])
def test_flops_are_those_torch_counts(rank: int, checkpointing: Checkpointing) -> None:
    """Eager attention computes every pair, so the whole square counts; all tokens go through the head, once.

    PyTorch stops repeating a layer when it has everything that the backward pass needs: without adapters that is before the last
    matrix. The estimate counts that matrix, so it is subtracted here.
    """
    from peft import LoraConfig, get_peft_model
    from torch.utils.flop_counter import FlopCounterMode

    tokens = 192
    model = tiny_model(attention="eager")
    if checkpointing == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if checkpointing == "light":
        kept_activations.enable_light_checkpointing(model)
    if rank:
        model = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
        model.enable_input_require_grads()
    with FlopCounterMode(display=False) as counter:
        model(token_ids(tokens), labels=token_ids(tokens)).loss.backward()
    recipe = Recipe(rank=rank, checkpointing=checkpointing, chunked_head=False)
    counted = count_flops(TINY, Work(tokens=tokens, trained=tokens, pairs=tokens * tokens), recipe)
    if checkpointing == "full" and not rank:
        counted -= 2 * TINY.layers * TINY.hidden * TINY.intermediate * tokens
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.01)
