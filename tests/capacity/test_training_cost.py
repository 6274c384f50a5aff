"""her/capacity/training_cost.py: against a table of training backends (H200), against laws, and against a step measured here.

The table's conventions, found by reckoning it again: N is all weights a token is multiplied with (of 32B that is 32.0 billion,
without the 0.8 of its untied embedding), a sequence of 4,096 tokens is trained whole, attention costs 2 L S (heads x 128) a
token and forward, four forwards with checkpointing, with or without adapters. Decoding fills 90 % of the memory.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.capacity.shapes import GPUS, SHAPES, Shape, parameters
from her.capacity.training_cost import (
    BranchLengths,
    Checkpointing,
    Load,
    Precision,
    Recipe,
    TreeLengths,
    Work,
    cards_needed,
    causal,
    flops,
    forecast,
    load,
    memory,
    plain,
    serving,
    shared,
)
from pipelines.models import checkpointing as kept_activations

H200 = GPUS["H200"]
LENGTH = 4096
ROW = Work(tokens=LENGTH, trained=LENGTH, pairs=causal(LENGTH))
FULL, ADAPTERS = Recipe(), Recipe(rank=1)
TINY = Shape(layers=3, hidden=256, intermediate=768, heads=4, kv_heads=2, head=64, vocabulary=512)


# -- the table -----------------------------------------------------------------------------------------------------------------


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
def test_tokens_a_second_are_those_of_the_table(name: str, recipe: Recipe, ceiling: float, expected: float | None) -> None:
    made = forecast(SHAPES[name], H200, recipe, ROW, targets=1, at_once=LENGTH)
    assert made.ceiling == pytest.approx(ceiling, rel=0.008)
    assert made.expected == pytest.approx(0.4 * made.ceiling)
    if expected:
        assert made.expected == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("name", "states"), [("Qwen3-0.6B", 9.5e9), ("Qwen3-4B", 64e9), ("Qwen3-32B", 524e9)])
@pytest.mark.parametrize("recipe", [Recipe(precision="float32"), Recipe(precision="mixed"), Recipe(master=True)])
def test_full_training_holds_16_bytes_a_weight(name: str, states: float, recipe: Recipe) -> None:
    """The table has 512 GB for 32B, 16 bytes for each of N; the embedding is trained as well."""
    needed = memory(SHAPES[name], recipe, 1, 1)
    held = needed.weights + needed.gradients + needed.states + needed.master
    assert held == 16 * parameters(SHAPES[name]).total
    assert held == pytest.approx(states, rel=0.01)


@pytest.mark.parametrize(
    ("name", "recipe", "fits", "cards"),
    [
        ("Qwen3-4B", Recipe(precision="mixed"), True, 1),
        ("Qwen3-32B", Recipe(precision="mixed"), False, 5),
        ("Qwen3-32B", Recipe(rank=16), True, 1),
    ],
)
def test_what_fits_is_as_in_the_table(name: str, recipe: Recipe, fits: bool, cards: int) -> None:
    made = forecast(SHAPES[name], H200, recipe, ROW, targets=1, at_once=LENGTH)
    assert (made.fits, made.cards) == (fits, cards)


@pytest.mark.parametrize(
    ("name", "context", "decode"),
    [
        ("Qwen3-0.6B", 1024, 40e3),
        ("Qwen3-0.6B", 2048, 20e3),
        ("Qwen3-0.6B", 4096, 10e3),
        ("Qwen3-4B", 1024, 29.8e3),
        ("Qwen3-4B", 2048, 14.9e3),
        ("Qwen3-4B", 4096, 7.4e3),
        ("Qwen3-32B", 1024, 8.6e3),
        ("Qwen3-32B", 2048, 4.3e3),
        ("Qwen3-32B", 4096, 2.2e3),
    ],
)
def test_decoding_is_that_of_the_table(name: str, context: int, decode: float) -> None:
    unit = 10 ** (len(str(int(decode))) - (1 if decode in (40e3, 20e3, 10e3) else 3 if decode > 1e4 else 2))
    assert serving(SHAPES[name], H200, context).decode == pytest.approx(decode, abs=unit / 2)


@pytest.mark.parametrize(
    ("name", "cache", "concurrency", "prefill"),
    [("Qwen3-0.6B", 112, 535, 830e3), ("Qwen3-4B", 144, 393, 123e3), ("Qwen3-32B", 256, 114, 15.5e3)],
)
def test_serving_is_that_of_the_table(name: str, cache: int, concurrency: int, prefill: float) -> None:
    made = serving(SHAPES[name], H200, 2048)
    assert (made.kv_bytes, made.concurrency) == (cache * 1024, concurrency)
    assert made.prefill == pytest.approx(prefill, rel=0.003)


def test_attention_is_that_share_of_the_weights() -> None:
    for name, share in (("Qwen3-0.6B", 0.39), ("Qwen3-4B", 0.15), ("Qwen3-32B", 0.07)):
        alone = Work(tokens=LENGTH, trained=LENGTH)
        ratio = flops(SHAPES[name], ROW, FULL) / flops(SHAPES[name], alone, FULL) - 1
        assert ratio == pytest.approx(share, abs=0.005)


def test_what_does_not_fit_on_a_card_is_not_served() -> None:
    made = serving(SHAPES["Qwen3-32B"], GPUS["RTX4090"], 2048)
    assert (made.concurrency, made.decode, made.prefill) == (0, 0, 0)


# -- laws ----------------------------------------------------------------------------------------------------------------------


@st.composite
def trees(draw: st.DrawFn) -> TreeLengths:
    """As pipelines/models/prefix_tree.py makes them: the trunk ends at the last fork, a branch has a token before its target."""
    forks = sorted(draw(st.lists(st.integers(0, 30), min_size=1, max_size=5)))
    branches = []
    for fork in forks:
        trained = draw(st.integers(1, 6))
        branches.append(BranchLengths(fork, trained + draw(st.integers(1, 3)), trained))
    return TreeLengths(forks[-1], tuple(branches))


def seen(tree: TreeLengths) -> int:
    """Pairs, counted one by one."""
    pairs = sum(1 for asks in range(tree.trunk) for _ in range(asks + 1))
    for branch in tree.branches:
        for asks in range(branch.length):
            pairs += len([*range(branch.fork), *range(asks + 1)])
    return pairs


@given(st.lists(trees(), min_size=1, max_size=3))
def test_pairs_are_those_counted_one_by_one(some: list[TreeLengths]) -> None:
    assert shared(some).pairs == sum(map(seen, some))


@given(st.lists(trees(), min_size=1, max_size=3))
def test_sharing_never_reads_more(some: list[TreeLengths]) -> None:
    made = load(some)
    assert made.shared.tokens <= made.plain.tokens
    assert made.shared.pairs <= made.plain.pairs
    assert made.shared.trained == made.plain.trained
    assert made.targets == sum(len(tree.branches) for tree in some)


def test_one_target_is_the_same_work_in_both_layouts() -> None:
    made = load([TreeLengths(9, (BranchLengths(9, 5, 4),))])
    assert made.plain == made.shared == plain([(10, 4)]) == Work(tokens=14, trained=4, pairs=105)


def test_a_load_can_be_repeated() -> None:
    tree = TreeLengths(9, (BranchLengths(4, 5, 4), BranchLengths(9, 5, 4)))
    assert load([tree], 3) == load([tree, tree, tree])
    assert load([]) == Load(targets=0, trees=0, longest=0, plain=Work(), shared=Work())


SHAPE = st.builds(
    Shape,
    layers=st.integers(1, 40),
    hidden=st.integers(8, 4096),
    intermediate=st.integers(8, 8192),
    heads=st.integers(1, 32),
    kv_heads=st.integers(1, 8),
    head=st.integers(8, 128),
    vocabulary=st.integers(300, 200_000),
    tied=st.booleans(),
)
RECIPE = st.builds(
    Recipe,
    precision=st.sampled_from(["float32", "bfloat16", "mixed"]),
    rank=st.integers(0, 64),
    checkpointing=st.sampled_from(["none", "light", "full"]),
    gpus=st.integers(1, 8),
)


@given(SHAPE, RECIPE, st.integers(1, 8192))
def test_more_layers_take_more(shape: Shape, recipe: Recipe, tokens: int) -> None:
    deeper = shape.model_copy(update={"layers": shape.layers + 1})
    assert memory(deeper, recipe, tokens, tokens).total > memory(shape, recipe, tokens, tokens).total
    work = Work(tokens=tokens, trained=tokens, pairs=causal(tokens))
    assert flops(deeper, work, recipe) > flops(shape, work, recipe)


@given(SHAPE.filter(lambda shape: shape.layers > 3), RECIPE, st.integers(1, 8192))
def test_checkpointing_trades_memory_for_work(shape: Shape, recipe: Recipe, tokens: int) -> None:
    none, light, full = (recipe.model_copy(update={"checkpointing": each}) for each in ("none", "light", "full"))
    kept = [memory(shape, each, tokens, 1).activations for each in (full, light, none)]
    assert kept[0] < min(kept[1:])
    assert recipe.rank or kept == sorted(kept), "adapters return as much again, which may be more than all that is kept"
    work = Work(tokens=tokens, trained=1, pairs=causal(tokens))
    assert flops(shape, work, full) > flops(shape, work, light) == flops(shape, work, none)


@given(SHAPE, st.integers(1, 64))
def test_four_bits_hold_less_than_sixteen(shape: Shape, rank: int) -> None:
    whole, small = Recipe(rank=rank), Recipe(rank=rank, quantise="nf4")
    assert memory(shape, small, 1, 1).weights < memory(shape, whole, 1, 1).weights


def test_sharing_weights_divides_them_and_float32_is_trained() -> None:
    """FSDP2 under accelerate trains in float32 whatever the weights were."""
    shape = SHAPES["Qwen3-32B"]
    needed = memory(shape, Recipe(gpus=8), 1, 1)
    assert (needed.weights + needed.gradients + needed.states) * 8 == 16 * parameters(shape).total


def test_sharing_has_an_end_where_one_row_is_too_long() -> None:
    assert cards_needed(SHAPES["Qwen3-32B"], GPUS["L4"], Recipe(), 1_000_000, 1) is None


def test_hours_and_money() -> None:
    card = H200.model_copy(update={"dollars": 3.5})
    one = forecast(SHAPES["Qwen3-4B"], card, Recipe(), ROW.times(1e5), targets=1000, at_once=LENGTH)
    eight = forecast(SHAPES["Qwen3-4B"], card, Recipe(gpus=8), ROW.times(1e5), targets=1000, at_once=LENGTH, mfu=0.2)
    assert one.hours == pytest.approx(LENGTH * 1e5 / one.expected / 3600)
    assert one.targets == pytest.approx(1000 / (one.hours * 3600))
    assert eight.hours == pytest.approx(one.hours / 4)
    assert one.dollars == pytest.approx(one.hours * 3.5)
    assert eight.dollars == pytest.approx(eight.hours * 8 * 3.5)
    assert forecast(SHAPES["Qwen3-4B"], H200, Recipe(), ROW, targets=1, at_once=1).dollars is None


# -- what a step takes here ----------------------------------------------------------------------------------------------------


def _model(kind: str = "float32", attention: str = "sdpa") -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=TINY.vocabulary,
        hidden_size=TINY.hidden,
        intermediate_size=TINY.intermediate,
        num_hidden_layers=TINY.layers,
        num_attention_heads=TINY.heads,
        num_key_value_heads=TINY.kv_heads,
        head_dim=TINY.head,
        tie_word_embeddings=TINY.tied,
        use_cache=False,
        attn_implementation=attention,
    )
    return Qwen3ForCausalLM(config).to(getattr(torch, kind)).train()


def _ids(tokens: int) -> Any:
    import torch

    return torch.arange(tokens)[None] % TINY.vocabulary


@pytest.mark.whole
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_gradients_and_states_are_bytes_of_real_tensors(precision: Precision) -> None:
    import torch

    model = _model(precision)
    optimiser = torch.optim.AdamW(model.parameters())
    model(_ids(32), labels=_ids(32)).loss.backward()
    optimiser.step()
    needed = memory(TINY, Recipe(precision=precision), 32, 32)
    weights = list(model.parameters())
    moments = [state[name] for state in optimiser.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert sum(each.nbytes for each in weights) == needed.weights
    assert sum(each.grad.nbytes for each in weights) == needed.gradients
    assert sum(each.nbytes for each in moments) == needed.states


@pytest.mark.whole
@pytest.mark.parametrize("rank", [0, 8])
@pytest.mark.parametrize("checkpointing", ["none", "light", "full"])
def test_flops_are_those_torch_counts(rank: int, checkpointing: Checkpointing) -> None:
    """Eager attention computes every pair, so the whole square is counted; all tokens go through the head, once.

    PyTorch ends the repeat of a layer when it has all that the backward pass asks for: without adapters that is before the
    last matrix. Such economies are not planned with.
    """
    from peft import LoraConfig, get_peft_model
    from torch.utils.flop_counter import FlopCounterMode

    tokens = 192
    model = _model(attention="eager")
    if checkpointing == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if checkpointing == "light":
        kept_activations.keep_dear(model)
    if rank:
        model = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
        model.enable_input_require_grads()
    with FlopCounterMode(display=False) as counter:
        model(_ids(tokens), labels=_ids(tokens)).loss.backward()
    recipe = Recipe(rank=rank, checkpointing=checkpointing, chunked_head=False)
    told = flops(TINY, Work(tokens=tokens, trained=tokens, pairs=tokens * tokens), recipe)
    if checkpointing == "full" and not rank:
        told -= 2 * TINY.layers * TINY.hidden * TINY.intermediate * tokens
    assert told == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.whole
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "mixed"])
def test_activations_are_what_autograd_keeps(precision: Precision) -> None:
    """Autocast's copies of the weights are kept with them, so they are counted on both sides."""
    import torch

    tokens, mixed = 256, precision == "mixed"
    model = _model("float32" if mixed else precision)
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, mixed):
        model.model(_ids(tokens))
    needed = memory(TINY, Recipe(precision=precision, checkpointing="none"), tokens, 0)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert needed.activations + needed.copies == pytest.approx(measured, rel=0.1)


