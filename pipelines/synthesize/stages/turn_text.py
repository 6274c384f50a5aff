"""Format turns for questions: short labels instead of ids, text in the canonical notation, problems as a sentence."""

from collections.abc import Iterable, Sequence

from her.format import render
from her.kinds import REPLY_KINDS
from her.types import Defect, Turn
from pipelines.synthesize.checks.problems import PROBLEMS


def turn_labels(turns: Sequence[Turn]) -> dict[str, str]:
    """Return turn id -> `t1`, `t2`, ...: a model copies a short label reliably, but not 32 digits."""
    return {turn.id: f"t{number}" for number, turn in enumerate(turns, 1)}


def turn_body(turn: Turn) -> str:
    """Return a turn in the canonical notation, without the name in front and without its plan."""
    return render(turn.parts, turn.speaker, kinds=REPLY_KINDS).removeprefix(f"{turn.speaker}: ")


def describe_problems(problems: Iterable[Defect]) -> str:
    """Return problems as one sentence for the model that is asked again."""
    return "; ".join(PROBLEMS[each.name] + (f" ({each.detail})" if each.detail else "") for each in problems)
