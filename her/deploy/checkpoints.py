"""Read and check a checkpoint folder without torch: model, size, licence, and what is missing before it can chat.

A checkpoint is named by its folder, or by the run that made it (HER_HOME/runs/NAME/model).
"""

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from her import paths
from her.errors import InputError
from her.files.atomic import file_hash
from her.runs.folder import runs_folder
from her.types import Value

INDEX = "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_POINTER = b"version https://git-lfs"
DECIDING = (".safetensors", ".json", ".jinja", ".model")
"""Endings of the files that decide what a checkpoint says; `merges.txt` of a tokenizer does so as well."""
RECORDS = ("her.json", "free_metrics.json", "trainer_state.json")
"""Files with such an ending that say something about a checkpoint."""
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Number formats as safetensors and as transformers spell them."""


class Checkpoint(Value):
    """Content of a checkpoint folder.

    Args:
        name: name of the run, else of the folder.
        architecture: class in transformers, such as Qwen3ForCausalLM.
        dtype: number format of most weights, as transformers spells it.
        weights: number of weights; `size` is in bytes.
        context: longest prompt and reply in tokens; 0 when the config does not say.
        heads: attention heads; 0 when the config does not say.
        cache: bytes of the key-value cache for one token, in the checkpoint's own dtype; 0 when unknown.
        licence: licence of the model card, else "see LICENSE" when there is such a file; else empty.
        ends: ids of the tokens that end a reply.
        base: base model, when the model card names it.
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


class _Weights(NamedTuple):
    """Number of weights by number format of safetensors, and bytes of all tensors."""

    counts: Counter[str]
    size: int


def find_folder(name: str) -> Path | None:
    """Return the folder of a path or of the name of a run; None when neither exists.

    Raises:
        InputError: the run exists and has no model yet.
    """
    folder = paths.expanded(name)
    if folder.is_dir():
        return folder.resolve()
    # A path or repository is never the name of a run.
    if "/" in name or name.startswith(".") or not (run := runs_folder() / name).is_dir():
        return None
    if not (run / "model").is_dir():
        if camps := sorted(run.glob("camp-*/model")):
            raise InputError(f"run '{name}' has a model for each camp of raters; give one of {', '.join(map(str, camps))}")
        raise InputError(f"run '{name}' has no model yet ('{run / 'model'}' is missing); resume it or name another")
    return run / "model"


def read_checkpoint(name: str) -> Checkpoint:
    """Read the checkpoint of a folder or a run.

    Raises:
        InputError: no such folder or run, an adapter without its base, or missing files, all of which are named.
    """
    folder = find_folder(name)
    if folder is None:
        raise InputError(f"'{name}' is neither a folder nor a run with a model; 'her runs' lists the runs")
    return read_folder(folder)


def read_folder(folder: Path) -> Checkpoint:
    """Read the checkpoint in a folder. Raises as `read_checkpoint`."""
    _refuse_adapter(folder)
    if problems := list_problems(folder):
        raise InputError(f"'{folder}' is not a checkpoint that can chat: {'; '.join(problems)}")
    config = _read_json(folder / "config.json")
    weights = _count_weights(folder)
    front = read_front_matter(folder / "README.md")
    return Checkpoint(
        folder=folder,
        name=folder.parent.name if folder.name == "model" else folder.name,  # HER_HOME/runs/NAME/model
        architecture=next(iter(config.get("architectures") or [config.get("model_type", "")])),
        dtype=_dtype(config, weights.counts.most_common(1)[0][0]),
        weights=weights.counts.total(),
        size=weights.size,
        context=_int(_text_config(config).get("max_position_embeddings")),
        heads=_int(_text_config(config).get("num_attention_heads")),
        cache=_cache_bytes(config),
        licence=_licence(folder, front),
        ends=_end_ids(folder, config),
        base=_str(front.get("base_model")),
    )


def deciding_files(folder: Path) -> list[Path]:
    """List the files of a checkpoint that decide what it says: weights, configs, tokenizer and chat template."""
    return sorted(
        path
        for path in folder.iterdir()
        if (path.suffix in DECIDING or path.name == "merges.txt") and path.name not in RECORDS and not path.name.startswith(".")
    )


