"""Evaluate reward models on held-out conversations: accuracy, calibration, attacks; beside baselines that see less."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.judging.adversarial import ATTACKS, AdversarialPair, pass_rates
from her.judging.judge import Judged
from her.judging.preference_pairs import conversation_of
from her.judging.report_card import Calibration
from her.judging.reward_models import VIEWER, reward_messages, sigmoid
from her.statistics import Interval, cluster_bootstrap
from her.types import Message, Outcome, Preference, Turn, Value, Verdict
from her.view import line
from pipelines.reward.scorer import ScalarScorer

BINS = 10
Candidate = tuple[tuple[Message, ...], Turn]
ScoreCandidates = Callable[[Sequence[Candidate]], list[float]]
"""Scores of candidates, each with its prompt."""


class ModelFigures(Value):
    """Figures of one model or baseline. An interval is `(value, low, high)` over resampled conversations.

    Args:
        accuracy: share of pairs in which the chosen candidate scores higher; equal scores count one half.
        by_principle: accuracy over the pairs that this principle alone decides, where verdicts have comparisons.
        ece: expected calibration error of sigma(difference of scores), 10 bins (Guo et al. 2017); None for a baseline whose
            scores are no log odds.
        calibration: the bins: mean probability of the preferred candidate, share that is right, pairs.
        attacks: share of attacks of each kind that the honest turn beats, with its Wilson interval.
    """

    name: str
    accuracy: Interval
    by_principle: dict[str, Interval] = {}
    ece: float | None = None
    calibration: tuple[Calibration, ...] = ()
    attacks: dict[str, Interval] = {}


class HeldOutSet(NamedTuple):
    """Pairs and attacks that models are evaluated on."""

    preferences: tuple[Preference, ...]
    attacks: tuple[AdversarialPair, ...]
    resamples: int
    seed: int


def evaluate_scores(name: str, score: ScoreCandidates, held_out: HeldOutSet, *, log_odds: bool = True) -> ModelFigures:
    """Return the figures of one model.

    Args:
        log_odds: whether a difference of scores is the log odds of a preference.
    """
    differences = score_differences(score, held_out.preferences)
    right = np.where(differences > 0, 1.0, np.where(differences < 0, 0.0, 0.5))
    curve = calibration(differences) if log_odds else ()
    return ModelFigures(
        name=name,
        accuracy=_accuracy(right, held_out.preferences, held_out),
        by_principle={
            principle: _accuracy(right[places], [held_out.preferences[place] for place in places], held_out)
            for principle, places in sorted(_decided(held_out.preferences).items())
        },
        ece=expected_error(curve) if log_odds else None,
        calibration=curve,
        attacks=pass_rates(_judged(name, score, held_out.attacks)),
    )


def score_differences(score: ScoreCandidates, preferences: Sequence[Preference]) -> NDArray[np.float64]:
    """Return score of the chosen less score of the rejected candidate for each pair."""
    chosen = score([(preference.prompt, preference.chosen) for preference in preferences])
    rejected = score([(preference.prompt, preference.rejected) for preference in preferences])
    differences: NDArray[np.float64] = np.array(chosen) - np.array(rejected)
    return differences


def model_scores(scorer: ScalarScorer, prompts: bool = True) -> ScoreCandidates:
    """Return the scores of a model; `prompts` False hides the prompts from it."""

    def score(candidates: Sequence[Candidate]) -> list[float]:
        return scorer.score_messages([reward_messages(prompt if prompts else (), turn) for prompt, turn in candidates])

    return score


def length_scores(train: Sequence[Preference]) -> ScoreCandidates:
    """Return the baseline that knows the length only: longer is better, or worse, whichever is more often right in training."""
    longer = [len(line(each.chosen, VIEWER)) - len(line(each.rejected, VIEWER)) for each in train]
    sign = 1.0 if sum(map(_sign, longer)) >= 0 else -1.0

    def score(candidates: Sequence[Candidate]) -> list[float]:
        return [sign * len(line(turn, VIEWER)) for _, turn in candidates]

    return score


def calibration(differences: NDArray[np.float64]) -> tuple[Calibration, ...]:
    """Return the reliability curve of the probabilities that follow from differences of scores."""
    bins: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for difference in differences.tolist():
        given = sigmoid(abs(difference))
        bins[min(int(given * BINS), BINS - 1)].append((given, 0.5 if not difference else float(difference > 0)))
    return tuple(
        Calibration(
            given=float(np.mean([given for given, _ in rows])), found=float(np.mean([right for _, right in rows])), rows=len(rows)
        )
        for _, rows in sorted(bins.items())
    )


def expected_error(curve: Sequence[Calibration]) -> float:
    """Return the mean distance between probability and share, over pairs."""
    total = sum(part.rows for part in curve)
    return sum(abs(part.given - part.found) * part.rows for part in curve) / total if total else float("nan")


def _accuracy(right: NDArray[np.float64], preferences: Sequence[Preference], held_out: HeldOutSet) -> Interval:
    clusters = [conversation_of(preference) for preference in preferences]
    return cluster_bootstrap(
        lambda places: float(right[places].mean()), clusters, resamples=held_out.resamples, seed=held_out.seed
    )


def _decided(preferences: Sequence[Preference]) -> dict[str, list[int]]:
    """Return by principle the places of the pairs in which its comparison is the only one without a tie."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, preference in enumerate(preferences):
        decided = [comparison.principle for comparison in preference.verdict.comparisons if comparison.winner != "tie"]
        if len(decided) == 1:
            places[decided[0]].append(place)
    return places


def _judged(name: str, score: ScoreCandidates, attacks: Sequence[AdversarialPair]) -> list[tuple[str, Judged]]:
    """Return the attacks with the verdict that follows from the scores."""
    honest = score([(pair.question.prompt, pair.question.a) for pair in attacks])
    worse = score([(pair.question.prompt, pair.question.b) for pair in attacks])
    return [
        (pair.kind, Judged(pair.question, Verdict(winner=_winner(good - bad), judge=name)))
        for pair, good, bad in zip(attacks, honest, worse, strict=True)
    ]


def _winner(difference: float) -> Outcome:
    return "tie" if not difference else "a" if difference > 0 else "b"


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


KINDS = tuple(ATTACKS)
"""Kinds of attacks that are evaluated: all."""
