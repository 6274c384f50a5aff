"""Measure on a rented GPU what only a GPU can show. Run: `python -m benchmarks.gpu --all --out gpu.jsonl`

Steps (benchmarks/gpu_steps.py), each in a process of its own with a time limit, its JSON written before the next begins:
equality of FlexAttention with the CPU path; shared-prefix rows against rows of their own that are packed to the same tokens, at
the shapes of Qwen3-0.6B and 4B with 4 and 20 target turns, in bfloat16 with full checkpointing, with the peak of memory of each
side and the share of the GPU's own matrix rate; the update of a group of 8 answers as one row against padded rows; steps of
LoRA; sampling; QLoRA and vLLM only where they are installed. At most 8 minutes. Without `--all` the steps that are named run.

It needs torch, transformers, numpy and peft; neither trl nor pydantic or datasets, and no file outside the repository. Run it on
the torch that is there, 2.11 or later. `--smoke` tries everything with a tiny shape on a CPU. Without a GPU `ok` is false.
Prints one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_steps import STEPS
from benchmarks.report import report

MINUTES = 8
OLDEST_TORCH = (2, 11)
BAR = {"speedup_4_targets": 1.7, "speedup_20_targets": 2.3, "group_speedup": 2.5, "equality": 1e-4}


def main() -> None:
    """Run the steps and report; with `--step` this is one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"))
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--step", choices=tuple(STEPS))
    words = parser.parse_args()
    if words.step:
        print(json.dumps(STEPS[words.step][1](words.smoke)))
        return
    if unknown := set(words.steps) - STEPS.keys():
        parser.error(f"no step {sorted(unknown)[0]!r}; there are {', '.join(STEPS)}")
    gpu = gpu_name()
    if gpu is None and not words.smoke:
        report("gpu", BAR, {"gpu": None, "why": "there is no GPU on this machine; nothing was measured"}, False)
        return
    found = run_steps(list(STEPS) if words.all or not words.steps else words.steps, words.smoke, words.out, words.minutes)
    report("gpu", BAR, {"gpu": gpu, "smoke": words.smoke, **found}, not words.smoke and reached(found))


def run_steps(names: list[str], smoke: bool, out: Path, minutes: float) -> dict[str, Any]:
    """Run steps one after the other; write each one's JSON before the next, also when it failed or took too long."""
    ends = time.monotonic() + 60 * minutes
    found: dict[str, Any] = {}
    for name in names:
        seconds = min(STEPS[name][0], ends - time.monotonic())
        found[name] = run_step(name, smoke, seconds) if seconds > 0 else {"skipped": f"{minutes:g} minutes were over"}
        line = json.dumps({"step": name, **found[name]})
        with out.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        print(line, flush=True)
    return found


def run_step(name: str, smoke: bool, seconds: float) -> dict[str, Any]:
    """Return the figures of a step, or why there are none."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--step", name, *["--smoke"] * smoke]
    began = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"failed": f"it was not done within {seconds:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no word"])[-1][:400], "stderr": done.stderr[-2000:]}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**figures, "step_seconds": round(time.monotonic() - began, 1)}


def reached(found: dict[str, Any]) -> bool:
    """Return whether every bar holds, of the steps that have one."""
    layouts = [found[name] for name in found if name.startswith("layout")]
    groups = [found[name] for name in found if name.startswith("group")]
    try:
        equal = found["equality"]
        return (
            max(equal["loss"], equal["gradients"]) <= BAR["equality"]
            and all(
                each[f"{count} targets"]["speedup"] >= BAR[f"speedup_{count}_targets"] for each in layouts for count in (4, 20)
            )
            and all(each["speedup"] >= BAR["group_speedup"] for each in groups)
            and bool(layouts and groups)
        )
    except KeyError:  # a step failed or was left out
        return False


def gpu_name() -> str | None:
    """Return the name of the GPU, None without one; warn about a torch that was not tried."""
    import torch

    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < OLDEST_TORCH:
        print(f"warning: torch {torch.__version__} is older than any that was tried", flush=True)
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
