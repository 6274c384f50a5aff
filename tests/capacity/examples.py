"""Shapes, recipes and a tiny real model for the tests of estimates."""

from typing import Any

from hypothesis import strategies as st

from her.capacity.gpus import GPUS
from her.capacity.recipe import Recipe
from her.capacity.shapes import Shape
from her.capacity.work import Work, causal_pairs

H200 = GPUS["H200"]
LENGTH = 4096
ROW = Work(tokens=LENGTH, trained=LENGTH, pairs=causal_pairs(LENGTH))
"""One sequence that is trained whole."""
FULL, ADAPTERS = Recipe(), Recipe(rank=1)
TINY = Shape(layers=3, hidden=256, intermediate=768, heads=4, kv_heads=2, head=64, vocabulary=512)

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


def tiny_model(kind: str = "float32", attention: str = "sdpa") -> Any:
    """Return a Qwen3 of the shape TINY with random weights, in training mode."""
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


def token_ids(tokens: int) -> Any:
    """Return token ids of shape (1, tokens)."""
    import torch

    return torch.arange(tokens)[None] % TINY.vocabulary
