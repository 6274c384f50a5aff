"""Compare shared-prefix rows with TRL's packed rows on a CPU. Run: `python -m benchmarks.shared_prefix FOLDER`

FOLDER holds CoSER books (`data/coser/final`). There are two sets of targets: `books`, conversations of a character as in the
books (3 to 4 target turns each), and `long`, conversations of a character joined until there are 20 target turns. Every target
gets a plan of about 580 tokens of prose of its book. Both sides train the same targets once with the same model (hidden size
512, random weights, float32) through SFTTrainer: TRL's prompt-completion rows with packing and without checkpointing, its
fastest setting, and the shipped shared-prefix layout with `checkpointing=light`. Each measurement is a separate process; sides
alternate and the median counts. TRL packs to the length of the longest sample: on a CPU its mask over a packed row is dense, so
longer rows only take more time. A third side, `kept`, is the shared layout without checkpointing; it is reported without a bar.

Tokens are counted over all targets of the books. Memory is the peak of resident pages. Prints one JSON object.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import report
from benchmarks.trainers import bare_trl, peak_mb, shipped, timed
from her.characters.coser import Book, BookScene, load_book
from her.training_data import samples as sampling
from her.types import CastMember, Part, Sample, Transcript, Turn

PLAN_TOKENS, VOCABULARY, LONG = 580, 8192, 20
BUDGETS = {"books": 8192, "long": 12288}
GROUPS = {"books": 5, "long": 1}
"""Number of (conversation, character) groups that a measurement trains; tokens are counted over all groups."""
REPEATS = {"books": 2, "long": 2}
BAR = {
    "books_fewer_tokens": 2.0,
    "books_targets_a_second": 1.7,
    "long_fewer_tokens": 4.0,
    "long_targets_a_second": 2.3,
    "memory": 1.2,
}


def main() -> None:
    """Measure both sets on both sides and report; with `--side` this is one measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", choices=("shared", "kept", "trl"))
    parser.add_argument("--set", choices=tuple(BUDGETS), default="books")
    parser.add_argument("--row", type=int, default=0)
    words = parser.parse_args()
    if words.side:
        print(json.dumps(measure(words.folder, words.side, words.set, words.row)))
        return
    measured: dict[str, Any] = {"repeats": REPEATS}
    for name in BUDGETS:
        measured.update({f"{name}_{key}": value for key, value in compare(words.folder, name).items()})
    measured["memory"] = max(measured["books_memory"], measured["long_memory"])
    ok = measured["memory"] <= BAR["memory"] and all(measured[key] >= bar for key, bar in BAR.items() if key != "memory")
    report("shared_prefix", BAR, measured, ok)


def compare(folder: Path, name: str) -> dict[str, Any]:
    """Measure one set of targets on all sides."""
    budget = BUDGETS[name]
    theirs, ours = [], []
    for _ in range(REPEATS[name]):
        theirs.append(_measure_apart(folder, "trl", name, 0))
        ours.append(_measure_apart(folder, "shared", name, budget))
    sides = {"shared": ours, "trl": theirs, "kept": [_measure_apart(folder, "kept", name, budget)]}
    medians = [statistics.median(each["targets"] / each["seconds"] for each in side) for side in (ours, theirs)]
    memory = [statistics.median(each["peak_mb"] for each in side) for side in (ours, theirs)]
    return {
        "fewer_tokens": round(ours[0]["fewer_tokens"], 2),
        "fewer_tokens_as_trained": round(theirs[0]["tokens"] / ours[0]["tokens"], 2),
        "targets_a_second": round(medians[0] / medians[1], 2),
        "memory": round(memory[0] / memory[1], 2),
        "targets": ours[0]["targets"],
        "rows": {"shared": budget, "trl": theirs[0]["row"]},
        **{key: {side: [each[key] for each in runs] for side, runs in sides.items()} for key in ("seconds", "peak_mb", "loss")},
    }


def _measure_apart(folder: Path, side: str, name: str, row: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.shared_prefix", str(folder), "--side", side, "--set", name, "--row", str(row)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name} {side} row {figures['row']}: {figures['seconds']} s, {figures['peak_mb']} MB", flush=True)
    return figures


# -- the targets ---------------------------------------------------------------------------------------------------------------


def transcripts(folder: Path, name: str, tokenizer: Any) -> list[Transcript]:
    """Return the conversations of a set, with a plan in every turn of a character."""
    dice = random.Random(7)
    chosen = []
    for book in (load_book(path) for path in sorted(folder.glob("*.json"))):
        prose = " ".join(scene.passage for scene in book.scenes).split()
        plain = [_transcript(scene) for scene in book.scenes] if name == "books" else list(joined(book))
        chosen += [planned(each, prose, dice, tokenizer) for each in plain]
    return chosen


def _transcript(scene: BookScene) -> Transcript:
    return Transcript(id=scene.id, scenario=scene.scenario, cast=scene.cast, turns=scene.turns)


