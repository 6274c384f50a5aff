"""Shapes of causal language models as numbers, and weight counts derived from them. Pure arithmetic; loads no model.

SHAPES holds the published config.json of Qwen/Qwen3-*. tests/capacity/test_shapes.py compares the counts with the weights that
transformers creates.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from her.errors import InputError
from her.types import Value


class Shape(Value):
    """A dense transformer with grouped-query attention and a gated MLP: Qwen3, Qwen2, Llama, Mistral.

    Args:
        hidden: width of the residual stream.
        intermediate: width of the MLP.
        heads: number of query heads.
        kv_heads: number of key heads, and of value heads.
        head: width of one head.
        tied: the output head shares the weights of the embedding.
        head_norms: queries and keys are normalised per head (Qwen3).
        biases: queries, keys and values have biases (Qwen2).
    """

    layers: int = Field(ge=1)
    hidden: int = Field(ge=1)
    intermediate: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    head: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    tied: bool = True
    head_norms: bool = True
    biases: bool = False

    @property
    def queries(self) -> int:
        """Width of all queries together."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Width of all keys together; values have the same."""
        return self.kv_heads * self.head

    def linears(self) -> dict[str, tuple[int, int]]:
        """Return (input width, output width) of each matrix of one layer, by its name in transformers."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }


class Parameters(Value):
    """Number of weights by part.

    Args:
        attention: with head norms and biases.
        head: 0 where the head shares the embedding.
    """

    embedding: int
    attention: int
    mlp: int
    norms: int
    head: int

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return self.embedding + self.attention + self.mlp + self.norms + self.head


def count_parameters(shape: Shape) -> Parameters:
    """Return the number of weights, the same that transformers creates."""
    matrices = {name: rows * columns for name, (rows, columns) in shape.linears().items()}
    attention = sum(matrices[name] for name in ("q_proj", "k_proj", "v_proj", "o_proj"))
    # One norm weight vector for the queries' heads and one for the keys' heads; one bias vector for each of q, k, v.
    attention += 2 * shape.head * shape.head_norms + (shape.queries + 2 * shape.keys) * shape.biases
    table = shape.vocabulary * shape.hidden
    return Parameters(
        embedding=table,
        attention=shape.layers * attention,
        mlp=shape.layers * sum(matrices[name] for name in ("gate_proj", "up_proj", "down_proj")),
        norms=shape.hidden * (2 * shape.layers + 1),  # two in each layer, one before the head
        head=0 if shape.tied else table,
    )


def count_layer_weights(shape: Shape) -> int:
    """Return the weights of the matrices of one layer; a token is multiplied by each of them once."""
    return sum(rows * columns for rows, columns in shape.linears().values())


def count_multiplied(shape: Shape) -> int:
    """Return the weights that one token is multiplied by, head included. Looking up an embedding multiplies nothing."""
    return shape.layers * count_layer_weights(shape) + shape.vocabulary * shape.hidden


def count_adapter(shape: Shape, rank: int, targets: tuple[str, ...] = ("all-linear",)) -> int:
    """Return the weights of LoRA adapters (arXiv 2106.09685) of this rank on the matrices `targets` of every layer.

    Raises:
        InputError: as `adapted_matrices`.
    """
    return shape.layers * rank * sum(map(sum, adapted_matrices(shape, targets)))


def adapted_matrices(shape: Shape, targets: tuple[str, ...] = ("all-linear",)) -> list[tuple[int, int]]:
    """Return (input width, output width) of the matrices of one layer that get an adapter.

    Raises:
        InputError: a target names no matrix of a layer.
    """
    linears = shape.linears()
    if unknown := [name for name in targets if name != "all-linear" and name not in linears]:
        raise InputError(
            f"lora.targets names {unknown[0]!r}, which is not a matrix of a layer; there are all-linear, {', '.join(linears)}"
        )
    chosen = linears if "all-linear" in targets else dict.fromkeys(targets)
    return [linears[name] for name in chosen]


SHAPES: dict[str, Shape] = {
    "Qwen3-0.6B": Shape(layers=28, hidden=1024, intermediate=3072, heads=16, kv_heads=8, head=128, vocabulary=151936),
    "Qwen3-1.7B": Shape(layers=28, hidden=2048, intermediate=6144, heads=16, kv_heads=8, head=128, vocabulary=151936),
    "Qwen3-4B": Shape(layers=36, hidden=2560, intermediate=9728, heads=32, kv_heads=8, head=128, vocabulary=151936),
    "Qwen3-8B": Shape(layers=36, hidden=4096, intermediate=12288, heads=32, kv_heads=8, head=128, vocabulary=151936, tied=False),
    "Qwen3-14B": Shape(layers=40, hidden=5120, intermediate=17408, heads=40, kv_heads=8, head=128, vocabulary=151936, tied=False),
    "Qwen3-32B": Shape(layers=64, hidden=5120, intermediate=25600, heads=64, kv_heads=8, head=128, vocabulary=151936, tied=False),
}
"""Shapes that need no network, by the last part of the repository's name. Variants such as -Base have the same shape."""
MODEL_TYPES = ("qwen3", "qwen2", "llama", "mistral")
"""Values of `model_type` in config.json whose weights this module counts."""


def find_shape(repository: str) -> Shape | None:
    """Return the shape of a repository such as `Qwen/Qwen3-4B` or `Qwen/Qwen3-4B-Base`; None for an unknown one."""
    last = repository.rstrip("/").rpartition("/")[2].lower()
    # The hyphen keeps Qwen3-4B apart from Qwen3-40B.
    names = [name for name in SHAPES if last == name.lower() or last.startswith(f"{name.lower()}-")]
    return SHAPES[names[0]] if names else None


def shape_from_config(config: Mapping[str, Any], source: str) -> Shape:
    """Return the shape that a transformers config.json describes. `source` is named in errors.

    Raises:
        InputError: the model is of another type, has weights that are not counted, or a key is missing or wrong.
    """
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise InputError(f"{source} has model_type {model_type!r}, which has no estimate; there are {', '.join(MODEL_TYPES)}")
    if odd := [name for name in ("attention_bias", "mlp_bias") if config.get(name)]:
        raise InputError(f"{source} has {odd[0]}, whose weights are not counted; estimate with a model without it")
    try:
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=config["num_attention_heads"],
            # The defaults of transformers for keys that an older config.json leaves out.
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            head=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", False),
            head_norms=model_type == "qwen3",
            biases=model_type == "qwen2",
        )
    except KeyError as error:
        raise InputError(f"{source} lacks the key {error}; give the config.json of a whole model") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{source} has {first['loc'][0]} = {first['input']!r}; {first['msg']}") from error
