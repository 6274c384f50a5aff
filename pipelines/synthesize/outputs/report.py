"""Write the report of a run: numbers in `report.json`, and `report.html` for people (report_page.py draws it).

Everything is read from the files of the run folder, one scene at a time, so a report can be made of any run at any time.
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
from pipelines.synthesize.checks.problems import PROBLEMS
from pipelines.synthesize.notes import Skipped, TurnRecord
from pipelines.synthesize.outputs.readable import readable_turns
from pipelines.synthesize.outputs.report_page import page
from pipelines.synthesize.stages.stage_table import FIRST_INPUT, STAGES

Json = dict[str, Any]
TURN_STEP, PLAN_STEP, BINS = 50, 200, 14
"""Characters per bar of the two length histograms, and number of bars; the last bar counts everything longer."""
TOP_PATTERNS, TOP_ERRORS, TOP_REASONS = 20, 10, 12
"""Entries of a list, the most frequent ones."""


class TurnStatistics:
    """Statistics of all characters' turns in one file of scenes."""

    def __init__(self) -> None:
        self.patterns: Counter[str] = Counter()
        self.scenes = self.turns = self.thoughts = self.plans = 0
        self.lengths: Counter[int] = Counter()
        self.plan_lengths: Counter[int] = Counter()
        self.characters = self.plan_characters = 0
        self.patterns_per_scene: list[int] = []

    def add(self, scene: BookScene) -> None:
        """Count a scene."""
        self.scenes += 1
        spoken = [turn for turn in scene.turns if turn.speaker != ENVIRONMENT and turn.parts]
        self.patterns_per_scene.append(len({pattern(turn.parts) for turn in spoken}))
        for turn in spoken:
            self._add_turn(turn)

    def _add_turn(self, turn: Turn) -> None:
        plan = turn.text("system_thinking")
        length = len(turn.text(*REPLY_KINDS))
        self.turns += 1
        self.patterns[pattern(turn.parts)] += 1
        self.thoughts += any(part.kind == "role_thinking" for part in turn.parts)
        self.lengths[min(length // TURN_STEP, BINS - 1)] += 1
        self.characters += length
        if plan:
            self.plans += 1
            self.plan_characters += len(plan)
            self.plan_lengths[min(len(plan) // PLAN_STEP, BINS - 1)] += 1

    def summary(self) -> Json:
        """Return the statistics as JSON values; shares are 0 to 1, lengths are in characters."""
        top = self.patterns.most_common(1)
        turns = max(1, self.turns)
        return {
            "scenes": self.scenes,
            "turns": self.turns,
            "patterns": {
                "distinct": len(self.patterns),
                "entropy_bits": round(pattern_entropy(self.patterns.elements()), 4),
                "top": top[0][0] if top else "",
                "top_share": round(top[0][1] / turns, 4) if top else 0.0,
                "mean_in_a_scene": round(sum(self.patterns_per_scene) / max(1, len(self.patterns_per_scene)), 2),
                "counts": dict(self.patterns.most_common(TOP_PATTERNS)),
            },
            "thought_coverage": round(self.thoughts / turns, 4),
            "plan_coverage": round(self.plans / turns, 4),
            "mean_characters": round(self.characters / turns, 1),
            "mean_plan_characters": round(self.plan_characters / max(1, self.plans), 1),
            "lengths": [self.lengths[at] for at in range(BINS)],
            "plan_lengths": [self.plan_lengths[at] for at in range(BINS)],
        }


def write_report(folder: Path, stages: Iterable[str], calls: Json, outputs: Json, name: str = "") -> Json:
    """Write `report.json` and `report.html`, and return the numbers.

    Args:
        stages: names of the stages of the run, in order.
        calls: record of the model calls.
        outputs: counts of what was written.
        name: name of the run; empty takes the folder's.
    """
    finished = [stage for stage in stages if (folder / f"{stage}.jsonl").is_file()]
    last = finished[-1] if finished else FIRST_INPUT
    before, after = TurnStatistics(), TurnStatistics()
    for statistics, stem in ((before, FIRST_INPUT), (after, last)):
        for scene in jsonl.read(folder / f"{stem}.jsonl", BookScene):
            statistics.add(scene)
    report = {
        "name": name or folder.name,
        "before": before.summary(),
        "after": after.summary(),
        "stages": {stage: _outcomes(folder / f"{stage}.turns.jsonl") for stage in finished},
        "purposes": {stage: STAGES[stage].purpose for stage in finished},
        "skipped": _skipped(folder / "skipped.jsonl"),
        "readable": readable_turns(folder, finished, FIRST_INPUT, last),
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


def _outcomes(path: Path) -> Json:
    """Count the outcomes of the turns in one stage, and the problems of first and of last answers."""
    fates: Counter[str] = Counter()
    first: Counter[str] = Counter()
    last: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for record in _records(path):
        fates[record.fate] += 1
        first.update(set(record.first))
        last.update({each.name for each in record.problems})
        counted.update(asked_again=record.asked > 1, same=record.same, checked=record.checked)
        if record.error:
            errors[record.error[:100]] += 1
    return {
        "turns": dict(sorted(fates.items())),
        **{name: counted[name] for name in ("asked_again", "same", "checked")},
        "problems_first": dict(first.most_common()),
        "problems_last": dict(last.most_common()),
        "errors": dict(errors.most_common(TOP_ERRORS)),
    }


def _records(path: Path) -> Iterator[TurnRecord]:
    return jsonl.read(path, TurnRecord) if path.is_file() else iter(())


def _skipped(path: Path) -> Json:
    """Count what each stage skipped, by reason; names and numbers in a reason are replaced, so that equal reasons add up."""
    stages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in jsonl.read(path, Skipped) if path.is_file() else ():
        stages[entry.stage][re.sub(r"'[^']*'|\d[\d,.]*", "…", entry.reason)[:80]] += 1
    return {stage: dict(counts.most_common(TOP_REASONS)) for stage, counts in sorted(stages.items())}
