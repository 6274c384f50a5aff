"""her/capacity/training_memory.py: laws, and the bytes that PyTorch really keeps for a tiny model."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.capacity.recipe import Precision, Recipe
from her.capacity.shapes import SHAPES, Shape, count_parameters
from her.capacity.training_memory import estimate_memory
from pipelines.models import activation_checkpointing as kept_activations
from tests.capacity.examples import RECIPE, SHAPE, TINY, tiny_model, token_ids


@pytest.mark.parametrize(("name", "states"), [("Qwen3-0.6B", 9.5e9), ("Qwen3-4B", 64e9), ("Qwen3-32B", 524e9)])
@pytest.mark.parametrize("recipe", [Recipe(precision="float32"), Recipe(precision="mixed"), Recipe(master=True)])
def test_full_training_holds_16_bytes_per_weight(name: str, states: float, recipe: Recipe) -> None:
    """Weights, gradients and both moments in float32: 4 + 4 + 8 bytes. The embedding is trained as well."""
    needed = estimate_memory(SHAPES[name], recipe, 1, 1)
    held = needed.weights + needed.gradients + needed.states + needed.master
    assert held == 16 * count_parameters(SHAPES[name]).total
    assert held == pytest.approx(states, rel=0.01)


@settings(max_examples=50)
@given(SHAPE, RECIPE, st.integers(1, 8192))
def test_more_layers_hold_more(shape: Shape, recipe: Recipe, tokens: int) -> None:
    deeper = shape.model_copy(update={"layers": shape.layers + 1})
    assert estimate_memory(deeper, recipe, tokens, tokens).total > estimate_memory(shape, recipe, tokens, tokens).total


@settings(max_examples=50)
@given(SHAPE.filter(lambda shape: shape.layers > 3), RECIPE, st.integers(1, 8192))
def test_checkpointing_keeps_less(shape: Shape, recipe: Recipe, tokens: int) -> None:
    none, light, full = (recipe.model_copy(update={"checkpointing": each}) for each in ("none", "light", "full"))
    kept = [estimate_memory(shape, each, tokens, 1).activations for each in (full, light, none)]
    assert kept[0] < min(kept[1:])
    assert recipe.rank or kept == sorted(kept), "adapters return as much again, which may be more than all that is kept"


@settings(max_examples=50)
@given(SHAPE, st.integers(1, 64))
def test_four_bits_hold_less_than_sixteen(shape: Shape, rank: int) -> None:
    whole, small = Recipe(rank=rank), Recipe(rank=rank, quantise="nf4")
    assert estimate_memory(shape, small, 1, 1).weights < estimate_memory(shape, whole, 1, 1).weights


def test_sharing_weights_divides_them_and_float32_is_trained() -> None:
    """accelerate upcasts weights that FSDP2 trains to float32, whatever type they had."""
    shape = SHAPES["Qwen3-32B"]
    needed = estimate_memory(shape, Recipe(gpus=8), 1, 1)
    assert (needed.weights + needed.gradients + needed.states) * 8 == 16 * count_parameters(shape).total


@pytest.mark.whole
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_gradients_and_states_are_bytes_of_real_tensors(precision: Precision) -> None:
    import torch

    model = tiny_model(precision)
    optimiser = torch.optim.AdamW(model.parameters())
    model(token_ids(32), labels=token_ids(32)).loss.backward()
    optimiser.step()
    needed = estimate_memory(TINY, Recipe(precision=precision), 32, 32)
    weights = list(model.parameters())
    moments = [state[name] for state in optimiser.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert sum(each.nbytes for each in weights) == needed.weights
    assert sum(each.grad.nbytes for each in weights) == needed.gradients
    assert sum(each.nbytes for each in moments) == needed.states


@pytest.mark.whole
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "mixed"])
def test_activations_are_what_autograd_keeps(precision: Precision) -> None:
    """Autograd also keeps the copies of weights that autocast made, so both sides count them."""
    import torch

    tokens, mixed = 256, precision == "mixed"
    model = tiny_model("float32" if mixed else precision)
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, mixed):
        model.model(token_ids(tokens))
    needed = estimate_memory(TINY, Recipe(precision=precision, checkpointing="none"), tokens, 0)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert needed.activations + needed.copies == pytest.approx(measured, rel=0.1)


@pytest.mark.whole
@pytest.mark.parametrize("rank", [0, 8])
def test_light_checkpointing_keeps_what_matrices_and_attention_return(rank: int) -> None:
    """PyTorch stores these apart from what autograd saves, in the storage of the checkpoint context."""
    from peft import LoraConfig, get_peft_model
    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    tokens = 256
    model = tiny_model(attention="sdpa")
    if rank:
        model = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    first, _ = create_selective_checkpoint_contexts(kept_activations._policy)
    with first:
        model(token_ids(tokens), logits_to_keep=1)
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(first.storage)}
    recipes = [Recipe(precision="float32", rank=rank, checkpointing=each) for each in ("light", "full")]
    light, full = (estimate_memory(TINY, recipe, tokens, 0).activations for recipe in recipes)
    assert light - full == pytest.approx(sum(held.values()), rel=0.02)


def _tensors(value: Any) -> Iterator[Any]:
    """Yield all tensors in dicts, sequences and PyTorch's wrappers of them."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _tensors(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _tensors(member)
    elif hasattr(value, "val"):
        yield from _tensors(value.val)
