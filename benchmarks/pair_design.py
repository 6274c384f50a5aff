"""Compare designs: which pairs of a group a judge is asked about. Run: `python -m benchmarks.pair_design`

Simulates 1,500 groups of 8 candidates with quality q, sd 1, and a judge with P(first wins) = sigma(1.5 dq + delta + .3 eps)
where delta is its preference for the first slot: 1 (73 % of equal pairs) and 1.73 (85 %). Reports the mean correlation of a
design's scores with q inside a group, for hard labels (a drawn winner) and soft ones (the probability itself), and beside it
for a judge that likes length, for one whose errors are shared by all judgements of a candidate, and for a pointwise judge.
Only the hard labels of the default design and of the reference comparison at 16 calls have bars.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import report
from her.judging.designs import Judgement, Pair, against_member, against_reference, all_pairs, circulant, fit_scores

GROUPS, SIZE = 1500, 8
SLOPE, NOISE = 1.5, 0.3
DELTAS = {"73": 1.0, "85": 1.73}
DEFAULT = "circulant_16"
BARS = {"default_73": 0.70, "default_85": 0.65, "over_reference": 0.08}
Floats = NDArray[np.float64]
Perceive = Callable[[Floats, np.random.Generator], Floats]


def designs() -> dict[str, list[Pair]]:
    """Return the pairs of each design; the number in a name is that of its calls."""
    return {
        "reference_8": against_reference(SIZE, 1),
        "reference_16": against_reference(SIZE, 2),
        "member_7": against_member(SIZE, 1),
        "circulant_8": circulant(SIZE, 1),
        DEFAULT: circulant(SIZE, 2),
        "circulant_24": circulant(SIZE, 3),
        "all_pairs_28": all_pairs(SIZE, 1),
        "all_pairs_56": all_pairs(SIZE, 2),
    }


def honest(quality: Floats, random: np.random.Generator) -> Floats:
    """Perceive quality as it is."""
    return quality


def likes_length(quality: Floats, random: np.random.Generator) -> Floats:
    """Add half a standard deviation for each standard deviation of a length that has nothing to do with quality."""
    return quality + 0.5 * random.normal(size=quality.size)


def shares_errors(quality: Floats, random: np.random.Generator) -> Floats:
    """Misread each candidate once, by the same amount in every comparison: another draw, of sd 1."""
    return quality + random.normal(size=quality.size)


JUDGES: dict[str, Perceive] = {"honest": honest, "likes_length": likes_length, "shares_errors": shares_errors}


def correlation(pairs: Sequence[Pair], delta: float, perceive: Perceive, *, soft: bool, seed: int = 0) -> float:
    """Return the mean correlation of scores and quality; a group whose scores are all equal counts 0."""
    random = np.random.default_rng(seed)
    correlations = []
    for _ in range(GROUPS):
        quality = random.normal(size=SIZE + 1)  # the last one is the reference
        perceived = perceive(quality, random)
        judgements = []
        for first, second in pairs:
            logit = SLOPE * (perceived[first] - perceived[second]) + delta + NOISE * random.normal()
            probability = 1 / (1 + np.exp(-logit))
            judgements.append(Judgement(first, second, probability if soft else float(random.random() < probability)))
        correlations.append(_correlated(fit_scores(SIZE, judgements).candidates, quality[:SIZE]))
    return round(float(np.mean(correlations)), 3)


def pointwise(perceive: Perceive, seed: int = 0) -> float:
    """Return the same for 8 calls of a judge that gives whole scores from 1 to 10: one score a candidate, no order."""
    random = np.random.default_rng(seed)
    correlations = []
    for _ in range(GROUPS):
        quality = random.normal(size=SIZE)
        # logistic noise of the same size as a pairwise answer's, sigma(1.5 x), then rounded as judges do
        noisy = perceive(quality, random) + random.logistic(size=SIZE) / SLOPE / np.sqrt(2)
        correlations.append(_correlated(np.clip(np.round(5.5 + 1.5 * noisy), 1, 10), quality))
    return round(float(np.mean(correlations)), 3)


def _correlated(scores: Floats, quality: Floats) -> float:
    return float(np.corrcoef(scores, quality)[0, 1]) if np.ptp(scores) > 0 else 0.0


def main() -> None:
    """Measure every design and print the JSON object."""
    hard = {
        f"{name}_{share}": correlation(pairs, delta, honest, soft=False)
        for name, pairs in designs().items()
        for share, delta in DELTAS.items()
    }
    soft = {
        f"{name}_{share}": correlation(pairs, delta, honest, soft=True)
        for name, pairs in designs().items()
        for share, delta in DELTAS.items()
    }
    biased = {
        f"{judge}_{name}_{share}": correlation(designs()[name], delta, JUDGES[judge], soft=False)
        for judge in ("likes_length", "shares_errors")
        for name in (DEFAULT, "reference_16")
        for share, delta in DELTAS.items()
    }
    over = {share: round(hard[f"{DEFAULT}_{share}"] - hard[f"reference_16_{share}"], 3) for share in DELTAS}
    measured = {
        "default_73": hard[f"{DEFAULT}_73"],
        "default_85": hard[f"{DEFAULT}_85"],
        "over_reference": min(over.values()),
        "hard": hard,
        "soft": soft,
        "biased": biased,
        "pointwise_8": {name: pointwise(perceive) for name, perceive in JUDGES.items()},
        "groups": GROUPS,
    }
    ok = all(float(str(measured[name])) >= bar for name, bar in BARS.items())
    report("pair_design", BARS, measured, ok)


if __name__ == "__main__":
    main()