@pytest.mark.whole
@pytest.mark.parametrize("rank", [0, 8])
def test_light_checkpointing_keeps_what_matrices_and_attention_return(rank: int) -> None:
    """PyTorch holds these apart from what autograd saves; the rest are the inputs of layers and the inside of one."""
    from peft import LoraConfig, get_peft_model
    from torch.utils.checkpoint import create_selective_checkpoint_contexts

    tokens = 256
    model = _model(attention="sdpa")
    if rank:
        model = get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    first, _ = create_selective_checkpoint_contexts(kept_activations._choose)
    with first:
        model(_ids(tokens), logits_to_keep=1)
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(first.storage)}
    recipes = [Recipe(precision="float32", rank=rank, checkpointing=each) for each in ("light", "full")]
    light, full = (memory(TINY, recipe, tokens, 0).activations for recipe in recipes)
    assert light - full == pytest.approx(sum(held.values()), rel=0.02)


def _tensors(found: Any) -> Iterator[Any]:
    """All tensors within dicts, sequences and PyTorch's own wrappers of them."""
    import torch

    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, dict):
        for each in found.values():
            yield from _tensors(each)
    elif isinstance(found, list | tuple):
        for each in found:
            yield from _tensors(each)
    elif hasattr(found, "val"):
        yield from _tensors(found.val)
