"""Record what a stage did: the outcome of every turn, and everything that was skipped, with the reason."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from her.types import Defect, NonEmpty, Value

log = logging.getLogger(__name__)
Skip = Callable[[str, str], None]
"""Receives everything that is skipped: the place (file, line, scene) and the reason."""
Fate = Literal["changed", "as_it_was", "kept", "missing"]
"""Outcome of a turn: changed by the answer; left unchanged by a valid answer; original kept because no answer was valid;
without what the stage should have added."""


class TurnRecord(Value):
    """Outcome of one turn in one stage; one line of `STAGE.turns.jsonl`.

    Args:
        asked: number of times this turn was asked about, 1 or 2.
        first: names of the problems of the first answer.
        problems: problems of the last answer, also when that answer was not used.
        repairs: what code repaired in the answer that was used, by the names of the problems.
        same: whether the second answer, asked for because of problems, was the first one again: a teacher that insists may be
            right, and the check wrong.
        checked: whether the checker read the last answer.
        error: why there was no answer, one sentence.
        refused: the last answer, where it was not used; for the people who read the report.
    """

    stage: NonEmpty
    scene: NonEmpty
    turn: NonEmpty
    speaker: str
    fate: Fate
    asked: int = 1
    first: tuple[str, ...] = ()
    problems: tuple[Defect, ...] = ()
    repairs: tuple[str, ...] = ()
    same: bool = False
    checked: bool = False
    error: str = ""
    refused: str = ""


class Skipped(Value):
    """Something that was skipped, its place and the reason; one line of `STAGE.skipped.jsonl`."""

    stage: NonEmpty
    where: str
    reason: NonEmpty


@dataclass
class Notes:
    """Collector of the records of one scene or book; the runner writes them into the run folder when the scene is done."""

    turns: list[TurnRecord] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, stage: str, where: str, reason: str) -> None:
        """Record something that was skipped, and log it."""
        log.warning("%s: %s skipped: %s", stage, where, reason)
        self.skipped.append(Skipped(stage=stage, where=where, reason=reason))

    def skipper(self, stage: str) -> Skip:
        """Return a function (where, reason) that records under this stage."""
        return lambda where, reason: self.skip(stage, where, reason)
