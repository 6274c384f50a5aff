"""Check the intervals of paired comparisons on simulated models. Run: `python -m benchmarks.coverage [PAIRS]`

Cases and books as in CoSER's test set: 200 cases, of one to five in each of 101 books, two runs of each model. A score is the
case's difficulty, plus how book and case take the model, plus the noise of the run; scores are skewed as deductions are, not
normal. Each pair declares its minimum from a pilot of its own: 40 other cases of two equal models. The same is measured for a
small set of 24 cases from 12 books.
"""

import sys
from collections.abc import Sequence

import numpy as np

from benchmarks.report import report
from her.judging.detectable import design_of, minimum_detectable, pilot_noise
from her.judging.statistics import Observation, Uncertainty, paired_difference

RUNS = 2
BOOK, CASE, NOISE, DIFFICULTY = 3.0, 6.0, 9.0, 15.0
"""Standard deviations, in points of 100: of what a book and a case add for one model, of a run, and of how hard cases are."""
BARS = {"excluded_least": 0.035, "excluded_most": 0.065, "found_least": 0.75, "found_most": 0.90, "pairs": 2000}
SETTINGS = Uncertainty(resamples=1000, permutations=200)


def books_of(cases: int, books: int) -> list[str]:
    """Return the book of each case: some books have one case, some have several."""
    return [f"book {min(number, number * 7 % books)}" if number >= books else f"book {number}" for number in range(cases)]


def skewed(random: np.random.Generator, size: tuple[int, ...], deviation: float) -> np.ndarray:
    """Return numbers with mean 0 and a tail to one side."""
    shape = 4.0
    return deviation * (shape - random.gamma(shape, size=size)) / np.sqrt(shape)


def pair(random: np.random.Generator, books: Sequence[str], shift: float) -> tuple[list[Observation], list[Observation]]:
    """Return the scores of two models, the second better by `shift`."""
    names = sorted(set(books))
    place = np.array([names.index(book) for book in books])
    difficulty = 60 + skewed(random, (len(books),), DIFFICULTY)
    sides = []
    for number in range(2):
        taken = random.normal(0, BOOK, len(names))[place] + random.normal(0, CASE, len(books))
        scores = (difficulty + taken)[:, None] + skewed(random, (len(books), RUNS), NOISE) + number * shift
        sides.append(
            [
                Observation(f"case {case}", book, run, float(scores[case, run]))
                for case, book in enumerate(books)
                for run in range(RUNS)
            ]
        )
    return sides[0], sides[1]


def shares(seed: int, books: Sequence[str], pairs: int) -> tuple[float, float, float]:
    """Return the share of equal and of different pairs whose interval excludes 0, and the mean minimum that was declared."""
    excluded = found = 0
    declared = 0.0
    design, pilot_books = design_of(books, RUNS), books_of(40, 20)
    for number in range(pairs):
        random, settings = np.random.default_rng([seed, number]), SETTINGS._replace(seed=number)
        excluded += paired_difference(*pair(random, books, 0.0), settings).estimate.excludes(0)
        shift = minimum_detectable(pilot_noise(*pair(random, pilot_books, 0.0)), design)
        found += paired_difference(*pair(random, books, shift), settings).estimate.excludes(0)
        declared += shift
    return excluded / pairs, found / pairs, declared / pairs


def main(words: list[str]) -> None:
    """Measure and print the JSON object."""
    pairs = int(words[0]) if words else 2000
    measured: dict[str, float] = {"pairs": pairs}
    ok = pairs >= BARS["pairs"]
    for name, cases, count in (("", 200, 101), ("small_", 24, 12)):
        excluded, found, declared = shares(1, books_of(cases, count), pairs)
        measured |= {f"{name}excluded": excluded, f"{name}found": found, f"{name}declared_points": round(declared, 2)}
        ok &= BARS["excluded_least"] <= excluded <= BARS["excluded_most"] and BARS["found_least"] <= found <= BARS["found_most"]
    report("coverage", BARS, measured, ok)


if __name__ == "__main__":
    main(sys.argv[1:])
