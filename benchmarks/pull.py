"""Publish tiny checkpoints of every kind to a local Hub and pull them into an empty home: the same figures, the same words.

    python -m benchmarks.pull

Publishing and pulling are processes of their own with homes and caches of their own, as on two machines. `her pull` says whether
the free metrics are those of the card; the ten greedy turns, or the scores, are taken here once more from both folders, by
transformers alone. Each checkpoint is spoilt as well, by its last norm, to see that the comparison would notice.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import report
from tests.hub import WRITER, Hub, running_hub
from tests.hub_runs import CARD, write_run
from tests.processes import run_to_end

ROOT = Path(__file__).resolve().parents[1]
KINDS = {
    "sft": ("sft", ""),
    "rl": ("rl", ""),
    "scalar": ("reward", 'head = "scalar"'),
    "generative": ("reward", 'head = "generative"'),
}
"""Name of a run -> its pipeline, and a line of its settings."""
BAR = {"equal": len(KINDS), "same_words": len(KINDS), "spoilt_noticed": len(KINDS), "minutes": 10}


def main() -> None:
    began = time.monotonic()
    os.environ["HF_HUB_OFFLINE"] = "1"  # here nothing is asked of any Hub
    with tempfile.TemporaryDirectory() as name, running_hub(Path(name) / "hub") as hub:
        folder = Path(name)
        rows = {run: publish_and_pull(folder, hub, run, seed) for seed, run in enumerate(KINDS)}
    sums = {key: sum(row[key] for row in rows.values()) for key in ("equal", "same_words", "spoilt_noticed")}
    minutes = round((time.monotonic() - began) / 60, 2)
    passed = all(count == len(KINDS) for count in sums.values()) and minutes <= BAR["minutes"]
    report("pull", BAR, {**sums, "minutes": minutes, "said": {run: row["said"] for run, row in rows.items()}}, passed)


def publish_and_pull(folder: Path, hub: Hub, run: str, seed: int) -> dict[str, Any]:
    pipeline, setting = KINDS[run]
    model = make_model(folder / "made" / run, scalar=run == "scalar", seed=seed)
    files = {f"model/{path.name}": path.read_bytes() for path in model.iterdir()} | {"model/README.md": CARD.encode()}
    write_run(folder / "home", run, files, pipeline, settings=f'name = "{run}"\n{setting}\n')
    her(folder, hub, "home", "publish", run, f"ada/{run}")
    said = her(folder, hub, f"fresh-{run}", "pull", f"ada/{run}@{run}")
    pulled = folder / f"fresh-{run}" / "pulled" / f"ada--{run}@{run}"
    return {
        "equal": "free metrics: equal" in said,
        "same_words": words(pulled, run == "scalar") == words(model, run == "scalar"),
        "spoilt_noticed": bool(spoilt(folder, pulled)),
        "said": next((line for line in said.splitlines() if line.startswith("free metrics")), said),
    }


def make_model(folder: Path, scalar: bool, seed: int) -> Path:
    """Write a tiny model with random weights; its context takes the prompts of the playground."""
    from tests.tiny import make_tiny

    make_tiny(folder, context=4096, seed=seed)
    if scalar:
        import torch
        from transformers import AutoModelForSequenceClassification

        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
        model.save_pretrained(folder)
    return folder


def her(folder: Path, hub: Hub, home: str, *command: str) -> str:
    changed = {"HER_HOME": str(folder / home), "HF_HOME": str(folder / f"{home}-hub"), "HF_ENDPOINT": hub.address}
    changed |= {"HF_TOKEN": WRITER, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    done = run_to_end([sys.executable, "-m", "her.cli", *command], cwd=ROOT, env={**os.environ, **changed})
    if done.returncode:
        raise SystemExit(f"her {' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


def words(folder: Path, scalar: bool) -> list[Any]:
    """Return ten greedy turns or ten scores, without anything of this project."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    kind = AutoModelForSequenceClassification if scalar else AutoModelForCausalLM
    tokenizer, model = AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder).eval()
    found: list[Any] = []
    for number in range(10):
        asked = [{"role": "user", "content": f"Bell: May I come in, Ann? {number}"}]
        ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        if scalar:
            found.append(model(**ids).logits[0, 0].item())
        else:
            found.append(tokenizer.decode(model.generate(**ids, max_new_tokens=40, do_sample=False)[0]))
    return found


def spoilt(folder: Path, pulled: Path) -> list[str]:
    """Turn the last norm around, so that the least likely token is the likeliest, and return what the comparison says."""
    from safetensors.torch import load_file, save_file

    from her.deploy.hub.figures import read_figures, unlike
    from her.deploy.hub.manifest import MANIFEST, read_manifest
    from her.judging.checkpoint_figures import measure_checkpoint

    copy = folder / "spoilt" / pulled.name
    shutil.copytree(pulled, copy)
    weights = load_file(copy / "model.safetensors")
    name = next(key for key in weights if key.endswith("model.norm.weight"))
    weights[name] = -weights[name]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    published = read_figures(pulled, read_manifest(pulled / MANIFEST, pulled.name))
    assert published is not None, "the publication has no figures"
    return unlike(published, measure_checkpoint(copy, published.prompts))


if __name__ == "__main__":
    main()
