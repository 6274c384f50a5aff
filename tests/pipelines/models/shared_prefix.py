"""Conversations, small models and comparisons for tests of shared prefixes: shared rows against one row per target."""

import copy
import random
from collections.abc import Sequence
from functools import cache
from typing import Any

from her.training_data import samples as sampling
from her.types import CastMember, Part, Sample, Scenario, Transcript, Turn
from pipelines.models.activation_checkpointing import enable_light_checkpointing
from pipelines.models.attention import register_attention
from pipelines.models.prefix_tree import IGNORED, Encoded, TokenRow, build_row, grow_trees, pack
from pipelines.sft.rows.rows import encode_samples
from pipelines.sft.rows.sample_files import group_samples

CLOSE = 1e-5
"""Tolerance of losses and gradients in float32."""
ANN, BOB = "Ann", "Bob"
UNLIMITED = 100_000
"""Tokens of a row that holds every conversation of these tests."""


def make_transcript(speakers: str, seed: int = 0) -> Transcript:
    """Return a transcript of these speakers (A, B, E for the environment) with random words and a plan in each turn."""
    generator = random.Random(f"{speakers} {seed}")
    names = {"A": ANN, "B": BOB, "E": "Environment"}
    vocabulary = ["mill", "bread", "storm", "你好", "door", "late"]

    def words(most: int) -> str:
        return " ".join(generator.choice(vocabulary) for _ in range(generator.randint(1, most)))

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
def small_template() -> Any:
    """Return a chat template with a tokenizer of 400 tokens."""
    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.from_scratch import train_tokenizer
    from tests.tiny import CORPUS, TEMPLATE

    tokenizer = train_tokenizer(CORPUS, vocabulary=400, context=4096)
    tokenizer.chat_template = TEMPLATE
    return ChatTemplate(tokenizer)


def encode_transcript(transcript: Transcript) -> list[Encoded]:
    """Return the samples of all characters, encoded and ordered as for training."""
    samples = group_samples(sample for sample in sampling.samples(transcript) if isinstance(sample, Sample))
    return list(encode_samples(samples, small_template()))


@cache
def _base_model(attention: str) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    register_attention()
    config = Qwen3Config(
        vocab_size=len(small_template().tokenizer),
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


def small_model(attention: str, lora: bool = False, checkpointing: str = "none") -> Any:
    """Return a model in training mode, with the same weights each time."""
    import torch

    model = copy.deepcopy(_base_model(attention)).train()
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


def token_losses(model: Any, row: TokenRow, shared: bool) -> Any:
    """Return the loss of every trained token of a row, in order."""
    import torch

    ids, labels, positions = (torch.tensor([column]) for column in (row.input_ids, row.labels, row.position_ids))
    spans = {"spans": torch.tensor(row.spans)} if shared else {}
    logits = model(input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False, **spans).logits
    trained = labels[0, 1:] != IGNORED
    return torch.nn.functional.cross_entropy(logits[0, :-1][trained], labels[0, 1:][trained], reduction="none")


def single_row(sample: Encoded) -> TokenRow:
    """Return a sample as a row of its own."""
    (tree,) = grow_trees([sample], UNLIMITED)
    return build_row([tree])


def shared_row(speakers: str) -> TokenRow:
    """Return all samples of one transcript in one row."""
    return build_row(list(grow_trees(encode_transcript(make_transcript(speakers)), UNLIMITED)))


def packed_rows(samples: Sequence[Encoded], most: int) -> tuple[list[TokenRow], list[int]]:
    """Return packed rows, and the indices of the samples in the order of their targets in these rows."""
    trees = list(grow_trees(samples, most))
    packed = [[trees[index] for index in indices] for indices in pack([tree.tokens for tree in trees], most)]
    order = [branch.sample for row in packed for tree in row for branch in (tree.branches[-1], *tree.branches[:-1])]
    return [build_row(row) for row in packed], order


def compare_layouts(samples: Sequence[Encoded], rows: Sequence[TokenRow], order: Sequence[int], **kind: Any) -> None:
    """Compare losses by token and gradients by weight between shared rows and one row per target."""
    import torch

    shared, expanded = small_model("shared_prefix", **kind), small_model("sdpa", **kind)
    ours = torch.cat([token_losses(shared, row, shared=True) for row in rows])
    expected = torch.cat([token_losses(expanded, single_row(samples[index]), shared=False) for index in order])
    torch.testing.assert_close(ours, expected, rtol=CLOSE, atol=CLOSE)
    ours.mean().backward()
    expected.mean().backward()
    gradients = _gradients(shared)
    expected_gradients = _gradients(expanded)
    assert gradients.keys() == expected_gradients.keys()
    assert len(gradients) > 8
    for name, gradient in expected_gradients.items():
        difference = (gradients[name] - gradient).norm() / gradient.norm().clamp(min=1e-8)
        assert difference < CLOSE, f"{name}: {difference:.2e}"


def _gradients(model: Any) -> dict[str, Any]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
