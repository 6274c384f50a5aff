"""Report on the people behind the votes, and decide whether a reward model may be trained from them.

Training is refused when no pair has two raters, and when the raters are not consistent: when their votes on pairs that are shown
again with the sides swapped are no better than chance. Low agreement with high consistency is taste: training goes on, by camp.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from her.errors import InputError
from her.feedback.agreement import UNKNOWN, PeopleAgreement, consistency, people_agreement
from her.feedback.raters import LEAST_WEIGHT, Camp, RaterVote, Reliability, find_camps, reliabilities
from her.feedback.votes import merged_raters
from her.statistics import Interval
from her.types import Value

LOW_ALPHA = 0.667
"""Krippendorff's limit for tentative conclusions (2004, chapter 11)."""
CHANCE = 0.5

CampChoice = Literal["auto", "one", "per_camp"]
"""One model of all raters, one of each camp, or by what the report says."""


class RaterFigures(Value):
    """Figures of one rater.

    Args:
        votes: all of them, checks included; `checks` is the number of catch pairs and repeats, `passed` of those passed.
        left_share: share of decided votes for the left side.
        weight: reliability from checks alone, 0 to 1.
        camp: number from 1; 0 for raters who are too unreliable for a camp.
        merged: pairs on which this rater voted against themselves.
    """

    rater: str
    votes: int
    checks: int
    passed: float
    left_share: float
    weight: float
    camp: int
    merged: int


class CampFigures(Value):
    """A camp of taste: its raters, their agreement, and how much more they agree among themselves than with the others."""

    raters: tuple[str, ...]
    agreement: PeopleAgreement
    gap: Interval = UNKNOWN


