"""Shared-prefix training against expanded rows: the same loss for every target and the same gradients, in float32."""

import copy
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from her.errors import HerError
from her.training_data import samples as sampling
from her.types import CastMember, Part, Sample, Scenario, Transcript, Turn
from pipelines.models import attention
from pipelines.models.activation_checkpointing import enable_light_checkpointing
from pipelines.models.attention import dense_mask, register_attention
from pipelines.models.prefix_tree import IGNORED, Encoded, TokenRow, build_row, grow_trees, pack
from pipelines.sft.rows.rows import encode_samples
from pipelines.sft.rows.sample_files import group_samples

pytestmark = pytest.mark.whole
CLOSE = 1e-5
ANN, BOB = "Ann", "Bob"
CASES: dict[str, str] = {
    "in turn": "ABABAB",
    "target first": "AB",
    "one turn": "BA",
    "merged speakers": "BAABBAAAB",
    "environment between": "EAEEBA",
    "forty turns": "AB" * 20,
}


def transcript(speakers: str, seed: int = 0) -> Transcript:
    """Turns of these speakers (A, B, E for the environment) with a plan each, words by chance."""
    dice = random.Random(f"{speakers} {seed}")
    names = {"A": ANN, "B": BOB, "E": "Environment"}

    def words(most: int) -> str:
        return " ".join(dice.choice(["mill", "bread", "storm", "你好", "door", "late"]) for _ in range(dice.randint(1, most)))

    turns = [
        Turn(
            id=f"{place}",
            speaker=names[letter],
            parts=(
                Part(kind="system_thinking", text=words(9)),
                Part(kind="role_thinking", text=words(4)),
                Part(kind="speech", text=words(6)),
            ),
            raw="",
        )
        for place, letter in enumerate(speakers)
    ]
    cast = (CastMember(name=ANN, profile="A baker."), CastMember(name=BOB, profile="A miller."))
    return Transcript(scenario=Scenario(setting="A mill."), cast=cast, turns=tuple(turns))


@cache
def a_template() -> Any:
    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.from_scratch import train_tokenizer
    from tests.tiny import CORPUS, TEMPLATE

    tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=4096)
    tokenizer.chat_template = TEMPLATE
    return ChatTemplate(tokenizer)


def encode(made: Transcript) -> list[Encoded]:
    """The samples of all characters, in the order and with the tokens that training has them in."""
    rows = group_samples(each for each in sampling.samples(made) if isinstance(each, Sample))
    return list(encode_samples(rows, a_template()))