def joined(book: Book) -> Iterator[Transcript]:
    """Yield, for every character with 20 turns, its first conversations joined into one with the cast of the first."""
    for name in sorted({member.name for scene in book.scenes for member in scene.cast}):
        scenes = [scene for scene in book.scenes if name in {turn.speaker for turn in scene.turns}]
        turns: list[Turn] = []
        cast = {member.name: member for scene in reversed(scenes) for member in scene.cast}
        for turn in (turn for scene in scenes for turn in scene.turns):
            turns.append(turn.model_copy(update={"id": f"{len(turns)}"}))
            if sum(each.speaker == name for each in turns) == LONG:
                speakers = {each.speaker for each in turns}
                known = {member.name for member in scenes[0].cast}
                late = [CastMember(name=each) for each in sorted(speakers & cast.keys() - known)]
                present = (*(cast[each] for each in sorted(known)), *late)
                yield Transcript(id=f"{book.title}/{name}", scenario=scenes[0].scenario, cast=present, turns=tuple(turns))
                break


def planned(transcript: Transcript, prose: Sequence[str], dice: random.Random, tokenizer: Any) -> Transcript:
    """Return the transcript with a plan in every turn of a character: about `PLAN_TOKENS` tokens of the prose of the book."""
    turns = []
    for turn in transcript.turns:
        start = dice.randrange(max(1, len(prose) - PLAN_TOKENS))
        ids = tokenizer.encode(" ".join(prose[start : start + PLAN_TOKENS]), add_special_tokens=False)[:PLAN_TOKENS]
        plan = Part(kind="system_thinking", text=tokenizer.decode(ids).replace("<", "").strip())
        turns.append(turn.model_copy(update={"parts": (plan, *turn.parts)}))
    return transcript.model_copy(update={"turns": tuple(turns)})


def targets(folder: Path, name: str, tokenizer: Any) -> list[list[Sample]]:
    """Return samples by conversation and character in a seeded order; for `long` only the character who has 20 turns."""
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for transcript in transcripts(folder, name, tokenizer):
        only = None if name == "books" else [transcript.id.rpartition("/")[2]]
        for sample in sampling.samples(transcript, speakers=only):
            if isinstance(sample, Sample):
                groups[sample.transcript, sample.speaker].append(sample)
    ordered = list(groups.values())
    random.Random(3).shuffle(ordered)
    return ordered


# -- one measurement -----------------------------------------------------------------------------------------------------------


def measure(folder: Path, side: str, name: str, row: int) -> dict[str, Any]:
    """Train the targets of a set once; return seconds of the steps alone, tokens and peak memory."""
    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.loading import load_tokenizer
    from pipelines.models.options import ModelOptions, ShapeOptions
    from pipelines.models.prefix_tree import grow_trees
    from pipelines.sft.rows.rows import encode_samples

    shape = ShapeOptions(hidden=512, intermediate=1536, layers=4, heads=8, kv_heads=4, vocabulary=VOCABULARY, context=16384)
    options = ModelOptions(shape=shape)
    books = [load_book(path) for path in sorted(folder.glob("*.json"))]
    texts = [scene.passage for book in books for scene in book.scenes]
    tokenizer = load_tokenizer(options, texts)
    template = ChatTemplate(tokenizer)
    groups = targets(folder, name, tokenizer)
    everything = [sample for group in groups for sample in group]
    sizes = [len(each.prompt) + len(each.target) for each in encode_samples(everything, template)]
    fewer = sum(sizes) / sum(tree.tokens for tree in grow_trees(encode_samples(everything, template), BUDGETS[name]))
    chosen = [sample for group in groups[: GROUPS[name]] for sample in group]
    longest = max(len(each.prompt) + len(each.target) for each in encode_samples(chosen, template))
    row = row or longest
    with tempfile.TemporaryDirectory() as home:
        if side == "trl":
            trained = _trl(chosen, options, template, row, Path(home))
        else:
            trained = _shared(chosen, options, template, row, Path(home), "light" if side == "shared" else "none")
    return {**trained, "row": row, "targets": len(chosen), "fewer_tokens": fewer, "peak_mb": peak_mb()}


def _shared(samples: list[Sample], model: Any, template: Any, row: int, home: Path, kept: str) -> dict[str, Any]:
    """Train with the shipped layout, attention and trainer: one optimiser step over all targets, so that losses compare."""
    from pipelines.sft.options import SampleOptions, TrainingOptions

    settings = {"batch": 10_000, "checkpointing": kept, "device": "cpu"}
    options = TrainingOptions(model=model, samples=SampleOptions(personas=("bundled",), most_tokens=row), **settings)
    trainer, tokens = shipped(samples, options, template, home)
    figures = timed(trainer)
    return {"seconds": figures["seconds"], "loss": figures["losses"][0], "tokens": tokens}


def _trl(samples: list[Sample], model: Any, template: Any, row: int, home: Path) -> dict[str, Any]:
    """Train with TRL's best-fit-decreasing packing of prompt-completion rows, in one optimiser step as well."""
    settings = {"max_length": row, "packing": True, "gradient_accumulation_steps": 10_000, "num_train_epochs": 1}
    trainer = bare_trl(samples, model, template, home, **settings, learning_rate=1e-5)
    tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    figures = timed(trainer)
    return {"seconds": figures["seconds"], "loss": figures["losses"][0], "tokens": tokens}


if __name__ == "__main__":
    main()
