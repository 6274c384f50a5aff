"""her/capacity/shapes.py: weights are counted as transformers makes them, and what is not known is named."""

import pytest

from her.capacity.shapes import (
    SHAPES,
    Shape,
    count_adapter,
    count_layer_weights,
    count_multiplied,
    count_parameters,
    find_shape,
    shape_from_config,
)
from her.errors import InputError

CONFIG = {
    "model_type": "qwen3",
    "num_hidden_layers": 36,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 40960,
}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen3-0.6B", 596_049_920),
        ("Qwen3-4B", 4_022_468_096),
        ("Qwen3-8B", 8_190_735_360),
        ("Qwen3-14B", 14_768_307_200),
        ("Qwen3-32B", 32_762_123_264),
    ],
)
def test_named_shapes_have_as_many_weights_as_published(name: str, published: int) -> None:
    assert count_parameters(SHAPES[name]).total == published


def test_a_config_describes_the_shape() -> None:
    assert shape_from_config(CONFIG, "config.json") == SHAPES["Qwen3-4B"]


def test_what_a_config_leaves_out_is_as_in_transformers() -> None:
    shorter = {
        key: value for key, value in CONFIG.items() if key not in ("head_dim", "num_key_value_heads", "tie_word_embeddings")
    }
    shape = shape_from_config({**shorter, "model_type": "llama"}, "config.json")
    assert (shape.head, shape.kv_heads, shape.tied, shape.head_norms) == (80, 32, False, False)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"model_type": "qwen3_moe"}, "model_type 'qwen3_moe'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"num_hidden_layers": None}, "layers = None"),
        ({"hidden_size": "wide"}, "hidden = 'wide'"),
    ],
)
def test_a_config_that_cannot_be_counted_is_refused(changed: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        shape_from_config({**CONFIG, **changed}, "config.json")


def test_a_config_without_a_key_is_refused() -> None:
    with pytest.raises(InputError, match="lacks the key 'vocab_size'"):
        shape_from_config({key: value for key, value in CONFIG.items() if key != "vocab_size"}, "config.json")


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("Qwen/Qwen3-4B", "Qwen3-4B"),
        ("qwen/qwen3-0.6b", "Qwen3-0.6B"),
        ("Qwen/Qwen3-32B-Base", "Qwen3-32B"),
        ("Qwen/Qwen3-4B-Instruct-2507", "Qwen3-4B"),
    ],
)
def test_repositories_are_known_by_name(repository: str, name: str) -> None:
    assert find_shape(repository) == SHAPES[name]


@pytest.mark.parametrize("repository", ["Qwen/Qwen3-40B", "Qwen/Qwen2.5-4B", "meta/Llama-3", "Qwen/Qwen3-30B-A3B"])
def test_other_repositories_are_not(repository: str) -> None:
    assert find_shape(repository) is None


def test_adapters_are_counted_by_their_targets() -> None:
    shape = Shape(layers=3, hidden=10, intermediate=30, heads=4, kv_heads=2, head=5, vocabulary=100)
    assert count_adapter(shape, 8, ("q_proj", "v_proj")) == 3 * 8 * ((10 + 20) + (10 + 10))
    assert count_adapter(shape, 8) == 3 * 8 * (30 + 20 + 20 + 30 + 40 + 40 + 40)
    assert count_adapter(shape, 0) == 0
    with pytest.raises(InputError, match="'lm_head'"):
        count_adapter(shape, 8, ("lm_head",))


def test_an_untied_embedding_is_looked_up_and_not_multiplied() -> None:
    shape = SHAPES["Qwen3-32B"]
    weights = count_parameters(shape)
    assert count_multiplied(shape) == shape.layers * count_layer_weights(shape) + weights.head
    assert weights.total - weights.embedding - count_multiplied(shape) < 1e-4 * weights.total


@pytest.mark.whole
@pytest.mark.parametrize("name", ["tiny", "Qwen3-0.6B", "Qwen3-1.7B", "Qwen3-4B", "Qwen3-32B"])
def test_transformers_makes_exactly_these_weights(name: str) -> None:
    from transformers import Qwen3Config

    tiny = Shape(layers=3, hidden=64, intermediate=96, heads=4, kv_heads=2, head=32, vocabulary=500, tied=False)
    shape = SHAPES.get(name, tiny)
    config = Qwen3Config(**_config(shape))
    sizes = _weight_sizes(config)
    weights = count_parameters(shape)
    assert sum(sizes.values()) == weights.total
    assert shape_from_config(config.to_dict(), "config.json") == shape
    assert sum(count for key, count in sizes.items() if "self_attn" in key) == weights.attention
    assert sum(count for key, count in sizes.items() if ".mlp." in key) == weights.mlp
    assert sizes["model.embed_tokens.weight"] == weights.embedding


@pytest.mark.whole
@pytest.mark.parametrize("kind", ["qwen2", "llama", "mistral"])
def test_other_kinds_are_counted_as_well(kind: str) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(kind, **_config(SHAPES["Qwen3-0.6B"]) | {"num_hidden_layers": 2, "head_dim": 64})
    shape = shape_from_config(config.to_dict(), "config.json")
    assert sum(_weight_sizes(config).values()) == count_parameters(shape).total


def _config(shape: Shape) -> dict[str, object]:
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head,
        "tie_word_embeddings": shape.tied,
    }


def _weight_sizes(config: object) -> dict[str, int]:
    """Return the size of each weight by name; on the meta device nothing is allocated."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {name: weight.numel() for name, weight in model.named_parameters()}
