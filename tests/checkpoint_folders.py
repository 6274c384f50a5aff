"""Checkpoint folders with the files of a model and weights of a few bytes, written without torch."""

import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "dtype": "bfloat16",
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": 28,
    "max_position_embeddings": 40960,
    "eos_token_id": 7,
}
CARD = "---\nlicense: apache-2.0\nbase_model: Qwen/Qwen3-0.6B\n---\n# ann\n"


def checkpoint(folder: Path, **config: Any) -> Path:
    """A whole one; `config` changes fields of its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}), "utf-8")
    (folder / "model.safetensors").write_bytes(weights())
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    (folder / "chat_template.jinja").write_text("{{ messages }}", "utf-8")
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 8]}', "utf-8")
    (folder / "README.md").write_text(CARD, "utf-8")
    return folder


def weights(count: int = 6, form: str = "BF16", width: int = 2) -> bytes:
    """A safetensors file with one tensor of zeros."""
    entry = {"dtype": form, "shape": [2, count // 2], "data_offsets": [0, count * width]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "model.embed_tokens.weight": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(count * width)
