"""Report card of a judge or reward model: how far it agrees with labels and people, and how it is biased, with intervals.

Every share has an interval that resamples conversations. Agreement is worth what people agree among themselves, so the human
ceiling stands beside it; without one the card says so. Missing verdicts are counted and never scored. card_text.py writes a card
as Markdown, card_page.py as one HTML page.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from her.errors import InputError
from her.judging.card_figures import (
    Calibration,
    Estimates,
    JudgedPair,
    JudgedRow,
    Resampling,
    ScoredTurn,
    agrees,
    calibration,
    correlations,
    expected_error,
    first_slot,
    is_missing,
    is_tie,
    kappa,
    label_tie_rate,
    people_agree,
    same_in_both_orders,
    self_preference,
    unscored,
    verbosity,
    votes_agreed,
)
from her.judging.verdicts import join_orders
from her.statistics import Interval
from her.types import Value

__all__ = ["Calibration", "CardSettings", "JudgeCost", "JudgedPair", "ReportCard", "ScoredTurn", "report_card"]


class JudgeCost(Value):
    """Cost of a judge's verdicts: calls, tokens as the servers counted them, money at the prices that were given."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float = 0


class ReportCard(Value):
    """All figures of one judge. An interval is `(value, low, high)`; NaN where there is nothing to say.

    Args:
        name: of the design, where several are compared.
        turns: turns with a score of people.
        agreement: share of verdicts equal to the label; `kappa` is Cohen's, ties included.
        by_language: agreement in each language; `by_dimension` in each dimension that a pair names.
        people: share of single people's votes that the verdict of their pair agrees with.
        ceiling: the same share between two people, as it was given or as the votes say; None when unknown.
        first_slot: share of decided single-order verdicts that chose the first candidate shown; 0.5 is unbiased.
        swap_consistency: share of pairs with the same verdict in both orders.
        tie_rate: of joined verdicts. `label_tie_rate` of the labels beside it.
        verbosity: slope of the log odds to win over the log ratio of lengths, with the labels' own slope taken off where known.
        self_preference: how much more often the judge chose its own family than the labels did.
        calibration_error: mean distance between given probability and share found, over pairs (Guo et al. 2017).
        adversarial: share of attacks of each kind that it saw through, with Wilson intervals.
        missing: share of pairs without a joined verdict; of turns without a score where there are no pairs.
        correlation: Spearman's rho between its scores and people's, by dimension and language, all turns under `all`.
        cost: None when nothing was counted.
    """

    judge: str
    model: str
    pairs: int
    agreement: Interval
    kappa: float
    by_language: dict[str, Interval]
    ceiling: Interval | None
    first_slot: Interval
    swap_consistency: Interval
    tie_rate: Interval
    label_tie_rate: float
    verbosity: Interval
    self_preference: Interval
    calibration: tuple[Calibration, ...]
    missing: Interval
    name: str = ""
    turns: int = 0
    by_dimension: dict[str, Interval] = {}
    people: Interval | None = None
    calibration_error: float = math.nan
    adversarial: dict[str, Interval] = {}
    correlation: dict[str, Interval] = {}
    cost: JudgeCost | None = None


class CardSettings(NamedTuple):
    """Facts of a card that are not in its pairs.

    Args:
        name: of the design, where several are compared.
        judge: name and model to print where no verdict came.
        family: model family of the judge, for self-preference.
        ceiling: agreement between people on such pairs; without it that of the votes.
    """

    name: str = ""
    judge: tuple[str, str] = ("", "")
    family: str = ""
    ceiling: Interval | None = None
    adversarial: Mapping[str, Interval] = MappingProxyType({})
    cost: JudgeCost | None = None
    resamples: int = 1000
    seed: int = 0


DEFAULTS = CardSettings()


def report_card(pairs: Sequence[JudgedPair], settings: CardSettings = DEFAULTS, turns: Sequence[ScoredTurn] = ()) -> ReportCard:
    """Return the report card of the judge that gave these verdicts and scores.

    Raises:
        InputError: nothing was judged, or the verdicts are of several judges.
    """
    judges = {(verdict.judge, verdict.model) for pair in pairs for verdict in (pair.forth, pair.back) if verdict is not None}
    if not (pairs or turns) or len(judges) > 1:
        raise InputError(f"a report card needs pairs of one judge; here are {len(pairs)} pairs of {len(judges)} judges")
    rows = [JudgedRow(pair, join_orders(pair.forth, pair.back)) for pair in pairs]
    resampling = Resampling(settings.resamples, settings.seed)
    card = Estimates(rows, resampling)
    judge, model = next(iter(judges), settings.judge)
    curve = tuple(calibration(rows))
    return ReportCard(
        name=settings.name,
        judge=judge,
        model=model,
        pairs=len(pairs),
        turns=len(turns),
        agreement=card.share(agrees),
        kappa=kappa(rows),
        by_language=card.by(lambda row: row.pair.language, agrees),
        by_dimension=card.by(lambda row: row.pair.dimension, agrees),
        people=card.weighted(votes_agreed) if any(pair.votes for pair in pairs) else None,
        ceiling=settings.ceiling or card.known(card.weighted(people_agree)),
        first_slot=card.share(first_slot),
        swap_consistency=card.share(same_in_both_orders),
        tie_rate=card.share(is_tie),
        label_tie_rate=label_tie_rate(rows),
        verbosity=card.of(verbosity(rows)),
        self_preference=card.share(lambda row: self_preference(row, settings.family)),
        calibration=curve,
        calibration_error=expected_error(curve),
        adversarial=dict(settings.adversarial),
        missing=card.share(is_missing) if rows else unscored(turns, resampling),
        correlation=correlations(turns, resampling) if turns else {},
        cost=settings.cost,
    )