def checkpoint_hash(folder: Path) -> str:
    """Return one sha256 over names and contents of the deciding files; that of a run's model is that of the published one."""
    lines = [f"{file_hash(path)}  {path.name}\n" for path in deciding_files(folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def list_problems(folder: Path) -> list[str]:
    """List what a checkpoint needs and this folder lacks, one phrase each with its remedy."""
    problems = []
    if not (folder / "config.json").is_file():
        problems.append("config.json is missing, which says what model it is")
    if problem := weights_problem(folder):
        problems.append(problem)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        problems.append(f"the tokenizer is missing ({TOKENIZERS[0]}); save it beside the weights with save_pretrained")
    elif not _has_template(folder):
        problems.append("the chat template is missing (chat_template.jinja); a base model has none, fine-tune it first")
    if (folder / "config.json").is_file() and not _end_ids(folder, _read_json(folder / "config.json")):
        problems.append("no token is named that ends a reply (eos_token_id of generation_config.json)")
    return problems


def weights_problem(folder: Path) -> str:
    """Return what is wrong with the weight files of a folder, with the remedy; empty when all are there.

    Raises:
        InputError: the index of the weight files is damaged.
    """
    index = folder / INDEX
    if index.is_file():
        names = shard_names(index)
        gone = [name for name in names if not (folder / name).is_file()]
        if gone:
            return f"{len(gone)} of {len(names)} weight files are missing, such as {gone[0]}; copy the whole folder"
        return _pointer_problem([folder / name for name in names])
    if files := sorted(folder.glob("*.safetensors")):
        return _pointer_problem(files)
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        return f"its weights are pickles ({pickles[0]}), which can run code; save them with safe_serialization=True"
    return "the weights are missing (model.safetensors)"


def _pointer_problem(files: Sequence[Path]) -> str:
    """Return a phrase when a weight file is a pointer of Git LFS, a few lines of text; empty otherwise."""
    for file in files:
        with file.open("rb") as opened:
            if opened.read(len(_POINTER)) == _POINTER:
                return f"{file.name} is a pointer of Git LFS, not weights; run `git lfs pull` in the folder"
    return ""


def shard_names(index: Path) -> list[str]:
    """Return the names of the weight files that an index lists; only files in its own folder are accepted.

    Raises:
        InputError: the index cannot be read, lists no files, or names a path.
    """
    listed = _read_json(index).get("weight_map")
    names = list(listed.values()) if isinstance(listed, dict) else []
    # A path in a downloaded index could make the caller read files elsewhere.
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise InputError(f"'{index}' names no weight files in its own folder; copy it again")
    return sorted(set(names))


def read_front_matter(card: Path) -> Mapping[str, Any]:
    """Return the front matter of a model card (README.md); empty when there is no card or it has none.

    Raises:
        InputError: the front matter is not a YAML mapping.
    """
    if not card.is_file():
        return {}
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"the model card '{card}' has front matter that is not valid YAML; correct or delete it") from error


def _refuse_adapter(folder: Path) -> None:
    path = folder / "adapter_config.json"
    # Weights of a model beside it: then the adapter is a leftover, not what the folder is about.
    if not path.is_file() or any(folder.glob("model*.safetensors")):
        return
    base = _read_json(path).get("base_model_name_or_path") or "its base"
    if (folder.parent / "model" / "config.json").is_file():
        raise InputError(f"'{folder}' is an adapter of {base}; its merged model is beside it: '{folder.parent / 'model'}'")
    merge = (
        f"from peft import AutoPeftModelForCausalLM as M; M.from_pretrained({json.dumps(str(folder))})"
        f'.merge_and_unload().save_pretrained("MERGED")'
    )
    raise InputError(
        f"'{folder}' is an adapter of {base}, not a model; merge it first: python -c {shlex.quote(merge)}, "
        "then copy the tokenizer files"
    )


def _count_weights(folder: Path) -> _Weights:
    """Read the headers of all weight files; InputError for a truncated or foreign file."""
    index = folder / INDEX
    names = shard_names(index) if index.is_file() else sorted(path.name for path in folder.glob("*.safetensors"))
    files = [_file_weights(folder / name) for name in names]
    return _Weights(sum((file.counts for file in files), Counter()), sum(file.size for file in files))


def _file_weights(path: Path) -> _Weights:
    from huggingface_hub import parse_local_safetensors_file_metadata
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        header = parse_local_safetensors_file_metadata(path)
        ends = [tensor.data_offsets[1] for tensor in header.tensors.values()]
    except (SafetensorsParsingError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"'{path}' is not a safetensors file, or truncated; copy it again") from error
    data_size = max(ends, default=0)
    # The library checks the header only. The file is 8 bytes with the header's length, the header, then the data.
    with path.open("rb") as file:
        needed = 8 + int.from_bytes(file.read(8), "little") + data_size
    if (size := path.stat().st_size) < needed or not ends:
        raise InputError(f"'{path}' is truncated ({size:,} of {needed:,} bytes); copy it again")
    return _Weights(Counter(header.parameter_count), data_size)


def _read_json(path: Path) -> dict[str, Any]:
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
    path = folder / "tokenizer_config.json"  # older versions of transformers save the template in there
    return path.is_file() and bool(_read_json(path).get("chat_template"))


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of the text model, which multimodal models nest."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _cache_bytes(config: Mapping[str, Any]) -> int:
    """Return the bytes of keys and values of one token over all layers: two bytes a number, four in float32."""
    inner = _text_config(config)
    layers, heads = _int(inner.get("num_hidden_layers")), _int(inner.get("num_attention_heads"))
    head_size = _int(inner.get("head_dim")) or (_int(inner.get("hidden_size")) // heads if heads else 0)
    kv_heads = _int(inner.get("num_key_value_heads")) or heads
    # 2: keys and values. Fewer kv_heads than heads is grouped-query attention.
    return 2 * layers * kv_heads * head_size * (4 if _dtype(config, "") == "float32" else 2)


def _dtype(config: Mapping[str, Any], stored: str) -> str:
    """Return the number format that the config names, else that of the stored weights."""
    # Newer versions of transformers write `dtype`, older ones `torch_dtype`.
    name = config.get("dtype") or config.get("torch_dtype") or _text_config(config).get("dtype")
    return name if isinstance(name, str) else _DTYPES.get(stored, stored.lower())


def _end_ids(folder: Path, config: Mapping[str, Any]) -> tuple[int, ...]:
    path = folder / "generation_config.json"
    ids = (_read_json(path) if path.is_file() else {}).get("eos_token_id", _text_config(config).get("eos_token_id"))
    return tuple(token for token in (ids if isinstance(ids, list) else [ids]) if isinstance(token, int))


def _licence(folder: Path, front: Mapping[str, Any]) -> str:
    name = _str(front.get("license_name")) or _str(front.get("license"))
    files = sorted(path.name for pattern in ("LICENSE*", "LICENCE*") for path in folder.glob(pattern))
    return name or (f"see {files[0]}" if files else "")


def _str(value: object) -> str:
    return value if isinstance(value, str) else ""


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