@cache
def base(attention: str) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    register_attention()
    config = Qwen3Config(
        vocab_size=len(a_template().tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=4096,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen3ForCausalLM(config)
    model.set_attn_implementation(attention)
    return model


def a_model(attention: str, lora: bool = False, checkpointing: str = "none") -> Any:
    """The same weights each time."""
    import torch

    model = copy.deepcopy(base(attention)).train()
    if lora:
        from peft import LoraConfig, get_peft_model

        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    if checkpointing == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if checkpointing == "light":
        enable_light_checkpointing(model)
    return model


def losses(model: Any, made: TokenRow, shared: bool) -> Any:
    """The loss of every trained token of a row, in order."""
    import torch

    ids, labels, positions = (torch.tensor([each]) for each in (made.input_ids, made.labels, made.position_ids))
    spans = {"spans": torch.tensor(made.spans)} if shared else {}
    logits = model(input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False, **spans).logits
    trained = labels[0, 1:] != IGNORED
    return torch.nn.functional.cross_entropy(logits[0, :-1][trained], labels[0, 1:][trained], reduction="none")


def alone(sample: Encoded) -> TokenRow:
    """A sample in a row of its own."""
    (tree,) = grow_trees([sample], 100_000)
    return build_row([tree])


def gradients(model: Any) -> dict[str, Any]:
    return {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def check(samples: Sequence[Encoded], rows: Sequence[TokenRow], order: Sequence[int], **kind: Any) -> None:
    """Losses token for token and gradients weight for weight, shared against expanded."""
    import torch

    shared, expanded = a_model("shared_prefix", **kind), a_model("sdpa", **kind)
    ours = torch.cat([losses(shared, made, shared=True) for made in rows])
    theirs = torch.cat([losses(expanded, alone(samples[index]), shared=False) for index in order])
    torch.testing.assert_close(ours, theirs, rtol=CLOSE, atol=CLOSE)
    ours.mean().backward()
    theirs.mean().backward()
    left, right = gradients(shared), gradients(expanded)
    assert left.keys() == right.keys()
    assert len(left) > 8
    for name, gradient in right.items():
        apart = (left[name] - gradient).norm() / gradient.norm().clamp(min=1e-8)
        assert apart < CLOSE, f"{name}: {apart:.2e}"


def lay(samples: Sequence[Encoded], most: int) -> tuple[list[TokenRow], list[int]]:
    """Packed rows, and the samples in the order in which their targets stand there."""
    grown = list(grow_trees(samples, most))
    packed = [[grown[index] for index in indices] for indices in pack([tree.tokens for tree in grown], most)]
    order = [branch.sample for trees_of in packed for tree in trees_of for branch in (tree.branches[-1], *tree.branches[:-1])]
    return [build_row(each) for each in packed], order


@pytest.mark.parametrize("speakers", CASES.values(), ids=CASES.keys())
def test_loss_and_gradients_are_those_of_expanded_rows(speakers: str) -> None:
    samples = encode(transcript(speakers))
    rows, order = lay(samples, 100_000)
    assert len(list(grow_trees(samples, 100_000))) == len({each.key for each in samples}), "one history for each character"
    check(samples, rows, order)


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("checkpointing", ["none", "light", "full"])
def test_with_adapters_and_with_gradient_checkpointing(lora: bool, checkpointing: str) -> None:
    samples = encode(transcript("BABABAAB"))
    check(samples, *lay(samples, 100_000), lora=lora, checkpointing=checkpointing)


def test_light_checkpointing_repeats_activations_and_no_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told apart from both neighbours: `none` repeats neither, `full` both."""
    made = build_row(list(grow_trees(encode(transcript("BABABAAB")), 100_000)))
    flash, found = attention._flash, {}
    for checkpointing in ("none", "light", "full"):
        attended, activated = [], []
        monkeypatch.setattr(attention, "_flash", lambda *words, count=attended: count.append(1) or flash(*words))
        model = a_model("shared_prefix", checkpointing=checkpointing)
        hook = model.model.layers[0].mlp.act_fn.register_forward_hook(lambda *_, count=activated: count.append(1))
        losses(model, made, shared=True).mean().backward()
        hook.remove()
        found[checkpointing] = (len(attended), len(activated))
    once = found["none"][0]
    assert once > len(made.spans)
    assert found == {"none": (once, 1), "light": (once, 2), "full": (2 * once, 2)}


@pytest.mark.parametrize("seed", range(4))
def test_several_conversations_in_a_row_and_long_ones_split(seed: int) -> None:
    dice = random.Random(seed)
    made = [transcript("".join(dice.choice("AABBE") for _ in range(dice.randint(2, 16))), number) for number in range(3)]
    samples = [each for one in made for each in encode(one)]
    most = max(len(each.prompt) + len(each.target) for each in samples)
    rows, order = lay(samples, int(most * dice.choice([1, 1.3, 2.5])))
    assert len(rows) > 1
    check(samples, rows, order)


def test_the_spans_written_out_as_a_mask_give_the_same() -> None:
    """PyTorch's attention over the dense mask: what FlexAttention's blocks are cut from."""
    import torch

    made = build_row(list(grow_trees(encode(transcript("BABAAB")), 100_000)))
    spans, tokens = torch.tensor(made.spans), len(made.input_ids)
    model = a_model("sdpa").eval()
    positions = torch.tensor([made.position_ids])
    mask = dense_mask(spans, tokens)[None, None]
    with torch.no_grad():
        ours = a_model("shared_prefix")(
            input_ids=torch.tensor([made.input_ids]),
            position_ids=positions,
            attention_mask=torch.ones(1, tokens, dtype=torch.long),
            spans=spans,
        )
        theirs = model(input_ids=torch.tensor([made.input_ids]), position_ids=positions, attention_mask=mask)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=CLOSE, atol=1e-4)


def test_flex_attention_blocks_are_cut_from_the_same_mask() -> None:
    """The mask function that a GPU compiles, evaluated pair by pair."""
    import torch
    from torch.nn.attention.flex_attention import flex_attention

    from pipelines.models.attention import _block_mask

    made = build_row(list(grow_trees(encode(transcript("BABAAB")), 100_000)))
    spans, tokens = torch.tensor(made.spans), len(made.input_ids)
    query, key, value = (torch.randn(1, 2, tokens, 16) for _ in range(3))
    ours = flex_attention(query, key, value, block_mask=_block_mask(spans, tokens))
    mask = dense_mask(spans, tokens)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(ours, theirs, rtol=CLOSE, atol=CLOSE)
    assert _block_mask(spans, tokens) is _block_mask(spans, tokens)


def test_without_spans_a_model_generates_as_ever() -> None:
    import torch

    ids = torch.tensor([a_template().tokenizer.encode("The mill is late.")])
    asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 12, "do_sample": False}
    ours, theirs = a_model("shared_prefix").eval(), a_model("sdpa").eval()
    assert ours.generate(**asked).tolist() == theirs.generate(**asked).tolist()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"dropout": 0.1}, "dropout"),
        ({"sliding_window": 128}, "sliding_window"),
        ({"softcap": 30.0}, "softcap"),
        ({"batch": 2}, "one at a time"),
    ],
)
def test_what_shared_prefixes_do_not_have_is_refused(asked: dict[str, Any], said: str) -> None:
    import torch

    from pipelines.models.attention import shared_prefix_attention

    query = torch.zeros(asked.pop("batch", 1), 2, 4, 16)
    with pytest.raises(HerError, match=said):
        shared_prefix_attention(None, query, query, query, None, spans=torch.tensor([[0, 4, 0, 0]]), **asked)


def test_half_precision_stays_close() -> None:
    import torch

    made = build_row(list(grow_trees(encode(transcript("BABABA")), 100_000)))
    model = a_model("shared_prefix")
    with torch.no_grad():
        exact = losses(model, made, shared=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = losses(model, made, shared=True)
    assert np.isclose(exact.mean().item(), half.float().mean().item(), rtol=0.02)
