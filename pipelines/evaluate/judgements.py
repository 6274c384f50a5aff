"""Read the answers of a judge of scenes, and turn flaws into a score: the formula of CoSER (arXiv:2502.09082, section 5).

    score = clip(100 - 5 * (sum of severities - 0.3 * R), 0, 100)      R: turns of characters in the simulation

The credit of 1.5 points a turn evens out that longer scenes have more places for flaws. The reader never raises for a judge's
text and never guesses: an answer without a usable list of flaws has a `problem`, and the score is then missing, never a number.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, RootModel, model_validator

from her.inference.structured import parse_structured
from her.judging.verdicts import strip_thinking

SeverityRule = Literal["rubric", "coser", "her"]
"""Which severities count: `rubric` takes 1 to 5 (mechanical repetition to 10) and nothing else; the published code of CoSER
counts whole numbers, a missing one as 1, anything else as 0; that of HER counts every number, a missing one as 0."""
POINTS, CREDIT = 5.0, 0.3
"""Points lost for each unit of severity, and units of severity forgiven for each turn."""
TITLES = {
    "storyline_consistency": "Storyline Consistency",
    "anthropomorphism": "Anthropomorphism",
    "character_fidelity": "Character Fidelity",
    "storyline_quality": "Storyline Quality",
}
"""Dimension -> its name in prompts and in the answers of judges."""
WORST = 10
"""Largest severity that any rule knows, for mechanical repetition."""
_USUAL_WORST = 5
_TURN = re.compile(r"\s*\[?#?\s*([0-9]{1,4})\s*\]?\s*")


class SaidFlaw(NamedTuple):
    """A flaw as the judge wrote it; `severity` is None where the rule does not count what it wrote.

    Args:
        turn: number of the turn in the judge's prompt, from 1; 0 when it names none.
    """

    text: str
    kind: str
    severity: float | None
    turn: int = 0


class ReadJudgement(NamedTuple):
    """Flaws of one answer, in its order; None exactly when `problem` says why, in a sentence for the judge."""

    flaws: tuple[SaidFlaw, ...] | None
    problem: str = ""

    @property
    def severity(self) -> float:
        """The sum of the severities that count."""
        return sum(flaw.severity or 0 for flaw in self.flaws or ())


class _Flaws(BaseModel):
    flaws: list[dict[str, Any]]


class _Answer(RootModel[dict[str, Any]]):
    @model_validator(mode="after")
    def _hold_flaws(self) -> "_Answer":
        # Without this a single flaw inside a broken answer would count as the answer.
        if not any(isinstance(value, dict) and isinstance(value.get("flaws"), list) for value in self.root.values()):
            raise ValueError("no dimension has a list 'flaws'")
        return self


def score(severity: float, rounds: int) -> float:
    """Return the score of a simulation with this sum of severities and so many turns of characters, 0 to 100."""
    return min(100.0, max(0.0, 100 - POINTS * (severity - CREDIT * rounds)))


def read_judgement(text: str, dimension: str, rule: SeverityRule = "rubric") -> ReadJudgement:
    """Return the flaws that an answer names for one of `TITLES`."""
    shown = strip_thinking(text)
    found = parse_structured(shown, _Answer, truncated=False, held=False)
    # json-repair closes what is open, and a list that was cut would become a shorter one.
    if found.tier == "failed" or (found.tier == "repaired" and shown.count("{") > shown.count("}")):
        return ReadJudgement(None, "it holds no complete JSON object with a list 'flaws'")
    answer = _Answer.model_validate_json(found.fixed or shown).root
    judged = next((value for name, value in answer.items() if _same(name, TITLES[dimension])), None)
    if judged is None:
        said = ", ".join(map(repr, list(answer)[:4])) or "nothing"
        return ReadJudgement(None, f"it names {said} where '{TITLES[dimension]}' is asked for")
    try:
        flaws = _Flaws.model_validate(judged).flaws
    except ValueError:
        return ReadJudgement(None, f"'{TITLES[dimension]}' has no list 'flaws' of objects")
    return _read_flaws(flaws, _Rule(rule, WORST if dimension == "storyline_quality" else _USUAL_WORST))


def _same(name: str, title: str) -> bool:
    return name.casefold().replace("_", " ").strip() == title.casefold()


class _Rule(NamedTuple):
    """Reading of severities; `most` is the largest one of the rubric."""

    name: SeverityRule
    most: int


def _read_flaws(flaws: Sequence[dict[str, Any]], rule: _Rule) -> ReadJudgement:
    read: list[SaidFlaw] = []
    for flaw in flaws:
        said = flaw.get("severity")
        severity, problem = _severity(said, rule)
        if problem:
            return ReadJudgement(None, problem)
        turn = _TURN.fullmatch(str(flaw.get("turn")))
        number = int(turn[1]) if turn else 0
        read.append(SaidFlaw(_words(flaw.get("instance")), _words(flaw.get("type")), severity, number))
    return ReadJudgement(tuple(read))


def _severity(said: Any, rule: _Rule) -> tuple[float | None, str]:
    """Return what a severity counts, and the problem with one that no rule can count."""
    number: float | None = said if isinstance(said, (int, float)) and not isinstance(said, bool) else None
    if rule.name == "rubric":
        if number is None and isinstance(said, str) and _TURN.fullmatch(said):
            number = int(said.strip(" []#"))
        if number is None or not 1 <= number <= rule.most:
            return None, f"the severity {_short(said)} is no number from 1 to {rule.most}"
        return float(number), ""
    # The published code would count these as they are: a negative one would then pay for other flaws.
    if number is not None and not 0 <= number <= WORST:
        return None, f"the severity {_short(said)} is no number from 1 to {WORST}"
    if said is None:
        return (1.0 if rule.name == "coser" else 0.0), ""
    counted = number is not None and (rule.name == "her" or isinstance(said, int))
    return (float(number) if counted and number is not None else None), ""


def _words(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _short(value: Any) -> str:
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**9 else "of very many digits"
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