class PeopleReport(Value):
    """Figures of all raters: how reliable they are, and how much they agree.

    Args:
        consistency: share of swapped repeats with the same winner; 0.5 is chance.
        refused: why no model may be trained from these votes; empty when one may.
        taste: alpha is low though raters are consistent, and camps were found that disagree on held-out pairs as well.
    """

    votes: int
    raters: tuple[RaterFigures, ...]
    agreement: PeopleAgreement
    consistency: Interval
    camps: tuple[CampFigures, ...]
    refused: str
    taste: bool

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each rater."""
        return {figures.rater: figures.weight for figures in self.raters}

    def require_trainable(self) -> None:
        """Raise InputError with the reason when training is refused."""
        if self.refused:
            raise InputError(f"no reward model is trained from these votes: {self.refused}")

    def groups(self, choice: CampChoice) -> tuple[tuple[str, ...], ...]:
        """Return the raters of each model to train: all that are in a camp together, or camp by camp."""
        camps = tuple(camp.raters for camp in self.camps)
        apart = choice == "per_camp" or (choice == "auto" and self.taste)
        return camps if apart else (tuple(sorted(name for camp in camps for name in camp)),)


def people_report(votes: Iterable[RaterVote], *, resamples: int = 1000, seed: int = 0) -> PeopleReport:
    """Return the report. Pairs on which a rater voted against themselves are reported and count for nothing."""
    votes = tuple(votes)
    merged = merged_raters(votes)
    clean = [vote for vote in votes if vote.pair not in merged.get(vote.rater, ())]
    found = reliabilities(clean)
    weights = {rater: reliability.weight for rater, reliability in found.items()}
    camps = find_camps(clean, weights, seed)
    number = {rater: place for place, camp in enumerate(camps, 1) for rater in camp.raters}
    names = sorted({vote.rater for vote in votes})
    agreement = people_agreement(clean, resamples=resamples, seed=seed)
    same = consistency(clean, resamples=resamples, seed=seed)
    return PeopleReport(
        votes=len(votes),
        raters=tuple(_rater(name, votes, found.get(name), number.get(name, 0), merged) for name in names),
        agreement=agreement,
        consistency=same,
        camps=tuple(_camp(camp, clean, resamples, seed) for camp in camps),
        refused=_refusal(agreement, same, camps),
        taste=agreement.alpha.value < LOW_ALPHA and len(camps) > 1 and same.low > CHANCE,
    )


def _rater(
    name: str, votes: Sequence[RaterVote], found: Reliability | None, camp: int, merged: Mapping[str, Sequence[str]]
) -> RaterFigures:
    checks = found._asdict() if found else {"checks": 0, "passed": 0.0, "left_share": math.nan, "weight": 0.0}
    own = sum(vote.rater == name for vote in votes)
    return RaterFigures(rater=name, votes=own, camp=camp, merged=len(merged.get(name, ())), **checks)


def _camp(camp: Camp, votes: Sequence[RaterVote], resamples: int, seed: int) -> CampFigures:
    own = [vote for vote in votes if vote.rater in camp.raters]
    return CampFigures(
        raters=camp.raters, agreement=people_agreement(own, resamples=resamples, seed=seed), gap=camp.gap or UNKNOWN
    )


def _refusal(agreement: PeopleAgreement, same: Interval, camps: Sequence[Camp]) -> str:
    """Return why training is refused; an empty text when it is not."""
    if not agreement.pairs:
        return "no pair has two raters, so nobody knows whether people agree; let at least two people vote on the same pairs"
    if math.isnan(same.low):
        return "too few pairs were shown again with sides swapped to measure consistency; repeat about one vote in eight"
    if same.low <= CHANCE:
        return (
            f"raters name the same winner in {same.value:.2f} ({same.low:.2f} to {same.high:.2f}) of the pairs that were shown "
            "again with sides swapped, and chance is 0.50; ask raters who read both sides"
        )
    if not camps:
        return f"no rater has a weight of {LEAST_WEIGHT:g}; more catch pairs and repeats are needed to trust one"
    return ""


def report_lines(report: PeopleReport, choice: CampChoice) -> list[str]:
    """Return the report as lines of plain text: what is printed before anything trains."""
    agreement = report.agreement
    lines = [
        f"{report.votes} votes of {len(report.raters)} raters; {agreement.pairs} pairs with two raters or more",
        f"Krippendorff's alpha {_text(agreement.alpha)}; two people name the same winner: {_text(agreement.agreement)}",
        f"the same winner with sides swapped: {_text(report.consistency)}, chance is 0.50",
    ]
    for place, camp in enumerate(report.camps, 1):
        about = f"alpha {_text(camp.agreement.alpha)}, same winner {_text(camp.agreement.agreement)}"
        lines.append(f"camp {place}: {len(camp.raters)} raters ({', '.join(camp.raters)}); {about}")
    low = [f"{each.rater} ({each.weight:.2f})" for each in report.raters if not each.camp]
    lines += [f"in no camp, weight below {LEAST_WEIGHT:g}: {', '.join(low)}"] if low else []
    lines += [
        f"{each.rater} voted against themselves on {each.merged} pairs, which count for nothing: two people under one name?"
        for each in report.raters
        if each.merged
    ]
    return [*lines, _conclusion(report, choice)]


def _conclusion(report: PeopleReport, choice: CampChoice) -> str:
    if report.refused:
        return f"refused: {report.refused}"
    models = len(report.groups(choice))
    training = "one model of each camp" if models > 1 else "one model of all camps" if len(report.camps) > 1 else "one model"
    if report.taste:
        camps = f"raters are consistent and fall into {len(report.camps)} camps"
        return f"alpha is low, yet {camps}: taste, not noise; training {training}"
    if report.agreement.alpha.value < LOW_ALPHA:
        return f"alpha is low, and no camps explain it: labels are noisy; training {training}"
    return f"training {training}"


def _text(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "unknown"
    limits = "" if math.isnan(interval.low) else f" ({interval.low:.2f} to {interval.high:.2f})"
    return f"{interval.value:.2f}{limits}"
