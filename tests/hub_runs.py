"""Finished runs for tests of publishing: folders as pipelines leave them, made in milliseconds without torch."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

from her.runs.folder import RunStatus

CONFIG = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "eos_token_id": 2}
SETTINGS = """name = "player"
seed = 7

[model]
base = ""
licence = ""

[samples]
files = ["/home/ada/rows/sft.parquet"]
runs = []
"""
CARD = "---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n\n# model\n\nTrained from random weights.\n"


def tensors(values: bytes = bytes(64), metadata: Mapping[str, str] | None = None, dtype: str = "U8") -> bytes:
    """Return a safetensors file of one tensor."""
    size = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4}[dtype]
    header = {"weight": {"dtype": dtype, "shape": [len(values) // size], "data_offsets": [0, len(values)]}}
    if metadata:
        header["__metadata__"] = dict(metadata)  # type: ignore[assignment]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def model_files() -> dict[str, bytes]:
    """Return the files of a run that fine-tuned a model."""
    return {
        "model/README.md": CARD.encode(),
        "model/config.json": json.dumps(CONFIG).encode(),
        "model/tokenizer.json": b'{"model": {"vocab": {"a": 0}}}',
        "model/chat_template.jinja": b"{{ messages }}",
        "model/model.safetensors": tensors(),
        "checkpoints/checkpoint-4/optimizer.pt": b"pickle",
        "log.txt": b"started\n",
    }


def write_run(
    home: Path,
    name: str,
    files: Mapping[str, bytes],
    pipeline: str = "sft",
    settings: str = SETTINGS,
    outputs: tuple[str, ...] | dict[str, str] = ("model/model.safetensors",),
    **status: object,
) -> Path:
    """Write the folder of a run; `status` changes fields of its status."""
    folder = home / "runs" / name
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "config.toml").write_text(settings)
    (folder / "metrics.jsonl").write_text('{"at": 1.0, "step": 4, "eval_loss": 2.5}\n{"at": 2.0, "step": 4, "well_formed": 3}\n')
    hashes = outputs if isinstance(outputs, dict) else {path: hashlib.sha256(files[path]).hexdigest() for path in outputs}
    fields = {"pipeline": pipeline, "state": "done", "seed": 7, "commit": "c0ffee", "outputs": hashes, "ended": 1.8e9}
    record = RunStatus.model_validate({**fields, "hashes": {"sft.parquet": "ab" * 32}, **status})
    (folder / "status.json").write_text(record.model_dump_json(indent=2))
    return folder
