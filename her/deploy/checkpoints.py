"""A checkpoint folder, read and checked without torch: what it is, how large, and what is missing before it can chat.

A checkpoint is named by its folder, or by the run that made it (HER_HOME/runs/NAME/model).
"""

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from her import paths
from her.errors import InputError
from her.runs.folder import runs_folder
from her.types import Value

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_LONGEST_HEADER = 100_000_000


class Checkpoint(Value):
    """What a folder holds.

    Args:
        name: of the run, else of the folder.
        architecture: class in transformers, such as Qwen3ForCausalLM.
        dtype: of most weights, as transformers spells it.
        weights: how many; `size` in bytes.
        context: longest prompt and reply in tokens; 0 when the config does not say.
        heads: of attention; 0 when the config does not say.
        cache: bytes of the key-value cache for one token, in the checkpoint's own dtype; 0 when not known.
        licence: as the card says, else of the licence file "see LICENSE"; empty when neither is there.
        ends: the tokens that end a reply, by their ids.
        base: what it was trained from, when the card says so.
    """

    folder: Path
    name: str
    architecture: str
    dtype: str
    weights: int
    size: int
    context: int
    heads: int
    cache: int
    licence: str = ""
    ends: tuple[int, ...] = ()
    base: str = ""


def locate(name: str) -> Path | None:
    """The folder that a path or the name of a run means; None when there is neither.

    Raises:
        InputError: the run is there and has no model yet.
    """
    folder = paths.expanded(name)
    if folder.is_dir():
        return folder.resolve()
    if "/" in name or name.startswith(".") or not (run := runs_folder() / name).is_dir():
        return None
    if not (run / "model").is_dir():
        raise InputError(f"run '{name}' has no model yet ('{run / 'model'}' is missing); go on with it or name another")
    return run / "model"


def read_checkpoint(name: str) -> Checkpoint:
    """The checkpoint of a folder or a run.

    Raises:
        InputError: no such folder or run; an adapter alone; or something that is missing, all of it named.
    """
    folder = locate(name)
    if folder is None:
        raise InputError(f"'{name}' is neither a folder nor a run with a model; 'her runs' lists the runs")
    return read_folder(folder)


def read_folder(folder: Path) -> Checkpoint:
    """As `read`, for a folder."""
    _refuse_adapter(folder)
    lacking = missing(folder)
    if lacking:
        raise InputError(f"'{folder}' is no checkpoint that can chat: {'; '.join(lacking)}")
    config = _json(folder / "config.json")
    tensors = _tensors(folder)
    widths: dict[str, int] = {}
    for form, count in tensors:
        widths[form] = widths.get(form, 0) + count
    card = _card(folder)
    return Checkpoint(
        folder=folder,
        name=folder.parent.name if folder.name == "model" else folder.name,
        architecture=next(iter(config.get("architectures") or [config.get("model_type", "")])),
        dtype=_dtype(config, max(widths, key=lambda form: widths[form])),
        weights=sum(widths.values()),
        size=sum(count * _WIDTHS.get(form, 1) for form, count in tensors),
        context=_context(config),
        heads=_whole(_inner(config).get("num_attention_heads")),
        cache=_cache(config),
        licence=_licence(folder, card),
        ends=_ends(folder, config),
        base=_text(card.get("base_model")),
    )


