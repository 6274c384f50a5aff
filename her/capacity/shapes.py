"""Shapes of causal language models and of GPUs, as numbers: what `her estimate` reckons with. Pure; loads no model.

The shapes by name are those their makers published (config.json of Qwen/Qwen3-*); the cards are the makers' data sheets, bf16
without sparsity.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from her.errors import InputError
from her.types import Value


class Shape(Value):
    """A dense transformer with grouped-query attention and a gated MLP, as Qwen3, Qwen2, Llama and Mistral are.

    Args:
        hidden: width; `intermediate` of the MLP.
        heads: query heads; `kv_heads` of keys and values; `head` the width of one.
        tied: whether the head is the embedding.
        head_norms: whether queries and keys are normalised (Qwen3); `biases` whether they and the values have biases (Qwen2).
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
        """Width of all keys together, and of all values."""
        return self.kv_heads * self.head

    def linears(self) -> dict[str, tuple[int, int]]:
        """The matrices of one layer by their names in transformers: what goes in, what comes out."""
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
    """How many weights a model has, by part. `attention` holds the norms of its heads and its biases.

    Args:
        head: 0 where it is the embedding.
    """

    embedding: int
    attention: int
    mlp: int
    norms: int
    head: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.attention + self.mlp + self.norms + self.head


def parameters(shape: Shape) -> Parameters:
    """The weights of a shape; transformers makes exactly so many."""
    matrices = {name: rows * columns for name, (rows, columns) in shape.linears().items()}
    attention = sum(matrices[name] for name in ("q_proj", "k_proj", "v_proj", "o_proj"))
    attention += 2 * shape.head * shape.head_norms + (shape.queries + 2 * shape.keys) * shape.biases
    table = shape.vocabulary * shape.hidden
    return Parameters(
        embedding=table,
        attention=shape.layers * attention,
        mlp=shape.layers * sum(matrices[name] for name in ("gate_proj", "up_proj", "down_proj")),
        norms=shape.hidden * (2 * shape.layers + 1),
        head=0 if shape.tied else table,
    )


def layer_weights(shape: Shape) -> int:
    """Weights of the matrices of one layer: all that a token is multiplied with there."""
    return sum(rows * columns for rows, columns in shape.linears().values())


def multiplied(shape: Shape) -> int:
    """Weights a token is multiplied with on its way through model and head; looking up its embedding costs nothing."""
    return shape.layers * layer_weights(shape) + shape.vocabulary * shape.hidden


def adapter(shape: Shape, rank: int, targets: tuple[str, ...] = ("all-linear",)) -> int:
    """Weights of low-rank adapters on these matrices of every layer; raises as `adapted`."""
    return shape.layers * rank * sum(map(sum, adapted(shape, targets)))


def adapted(shape: Shape, targets: tuple[str, ...] = ("all-linear",)) -> list[tuple[int, int]]:
    """The matrices of one layer that get an adapter: what goes in, what comes out.

    Raises:
        InputError: a target that is none of them.
    """
    linears = shape.linears()
    if unknown := [name for name in targets if name != "all-linear" and name not in linears]:
        raise InputError(
            f"lora.targets names {unknown[0]!r}, which cannot be counted; there are all-linear, {', '.join(linears)}"
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
"""Known without a network, by the last part of a repository's name; what follows such as -Base is of the same shape."""
KINDS = ("qwen3", "qwen2", "llama", "mistral")
"""Values of `model_type` whose weights are counted here."""


def named(repository: str) -> Shape | None:
    """The shape of a repository such as `Qwen/Qwen3-4B` or `Qwen/Qwen3-4B-Base`; None for one that is not known."""
    last = repository.rstrip("/").rpartition("/")[2].lower()
    found = [name for name in SHAPES if last == name.lower() or last.startswith(f"{name.lower()}-")]
    return SHAPES[found[0]] if found else None


def shape_of(config: Mapping[str, Any], source: str) -> Shape:
    """The shape that a transformers config.json tells.

    Raises:
        InputError: it is of a kind that is not counted here, or something is missing; `source` is named.
    """
    kind = config.get("model_type")
    if kind not in KINDS:
        raise InputError(f"{source} is of model_type {kind!r}, which cannot be planned; there are {', '.join(KINDS)}")
    if odd := [name for name in ("attention_bias", "mlp_bias") if config.get(name)]:
        raise InputError(f"{source} has {odd[0]}, whose weights are not counted here; plan with a model without")
    try:
        return Shape(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            head=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", False),
            head_norms=kind == "qwen3",
            biases=kind == "qwen2",
        )
    except KeyError as error:
        raise InputError(f"{source} lacks the key {error}; give the config.json of a whole model") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{source} has {first['loc'][0]} = {first['input']!r}; {first['msg']}") from error


class Gpu(Value):
    """A card.

    Args:
        memory: bytes; `flops` bf16 a second without sparsity; `bandwidth` bytes a second.
        dollars: an hour; 0 when nobody said.
    """

    name: str
    memory: float = Field(gt=0)
    flops: float = Field(gt=0)
    bandwidth: float = Field(gt=0)
    dollars: float = Field(default=0, ge=0)


GPUS: dict[str, Gpu] = {
    "B200": Gpu(name="B200", memory=180e9, flops=2250e12, bandwidth=8.0e12),
    "MI300X": Gpu(name="MI300X", memory=192e9, flops=1307e12, bandwidth=5.3e12),
    "H200": Gpu(name="H200", memory=141e9, flops=989e12, bandwidth=4.8e12),
    "H100": Gpu(name="H100", memory=80e9, flops=989e12, bandwidth=3.35e12),
    "A100-80GB": Gpu(name="A100-80GB", memory=80e9, flops=312e12, bandwidth=2.04e12),
    "A100-40GB": Gpu(name="A100-40GB", memory=40e9, flops=312e12, bandwidth=1.555e12),
    "L40S": Gpu(name="L40S", memory=48e9, flops=362e12, bandwidth=0.864e12),
    "RTX4090": Gpu(name="RTX4090", memory=24e9, flops=165e12, bandwidth=1.008e12),
    "L4": Gpu(name="L4", memory=24e9, flops=121e12, bandwidth=0.3e12),
}


def gpu(name: str) -> Gpu:
    """The card of that name, in any case; InputError names those that are known."""
    for known, card in GPUS.items():
        if known.lower() == name.lower():
            return card
    raise InputError(f"there is no GPU {name!r}; there are {', '.join(GPUS)}")
