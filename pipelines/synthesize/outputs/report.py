"""What a run did, in numbers: `report.json`, and `report.html` for people (report_page.py draws it).

Everything is read from the files of the run folder, scene by scene, so a report can be made of any run at any time.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from her.characters.coser import BookScene
from her.files import jsonl
from her.files.atomic import replacing
from her.format import pattern, pattern_entropy
from her.kinds import REPLY_KINDS
from her.types import ENVIRONMENT, Turn
from pipelines.synthesize.checks.turns import PROBLEMS
from pipelines.synthesize.outputs.report_page import page
from pipelines.synthesize.work import Skipped, TurnRecord

Json = dict[str, Any]
TURN_STEP, PLAN_STEP, BINS = 50, 200, 14
"""Width of a bar of the length histograms, in characters, and how many bars there are; the last takes all that is longer."""


class Side:
    """What is counted over all turns of characters, before or after."""

    def __init__(self) -> None:
        self.patterns: Counter[str] = Counter()
        self.scenes = self.turns = self.thoughts = self.plans = 0
        self.lengths: Counter[int] = Counter()
        self.plan_lengths: Counter[int] = Counter()
        self.characters = self.plan_characters = 0
        self.in_a_scene: list[int] = []

    def add(self, scene: BookScene) -> None:
        """Count a scene."""
        self.scenes += 1
        spoken = [turn for turn in scene.turns if turn.speaker != ENVIRONMENT and turn.parts]
        self.in_a_scene.append(len({pattern(turn.parts) for turn in spoken}))
        for turn in spoken:
            self._add(turn)

    def _add(self, turn: Turn) -> None:
        plan = turn.text("system_thinking")
        shown = len(turn.text(*REPLY_KINDS))
        self.turns += 1
        self.patterns[pattern(turn.parts)] += 1
        self.thoughts += any(part.kind == "role_thinking" for part in turn.parts)
        self.lengths[min(shown // TURN_STEP, BINS - 1)] += 1
        self.characters += shown
        if plan:
            self.plans += 1
            self.plan_characters += len(plan)
            self.plan_lengths[min(len(plan) // PLAN_STEP, BINS - 1)] += 1

    def summary(self) -> Json:
        """The numbers."""
        top = self.patterns.most_common(1)
        turns = max(1, self.turns)
        return {
            "scenes": self.scenes,
            "turns": self.turns,
            "patterns": {
                "distinct": len(self.patterns),
                "entropy_bits": round(entropy(self.patterns), 4),
                "top": top[0][0] if top else "",
                "top_share": round(top[0][1] / turns, 4) if top else 0.0,
                "mean_in_a_scene": round(sum(self.in_a_scene) / max(1, len(self.in_a_scene)), 2),
                "counts": dict(self.patterns.most_common(20)),
            },
            "thought_coverage": round(self.thoughts / turns, 4),
            "plan_coverage": round(self.plans / turns, 4),
            "mean_characters": round(self.characters / turns, 1),
            "mean_plan_characters": round(self.plan_characters / max(1, self.plans), 1),
            "lengths": [self.lengths[at] for at in range(BINS)],
            "plan_lengths": [self.plan_lengths[at] for at in range(BINS)],
        }


def entropy(counts: Counter[str]) -> float:
    """Shannon entropy of patterns in bits, as `her.format.pattern_entropy`."""
    return pattern_entropy(counts.elements())


def make(folder: Path, stages: Iterable[str], calls: Json, outputs: Json, name: str = "") -> Json:
    """The report of a run, written as JSON and HTML. `calls`: what was asked; `outputs`: what was made of it."""
    done = [stage for stage in stages if (folder / f"{stage}.jsonl").is_file()]
    last = done[-1] if done else "scenes"
    before, after = Side(), Side()
    for side, stem in ((before, "scenes"), (after, last)):
        for scene in jsonl.read(folder / f"{stem}.jsonl", BookScene):
            side.add(scene)
    report = {
        "name": name or folder.name,
        "before": before.summary(),
        "after": after.summary(),
        "stages": {stage: _fates(folder / f"{stage}.turns.jsonl") for stage in done},
        "skipped": _skipped(folder / "skipped.jsonl"),
        "calls": calls,
        "outputs": outputs,
        "steps": {"turn": TURN_STEP, "plan": PLAN_STEP},
        "meanings": PROBLEMS,
    }
    with replacing(folder / "report.json") as file:
        json.dump(report, file, ensure_ascii=False, indent=2)
        file.write("\n")
    with replacing(folder / "report.html") as file:
        file.write(page(report))
    return report


def _fates(path: Path) -> Json:
    """What became of the turns in one stage, and which problems were found: in first answers, and in the end."""
    fates: Counter[str] = Counter()
    first: Counter[str] = Counter()
    last: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    again = 0
    for record in _records(path):
        fates[record.fate] += 1
        first.update(set(record.first))
        last.update({each.name for each in record.problems})
        again += record.asked > 1
        if record.error:
            errors[record.error[:100]] += 1
    return {
        "turns": dict(sorted(fates.items())),
        "asked_again": again,
        "problems_first": dict(first.most_common()),
        "problems_last": dict(last.most_common()),
        "errors": dict(errors.most_common(10)),
    }


def _records(path: Path) -> Iterator[TurnRecord]:
    return jsonl.read(path, TurnRecord) if path.is_file() else iter(())


def _skipped(path: Path) -> Json:
    """How much each stage left out, by reason; names and numbers in a reason are of no account."""
    stages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in jsonl.read(path, Skipped) if path.is_file() else ():
        stages[entry.stage][re.sub(r"'[^']*'|\d[\d,.]*", "…", entry.reason)[:80]] += 1
    return {stage: dict(counts.most_common(12)) for stage, counts in sorted(stages.items())}
