"""Compare the policy update of a group as one row with TRL's padded rows on a CPU. Run: `python -m benchmarks.group_prefix`

One prompt of 2,600 tokens, 8 answers, hidden size 512, random weights, float32, old log-probabilities off the policy; forward
and backward pass under TRL's own `_compute_loss`, sampling excluded. Two sets of answers: `fixed`, all of 700 tokens, and
`varied`, of 350 to 1,050. Each measurement is a process of its own on one thread, sides alternate, and processor seconds of the
update count. TRL is taken at its fastest micro-batch of 1, 2, 4, 8; `answers_only` is TRL with its head on the tokens of answers
alone, as on a GPU. Memory is the peak of resident pages of the process, beside TRL at micro-batch 4. About ten minutes.

Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import report
from benchmarks.trainers import peak_mb

PROMPT, ANSWERS, VOCABULARY, HIDDEN = 2600, 8, 8192, 512
LENGTHS = {"fixed": [700] * 8, "varied": [350, 450, 550, 650, 750, 850, 950, 1050]}
MICRO = (1, 2, 4, 8)
REPEATS = 2
BAR = {"fixed": 2.5, "varied": 3.5, "answers_only": 2.0, "memory": 0.8, "gradients": 1e-5}


def main() -> None:
    """Measure all sides and report; with `--side` this is one measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=("shared", "light", "trl", "answers_only"))
    parser.add_argument("--lengths", choices=tuple(LENGTHS), default="fixed")
    parser.add_argument("--micro", type=int, default=ANSWERS)
    parser.add_argument("--gradients", type=Path)
    words = parser.parse_args()
    if words.side:
        print(json.dumps(measure(words.side, words.lengths, words.micro, words.gradients)))
        return
    with tempfile.TemporaryDirectory() as home:
        measured = compare(Path(home))
    ok = all(measured[name] >= BAR[name] for name in ("fixed", "varied", "answers_only"))
    ok = ok and measured["memory"] <= BAR["memory"] and measured["gradients"] <= BAR["gradients"]
    report("group_prefix", BAR, measured, ok)


def compare(home: Path) -> dict[str, Any]:
    """Return the ratios of answers a second, of memory, and the largest relative difference of a tensor's gradient."""
    seconds: dict[str, float] = {}
    peaks: dict[str, float] = {}
    for lengths in LENGTHS:
        ours: list[dict[str, Any]] = []
        theirs: dict[int, list[dict[str, Any]]] = {micro: [] for micro in MICRO}
        for repeat in range(REPEATS):
            saved = home / f"{lengths}-shared.pt"
            ours.append(_apart("shared", lengths, ANSWERS, saved))
            for micro in MICRO if repeat == 0 else [_fastest(theirs)]:
                theirs[micro].append(_apart("trl", lengths, micro, home / f"{lengths}-trl.pt" if micro == ANSWERS else None))
        seconds[f"{lengths}_shared"] = statistics.median(each["seconds"] for each in ours)
        seconds |= {f"{lengths}_trl_{m}": statistics.median(each["seconds"] for each in runs) for m, runs in theirs.items()}
        peaks |= {f"{lengths}_shared": ours[0]["peak_mb"], f"{lengths}_trl_4": theirs[4][0]["peak_mb"]}
    only = {micro: _apart("answers_only", "fixed", micro, None)["seconds"] for micro in MICRO}
    seconds |= {f"answers_only_trl_{micro}": value for micro, value in only.items()}
    light = _apart("light", "fixed", ANSWERS, None)
    seconds["fixed_light"], peaks["fixed_light"] = light["seconds"], light["peak_mb"]
    return {
        **{name: round(_best(seconds, f"{name}_trl_") / seconds[f"{name}_shared"], 2) for name in LENGTHS},
        "answers_only": round(min(only.values()) / seconds["fixed_shared"], 2),
        "memory": round(peaks["fixed_shared"] / peaks["fixed_trl_4"], 3),
        "gradients": max(_difference(home / f"{name}-shared.pt", home / f"{name}-trl.pt") for name in LENGTHS),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "peak_mb": peaks,
        "vocabulary": VOCABULARY,
        "threads": 1,
        "repeats": REPEATS,
    }


def _fastest(runs: dict[int, list[Any]]) -> int:
    return min((micro for micro in runs if runs[micro]), key=lambda micro: runs[micro][0]["seconds"])


def _best(seconds: dict[str, float], prefix: str) -> float:
    return min(value for name, value in seconds.items() if name.startswith(prefix))


