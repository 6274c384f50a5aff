"""pipelines/models/loading.py: tokenizers and models from folders and from scratch; what does not fit is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from her.errors import InputError
from pipelines.models.loading import load_model, load_tokenizer, lora_config, resolve_device
from pipelines.models.options import LoraOptions, ModelOptions, ShapeOptions
from tests.tiny import CORPUS

pytestmark = pytest.mark.whole
PLAIN = LoraOptions()
SHAPE = ShapeOptions(hidden=32, intermediate=64, layers=2, heads=2, kv_heads=1, head=16, vocabulary=400, context=512)


@pytest.fixture
def copied(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "copied"))


@pytest.mark.parametrize(("precision", "name"), [("float32", "float32"), ("mixed", "float32"), ("bfloat16", "bfloat16")])
def test_a_model_from_scratch(precision: str, name: str) -> None:
    import torch

    options = ModelOptions.model_validate({"shape": SHAPE, "precision": precision})
    tokenizer = load_tokenizer(options, CORPUS)
    torch.manual_seed(3)
    model = load_model(options, PLAIN, tokenizer, "cpu")
    torch.manual_seed(3)
    again = load_model(options, PLAIN, tokenizer, "cpu")
    assert str(model.dtype) == f"torch.{name}"
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert all(torch.equal(first, second) for first, second in zip(model.parameters(), again.parameters(), strict=True))
    assert model.config.tie_word_embeddings
    assert (model.config.vocab_size, model.config.max_position_embeddings) == (len(tokenizer), 512)
    assert (model.config.eos_token_id, tokenizer.eos_token) == (tokenizer.eos_token_id, "<|im_end|>")


@pytest.mark.parametrize("template", ["own", "chatml"])
def test_a_folder(base: Path, template: str) -> None:
    options = ModelOptions(base=str(base), template=template)
    tokenizer = load_tokenizer(options)
    model = load_model(options, PLAIN, tokenizer, "auto", attention="eager")
    assert tokenizer.eos_token == "<|im_end|>"
    assert ("{% generation" in tokenizer.chat_template) == (template == "own")
    assert model.config._attn_implementation == "eager"


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def half(folder: Path) -> None:
    """Some weights are not there: transformers would fill them with random numbers."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 100}))


def shard_gone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def cut_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weig')


def bare_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")


def more_tokens(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:300].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), r"the weights are missing \(model.safetensors\)"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "cannot be read as a causal language model"),
        (pickled, r"its weights are pickles \(pytorch_model.bin\)"),
        (half, r"lacks 1 of its weights, such as model.layers.1.mlp.up_proj.weight"),
        (other_shape, "cannot be read as a causal language model"),
        (cut_index, "model.safetensors.index.json' cannot be read as JSON"),
        (bare_index, "names no weight files"),
        (shard_gone, "1 of 1 weight files are missing, such as model-00002-of-00002.safetensors"),
        (more_tokens, r"the tokenizer has \d+ tokens and the model '.*' takes 300"),
    ],
)
def test_broken_weights_are_refused(copied: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    options = ModelOptions(base=str(copied), template="own")
    tokenizer = load_tokenizer(options)
    spoil(copied)
    with pytest.raises(InputError, match=sentence):
        load_model(options, PLAIN, tokenizer, "cpu")


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


def only_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (no_tokenizer, "has no tokenizer; a checkpoint needs its tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "the tokenizer of '.*' cannot be read"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json, so no model"),
        (lambda folder: (folder / "config.json").write_text("[]"), "cannot be read"),
        (lambda folder: (folder / "generation_config.json").write_text("{"), "generation_config.json of '.*' cannot be read"),
        (lambda folder: (folder / "generation_config.json").write_text("[]"), "generation_config.json of '.*' cannot be read"),
        (only_adapter, "holds only an adapter; give the merged checkpoint"),
        (shutil.rmtree, "there is no such folder"),
    ],
)
def test_broken_folders_are_refused(copied: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    spoil(copied)
    with pytest.raises(InputError, match=sentence):
        load_tokenizer(ModelOptions(base=str(copied), template="own"))


@pytest.mark.parametrize("shape", [{"heads": 3, "kv_heads": 2}, {"head": 9}])
def test_impossible_shapes_are_refused(shape: dict[str, int]) -> None:
    options = ModelOptions(shape=SHAPE.model_copy(update=shape))
    with pytest.raises(InputError, match="must be a multiple of"):
        load_model(options, PLAIN, load_tokenizer(options, CORPUS), "cpu")


def test_adapters() -> None:
    assert lora_config(PLAIN) is None
    made = lora_config(LoraOptions(rank=4, alpha=8, dropout=0.1))
    assert made is not None
    assert (made.r, made.lora_alpha, made.lora_dropout, made.target_modules) == (4, 8, 0.1, "all-linear")
    named = lora_config(LoraOptions(rank=4, targets=("q_proj", "v_proj")))
    assert named is not None and named.target_modules == {"q_proj", "v_proj"}
    with pytest.raises(InputError, match="lora.targets names embed_tokens, lm_head"):
        lora_config(LoraOptions(rank=4, targets=("q_proj", "model.embed_tokens", "lm_head")))


def test_a_missing_gpu() -> None:
    """On a machine with a GPU only the choice of the device is tested."""
    import torch

    if torch.cuda.is_available():
        assert resolve_device("auto") == resolve_device("cuda") == "cuda"
        return
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    with pytest.raises(
        InputError, match=r"device=cuda needs a GPU .* pipelines/configs/tiny.toml and pipelines/configs/sft_smoke"
    ):
        resolve_device("cuda")
    options = ModelOptions(shape=SHAPE)
    tokenizer = load_tokenizer(options, CORPUS)
    with pytest.raises(InputError, match=r"lora.quantise=nf4 needs a GPU, .* pipelines/configs/tiny.toml"):
        load_model(options, LoraOptions(rank=4, quantise="nf4"), tokenizer, "auto")
