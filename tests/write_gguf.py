"""Write a tiny Qwen3 of tests/tiny.py as a GGUF file with the package `gguf`. Run: `python -m tests.write_gguf FOLDER FILE`"""

import json
import struct
import sys
from pathlib import Path

import numpy as np


def main(folder: Path, file: Path) -> None:
    """Write weights, shape and tokenizer; the pre-tokenizer is named as Qwen's, which is near enough for random weights."""
    import gguf

    config = json.loads((folder / "config.json").read_text())
    rope = (config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10_000.0
    writer = gguf.GGUFWriter(str(file), "qwen3")
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(rope)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    add_tokenizer(writer, folder, gguf)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    for name, tensor in tensors(folder / "model.safetensors"):
        writer.add_tensor(names.get_name(name, (".weight",)), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer, folder, gguf):  # type: ignore[no-untyped-def]  # gguf is not installed where this is checked
    """Add vocabulary, merges, marks and the chat template."""
    saved = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = {**saved["model"]["vocab"], **{token["content"]: token["id"] for token in saved["added_tokens"]}}
    special = {token["content"] for token in saved["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    kinds = (gguf.TokenType.CONTROL, gguf.TokenType.NORMAL)
    writer.add_token_types([kinds[0] if token in special else kinds[1] for token in tokens])
    writer.add_token_merges([" ".join(merge) if isinstance(merge, list) else merge for merge in saved["model"]["merges"]])
    writer.add_eos_token_id(vocabulary["<|im_end|>"])
    writer.add_pad_token_id(vocabulary["<|endoftext|>"])
    writer.add_add_bos_token(False)
    template = (folder / "chat_template.jinja").read_text()
    for mark in ("{% generation %}", "{% endgeneration %}"):
        template = template.replace(mark, "")
    writer.add_chat_template(template)


def tensors(file):  # type: ignore[no-untyped-def]
    """Yield names and float32 arrays of a safetensors file."""
    raw = file.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name != "__metadata__":
            first, last = (8 + size + place for place in entry["data_offsets"])
            yield name, np.frombuffer(raw[first:last], np.float32).reshape(entry["shape"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