def missing(folder: Path) -> list[str]:
    """What a checkpoint needs and this folder lacks, a phrase each with what would mend it."""
    lacking = []
    if not (folder / "config.json").is_file():
        lacking.append("config.json is missing, which says what model it is")
    lacking += _missing_weights(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        lacking.append(f"the tokenizer is missing ({TOKENIZERS[0]}); save it beside the weights with save_pretrained")
    elif not _has_template(folder):
        lacking.append("the chat template is missing (chat_template.jinja); a base model has none, fine-tune it first")
    if (folder / "config.json").is_file() and not _ends(folder, _json(folder / "config.json")):
        lacking.append("no token is named that ends a reply (eos_token_id of generation_config.json)")
    return lacking


def _missing_weights(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = shards(index)
        gone = [name for name in named if not (folder / name).is_file()]
        return [f"{len(gone)} of {len(named)} weight files are missing, such as {gone[0]}; copy it whole"] if gone else []
    if any(folder.glob("*.safetensors")):
        return []
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        return [f"its weights are pickles ({pickles[0]}), which can run code; save them with safe_serialization=True"]
    return ["the weights are missing (model.safetensors)"]


def shards(index: Path) -> list[str]:
    """The weight files that an index names, all of them beside it."""
    named = _json(index).get("weight_map")
    names = list(named.values()) if isinstance(named, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise InputError(f"'{index}' names no weight files that stand beside it; copy it again")
    return sorted(set(names))


def _refuse_adapter(folder: Path) -> None:
    path = folder / "adapter_config.json"
    if not path.is_file() or any(folder.glob("model*.safetensors")):
        return
    base = _json(path).get("base_model_name_or_path") or "its base"
    if (folder.parent / "model" / "config.json").is_file():
        raise InputError(f"'{folder}' is an adapter of {base}; its merged model stands beside it: '{folder.parent / 'model'}'")
    merge = (
        f"from peft import AutoPeftModelForCausalLM as M; M.from_pretrained({json.dumps(str(folder))})"
        f'.merge_and_unload().save_pretrained("MERGED")'
    )
    raise InputError(
        f"'{folder}' is an adapter of {base}, not a model; merge it first: python -c {shlex.quote(merge)}, "
        "then copy the tokenizer files"
    )


def _tensors(folder: Path) -> list[tuple[str, int]]:
    """Number format and size of every tensor; InputError for a file that is cut short or no safetensors."""
    index = folder / "model.safetensors.index.json"
    names = shards(index) if index.is_file() else sorted(path.name for path in folder.glob("*.safetensors"))
    return [tensor for name in names for tensor in _header(folder / name)]


def _header(path: Path) -> list[tuple[str, int]]:
    """The tensors that a safetensors file says it holds: 8 bytes of length, then JSON (its published format)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if 0 < length <= min(size - 8, _LONGEST_HEADER) else b""
    try:
        header = json.loads(text)
        entries = [entry for key, entry in header.items() if key != "__metadata__"]
        tensors = [(entry["dtype"], math.prod(entry["shape"]), entry["data_offsets"][1]) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"'{path}' is no safetensors file, or cut short; copy it again") from error
    needed = 8 + length + max((end for _, _, end in tensors), default=0)
    if size < needed or not tensors:
        raise InputError(f"'{path}' is cut short ({size:,} of {needed:,} bytes); copy it again")
    return [(form, count) for form, count, _ in tensors]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read as JSON ({error}); copy it again") from error
    if not isinstance(value, dict):
        raise InputError(f"'{path}' holds no JSON object; copy it again")
    return value


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or any(folder.glob("additional_chat_templates/*.jinja")):
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(_json(path).get("chat_template"))


def _inner(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of the config that tells of the text model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _context(config: Mapping[str, Any]) -> int:
    return _whole(_inner(config).get("max_position_embeddings"))


def _cache(config: Mapping[str, Any]) -> int:
    """Bytes a token: keys and values of every layer, two bytes a number (four in float32)."""
    inner = _inner(config)
    layers, heads = _whole(inner.get("num_hidden_layers")), _whole(inner.get("num_attention_heads"))
    width = _whole(inner.get("head_dim")) or (_whole(inner.get("hidden_size")) // heads if heads else 0)
    shared = _whole(inner.get("num_key_value_heads")) or heads
    return 2 * layers * shared * width * (4 if _dtype(config, "") == "float32" else 2)


def _dtype(config: Mapping[str, Any], stored: str) -> str:
    named = config.get("dtype") or config.get("torch_dtype") or _inner(config).get("dtype")
    spelled = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(stored, stored.lower())
    return named if isinstance(named, str) else spelled


def _ends(folder: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    path = folder / "generation_config.json"
    named = (_json(path) if path.is_file() else {}).get("eos_token_id", _inner(config).get("eos_token_id"))
    listed = named if isinstance(named, list) else [named]
    return tuple(each for each in listed if isinstance(each, int))


def _card(folder: Path) -> Mapping[str, Any]:
    """The front matter of the model card; empty when it has none that can be read."""
    path = folder / "README.md"
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    if not text.startswith("---\n"):
        return {}
    try:
        front = yaml.safe_load(text[4:].partition("\n---")[0])
    except yaml.YAMLError as error:
        raise InputError(f"the card of '{folder}' (README.md) has front matter that is no YAML; mend or delete it") from error
    return front if isinstance(front, dict) else {}


def _licence(folder: Path, card: Mapping[str, Any]) -> str:
    named = _text(card.get("license_name")) or _text(card.get("license"))
    files = sorted(path.name for pattern in ("LICENSE*", "LICENCE*") for path in folder.glob(pattern))
    return named or (f"see {files[0]}" if files else "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
