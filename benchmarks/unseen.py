"""Measure what the built-in teacher makes of books it was not written for. Run: `python -m benchmarks.unseen FOLDER`

FOLDER holds finished books (CoSER, `data/final`). Measured are the scenes from each book's `split_plot_index` on, which CoSER
holds out; those of the whole books are measured beside. A run of synthesis with `teacher:` must plan every turn of a character in
the third person, keep every word that is said in its order and add none, and share no sentence of its own between two turns.
"""

import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import report
from her.characters.coser import BookScene, load_book
from her.files import jsonl
from her.format import pattern, pattern_entropy
from her.types import ENVIRONMENT, Turn
from her.words import SENTENCE, words
from pipelines.synthesize.__main__ import run
from pipelines.synthesize.notes import TurnRecord
from pipelines.synthesize.option_groups import DatasetOptions
from pipelines.synthesize.options import SynthesisOptions

BAR = {
    "planned_share": 1.0,
    "invented_or_lost_lines": 0,
    "shared_sentences": 0,
    "third_person_share": 1.0,
    "entropy_bits_at_least": 3.0,
}
_FIRST_PERSON = re.compile(r"\b(?:me|my|mine|myself)\b|我的")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text as their words."""
    return [" ".join(found) for each in SENTENCE.findall(text) if (found := words(each))]


def shared_sentences(before: Sequence[Turn], after: Sequence[Turn]) -> list[str]:
    """Return sentences that stand in two turns of a book and that the book does not have."""
    original = {each for turn in before for each in sentences(turn.text())}
    counts = Counter(each for turn in after for each in set(sentences(turn.text())) - original)
    return sorted(each for each, count in counts.items() if count > 1)


def measure(before: Sequence[BookScene], after: Sequence[BookScene]) -> dict[str, Any]:
    """Return the figures of these scenes."""
    pairs = [
        (old, new) for left, right in zip(before, after, strict=True) for old, new in zip(left.turns, right.turns, strict=True)
    ]
    spoken = [(old, new) for old, new in pairs if old.speaker != ENVIRONMENT]
    plans = [plan for _, new in spoken if (plan := new.text("system_thinking"))]
    shared: list[str] = []
    for book in sorted({scene.book for scene in before}):
        own = [(left, right) for left, right in zip(before, after, strict=True) if left.book == book]
        shared += shared_sentences(
            [turn for left, _ in own for turn in left.turns], [turn for _, right in own for turn in right.turns]
        )
    return {
        "turns": len(spoken),
        "planned_share": round(len(plans) / max(1, len(spoken)), 4),
        "third_person_share": round(sum(not _FIRST_PERSON.search(plan) for plan in plans) / max(1, len(plans)), 4),
        "invented_or_lost_lines": sum(words(old.text("speech")) != words(new.text("speech")) for old, new in pairs),
        "shared_sentences": len(shared),
        "shared_sentence": shared[:1],
        "entropy_bits": round(pattern_entropy(pattern(new.parts) for _, new in spoken), 3),
        "entropy_bits_before": round(pattern_entropy(pattern(old.parts) for old, _ in spoken), 3),
    }


def held_out_keys(files: Iterable[Path]) -> set[tuple[str, int]]:
    """Return title and plot of every scene that its book holds out."""
    keys = set()
    for file in files:
        split = json.loads(file.read_text("utf-8")).get("split_plot_index")
        keys |= {(scene.book, scene.plot) for scene in load_book(file).scenes if split is not None and scene.plot >= split}
    return keys


def main() -> None:
    """Run and report."""
    files = sorted(Path(sys.argv[1]).resolve().glob("*.json"))
    held_out = held_out_keys(files)
    with tempfile.TemporaryDirectory() as place:
        os.environ["HER_HOME"] = place
        shares = {"sft": 0.4, "rm_sft": 0.15, "rm_rl": 0.15, "rl": 0.15, "test": 0.15}
        run(SynthesisOptions(name="unseen", scenes=tuple(files), samples=DatasetOptions(shares=shares, split_by="conversation")))
        folder = Path(place) / "runs" / "unseen"
        before, after = (list(jsonl.read(folder / f"{name}.jsonl", BookScene)) for name in ("scenes", "system_thinking"))
        records = [
            row
            for stage in ("role_thinking", "system_thinking")
            for row in jsonl.read(folder / f"{stage}.turns.jsonl", TurnRecord)
        ]
    problems = Counter(f"{row.stage} {each.name}" for row in records for each in row.problems)
    apart = [at for at, scene in enumerate(before) if (scene.book, scene.plot) in held_out]
    figures = measure([before[at] for at in apart], [after[at] for at in apart])
    whole = measure(before, after)
    ok = (
        all(figures[name] == BAR[name] for name in BAR if name in figures)
        and figures["entropy_bits"] >= BAR["entropy_bits_at_least"]
    )
    report("unseen", BAR, {**figures, "whole_books": whole, "problems_left": dict(problems)}, ok and bool(apart))


if __name__ == "__main__":
    main()
