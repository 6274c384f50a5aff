"""A small fine-tuned base for the benchmarks of reinforcement learning: hidden size 128, 2 layers, three minutes on two cores.

It speaks well-formed short turns of invented people, with thoughts, acts and speech in many orders and lengths, some with a
question. Prompts are about 40 tokens, so that hundreds of steps of reinforcement learning fit in minutes. `make_base(home)`
trains it with `her run sft` in a home of its own and returns the name of the run; a base that is there already is used again.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from her.files import jsonl
from her.paths import ROOT
from her.types import Message, Sample

NAME = "rl-base"
NAMES = ("Ann", "Bell", "Cora", "Dan", "Eve", "Finn", "Gil", "Hal", "Ida", "Joan", "Kit", "Lena")
TRADES = ("a baker", "a sailor", "a nurse", "a miller", "a thief", "a teacher", "a smith", "a painter")
PLACES = ("in the kitchen", "at the harbour", "by the old mill", "in the garden", "at the market", "on the stairs")
CUES = ("May I come in?", "Did you see him?", "It is late.", "I lost the key.", "The boat is gone.", "Tell me the truth.")
SPEECH = (
    "Come in.",
    "Sit down, the kettle is on.",
    "I saw nothing.",
    "What do you want?",
    "It was raining when I left the house, and nobody was on the road.",
    "Who told you that?",
    "I will look for it in the morning.",
    "You should not be here at this hour, and you know it.",
    "Stay.",
    "Is it yours?",
    "We can talk about it when the others are gone.",
    "No.",
)
ACTS = ("nods", "opens the door", "looks away", "puts down the lamp", "smiles", "counts the coins again")
THOUGHTS = ("He knows.", "I am tired of this.", "Why now?", "She must not see the letter.", "At last.")
PATTERNS = ("S", "AS", "TS", "TAS", "ATS", "SAS", "STS", "SA", "TSA", "SS")
SETTINGS = """
name = "rl-base"
device = "cpu"
batch = 32
row_tokens = 2048
steps = {steps}
learning_rate = 3e-3
beta2 = 0.95
checkpointing = "none"
save_every = {steps}
keep = 1
log_every = 50

[model.shape]
hidden = 128
intermediate = 384
layers = 2
heads = 4
kv_heads = 4
head = 32
vocabulary = 600
context = 512

[samples]
files = ["{samples}"]
held_out_share = 0.02
most_tokens = 256
plans = false

[evaluation]
turns = 16
temperature = 1.0
tokens = 48
"""


def make_base(home: Path, steps: int = 250) -> str:
    """Return the name of the run in `home/runs` whose model is the base; prompts to answer are in `prompts_file(home)`."""
    home.mkdir(parents=True, exist_ok=True)
    if not prompts_file(home).is_file():
        jsonl.write(prompts_file(home), _samples(random.Random("prompts"), 256, "prompt"))
    if not (home / "runs" / NAME / "model").is_dir():
        jsonl.write(home / "base.jsonl", _samples(random.Random("base"), 3000, "base"))
        settings = home / "base.toml"
        settings.write_text(SETTINGS.format(steps=steps, samples=home / "base.jsonl"), "utf-8")
        run_pipeline(home, "sft", [f"@{settings}"])
    return NAME


def prompts_file(home: Path) -> Path:
    """Return the file of 256 samples whose prompts the base has not seen."""
    return home / "prompts.jsonl"


def _samples(dice: random.Random, count: int, tag: str) -> Iterator[Sample]:
    for number in range(count):
        name, other = dice.sample(NAMES, 2)
        system = f"You are {name}, {dice.choice(TRADES)}. {other} meets {name} {dice.choice(PLACES)}."
        messages = (
            Message(role="system", content=system),
            Message(role="user", content=f"{other}: {dice.choice(CUES)}"),
            Message(role="assistant", content=_turn(dice, name)),
        )
        yield Sample(messages=messages, trained=(2,), transcript=f"{tag} {number}", turn=f"{tag} {number}", speaker=name)


def _turn(dice: random.Random, name: str) -> str:
    """Return a turn of one of the patterns, as the canonical writer renders it."""
    parts = []
    for kind in dice.choice(PATTERNS):
        if kind == "T":
            parts.append(f"<role_thinking>{dice.choice(THOUGHTS)}</role_thinking>")
        elif kind == "A":
            parts.append(f"<role_action>{dice.choice(ACTS)}</role_action>")
        else:
            parts.append(dice.choice(SPEECH) if not parts or parts[-1].startswith("<") else " " + dice.choice(SPEECH))
    return f"{name}: {''.join(parts)}"


def run_pipeline(home: Path, name: str, words: list[str], *, codes: tuple[int, ...] = (0,)) -> int:
    """Run a pipeline in a process of its own and return its exit code.

    Raises:
        RuntimeError: another exit code than those expected; with the end of the output.
    """
    command = [sys.executable, "-m", f"pipelines.{name}", *words]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "HER_HOME": str(home)}, capture_output=True, text=True)
    if done.returncode not in codes:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-3000:]}")
    return done.returncode