def _apart(side: str, lengths: str, micro: int, gradients: Path | None) -> dict[str, Any]:
    words = ["--side", side, "--lengths", lengths, "--micro", str(micro)]
    words += ["--gradients", str(gradients)] if gradients else []
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "benchmarks.group_prefix", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **one})
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{lengths} {side} micro-batch {micro}: {figures['seconds']} s, {figures['peak_mb']} MB", flush=True)
    return figures


def _difference(ours: Path, theirs: Path) -> float:
    """Return the largest distance of a tensor's two gradients, relative to the tensor's norm."""
    import torch

    first, second = torch.load(ours), torch.load(theirs)
    return max(float((first[name] - second[name]).norm() / second[name].norm()) for name in second)


# -- one measurement -----------------------------------------------------------------------------------------------------------


def measure(side: str, lengths: str, micro: int, gradients: Path | None) -> dict[str, Any]:
    """Do one update and return its processor seconds, loss and peak memory; write the gradients to a file if one is given."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        trainer = _trainer(side, Path(home))
        if side == "answers_only":
            _head_on_answers_only()
        batch = _batch(LENGTHS[lengths])
        trainer.model.train()
        began = time.process_time()
        loss = 0.0
        for first in range(0, ANSWERS, micro):
            part = {name: value[first : first + micro] if value.ndim else value for name, value in batch.items()}
            micro_loss = trainer._compute_loss(trainer.model, part)
            micro_loss.backward()
            loss += float(micro_loss.detach())
        seconds = time.process_time() - began
        peak = peak_mb()
        if gradients:
            torch.save({name: weight.grad for name, weight in trainer.model.named_parameters()}, gradients)
    return {"seconds": round(seconds, 3), "loss": loss, "peak_mb": peak}


def _trainer(side: str, home: Path) -> Any:
    """Return the shipped trainer over a model of random weights; TRL's own layout when the side is TRL's."""
    import torch

    from pipelines.models.from_scratch import create_model, train_tokenizer
    from pipelines.models.loading import load_tokenizer
    from pipelines.models.options import ModelOptions, ShapeOptions
    from pipelines.models.stop_token import set_template
    from pipelines.rl.options import RlOptions
    from pipelines.rl.training import build_trainer

    shape = ShapeOptions(hidden=HIDDEN, intermediate=1536, layers=4, heads=8, kv_heads=4, vocabulary=VOCABULARY, context=8192)
    tokenizer = train_tokenizer(["Who is it? Good evening, come in."], 400, shape.context)
    set_template(tokenizer, "chatml", "")
    torch.manual_seed(0)
    model = create_model(shape, tokenizer, torch.float32)
    model.resize_token_embeddings(VOCABULARY)
    model.save_pretrained(home / "base")
    tokenizer.save_pretrained(home / "base")
    options = RlOptions.model_validate(
        {
            "model": ModelOptions(base=str(home / "base")),
            "device": "cpu",
            "prompts": {"personas": ("bundled",)},
            "reward": {"planted": "short"},
            "rollout": {"answers": ANSWERS, "tokens": 1100, "shared_prefix": side in ("shared", "light")},
            "batch": ANSWERS,
            "rows": ANSWERS,
            "checkpointing": "light" if side == "light" else "none",
        }
    )
    rows = [{"prompt": [{"role": "user", "content": "Who is it?"}]}]
    trainer = build_trainer(options, load_tokenizer(options.model), rows, lambda **_: [], home, "cpu")
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def _batch(lengths: list[int]) -> dict[str, Any]:
    """Return a batch as TRL has it after sampling; TRL pads the answers to the longest of all."""
    import torch

    dice = torch.Generator().manual_seed(1)
    width = max(lengths)
    prompt = torch.randint(10, VOCABULARY, (1, PROMPT), generator=dice).expand(ANSWERS, -1)
    counted = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": torch.randint(10, VOCABULARY, (ANSWERS, width), generator=dice) * counted,
        "completion_mask": counted,
        "advantages": torch.randn(ANSWERS, generator=dice),
        "num_items_in_batch": counted.sum(),
        "old_per_token_logps": -9 + 0.2 * torch.randn(ANSWERS, width, generator=dice),
    }


def _head_on_answers_only() -> None:
    """Make TRL's head read the trained positions alone on a CPU as well, as it does on a GPU."""
    from trl.trainer import utils

    decide = utils._use_triton

    def on_head(device: Any) -> bool:
        return sys._getframe(1).f_code.co_name == "_fused_forward" or bool(decide(device))

    utils._use_triton = on_head


if __name__ == "__main__":
    main()
