"""Check that careless raters are found and both tastes kept. Run: `python -m benchmarks.planted_raters [SEEDS]`

Twelve scripted raters vote on pairs whose four differences (length, acts, thoughts, echo of the question) are drawn anew for
each seed: five honest ones of taste A, four of taste B, a noisy one of taste A, one who votes at random and one who always
takes the left side. Each casts 160 votes: 100 on pairs that others see as well, 20 swapped repeats and 40 catch pairs. The
same world with one taste must give one camp. Labels are compared with the rule of the camp: weighted by reliability within
found camps, unweighted over all raters, and unweighted within the true camps (which no playtest knows).
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import report
from her.feedback.raters import PairLabel, RaterVote, find_camps, label_pairs, reliabilities
from her.types import Winner

PAIRS, PLAIN, REPEATS, CATCHES = 240, 100, 20, 40
TASTES = {"A": np.array([1.0, 0.6, 0.0, 0.8]), "B": np.array([-1.0, 0.2, 0.9, 0.5])}
"""Weight of each difference in a taste; A and B agree on echo and differ on length and thoughts."""
RATERS = [("A", "honest")] * 5 + [("B", "honest")] * 4 + [("A", "noisy"), ("A", "careless"), ("B", "left")]
TEMPERATURE = {"honest": 0.2, "noisy": 0.75}
OBVIOUS = 2.0
"""Difference of a catch pair on the scale of a taste."""
BARS = {"lowest_two": 18, "camps_kept": 18, "over_unweighted": 0.05, "one_camp": 19}
Floats = NDArray[np.float64]


class World:
    """Raters, pairs and votes of one seed; `rules` is the sign of every pair under each taste."""

    def __init__(self, seed: int, tastes: int = 2) -> None:
        self.random = np.random.default_rng(seed)
        self.differences = self.random.normal(size=(PAIRS, 4))
        self.rules = {camp: np.sign(self.differences @ self._taste(camp, tastes)) for camp in TASTES}
        self.camps = {f"{number:02}-{kind}": camp for number, (camp, kind) in enumerate(RATERS)}
        self.votes = [vote for rater in self.camps for vote in self._cast(rater, tastes)]

    @staticmethod
    def _taste(camp: str, tastes: int) -> Floats:
        return TASTES[camp if tastes == 2 else "A"]

    def _cast(self, rater: str, tastes: int) -> list[RaterVote]:
        kind, taste = rater.partition("-")[2], self._taste(self.camps[rater], tastes)
        chosen = self.random.choice(PAIRS, PLAIN, replace=False)
        votes = []
        for number, pair in enumerate(chosen):
            left = self._side()
            utility = float(self.differences[pair] @ taste)
            votes.append(RaterVote(rater=rater, pair=f"p{pair}", winner=self._vote(kind, utility, left), left=left))
            if number < REPEATS:
                other: Winner = "b" if left == "a" else "a"
                again = self._vote(kind, utility, other)
                votes.append(RaterVote(rater=rater, pair=f"p{pair}", winner=again, left=other, repeat=True))
        for number in range(CATCHES):
            left, worse = self._side(), self._side()
            winner = self._vote(kind, OBVIOUS if worse == "b" else -OBVIOUS, left)
            votes.append(RaterVote(rater=rater, pair=f"{rater}-{number}", winner=winner, left=left, worse=worse))
        return votes

    def _side(self) -> Winner:
        return "a" if self.random.random() < 0.5 else "b"

    def _vote(self, kind: str, utility: float, left: Winner) -> Winner:
        if kind == "left":
            return left
        if kind == "careless":
            return self._side()
        return "a" if self.random.random() < 1 / (1 + np.exp(-utility / TEMPERATURE[kind])) else "b"

    def agreement(self, labels: Mapping[str, PairLabel], camp: str) -> list[float]:
        """Return for each labelled pair whether the label is the camp's rule; an undecided label is half right."""
        rule = self.rules[camp]
        return [
            0.5 if label.probability == 0.5 else float((label.probability > 0.5) == (rule[int(pair[1:])] > 0))
            for pair, label in labels.items()
        ]


def measure(seed: int) -> dict[str, Any]:
    """Return what one seed shows."""
    world = World(seed)
    weights = {rater: found.weight for rater, found in reliabilities(world.votes).items()}
    camps = find_camps(world.votes, weights)
    lowest = {rater.partition("-")[2] for rater in sorted(weights, key=weights.__getitem__)[:2]}
    equal = dict.fromkeys(weights, 0.5)
    weighted, unweighted, known = [], [], []
    for camp in camps:
        taste = max(TASTES, key=lambda name: sum(world.camps[rater] == name for rater in camp.raters))
        weighted += world.agreement(label_pairs(world.votes, weights, camp.raters), taste)
        unweighted += world.agreement(label_pairs(world.votes, equal, weights), taste)
        known += world.agreement(label_pairs(world.votes, equal, [r for r in weights if world.camps[r] == taste]), taste)
    return {
        "lowest_two": lowest == {"careless", "left"},
        "camps_kept": len(camps) == 2 and all(_share(world, weights, camp) for camp in TASTES),
        "weighted": float(np.mean(weighted)),
        "unweighted": float(np.mean(unweighted)),
        "unweighted_in_true_camps": float(np.mean(known)),
        "one_camp": len(_one_taste(seed)) == 1,
    }


def _share(world: World, weights: Mapping[str, float], camp: str) -> bool:
    """Return whether the honest raters of a camp have at least their share, by heads, of all weight."""
    honest = [rater for rater in weights if world.camps[rater] == camp and rater.endswith("honest")]
    return sum(weights[rater] for rater in honest) / sum(weights.values()) >= len(honest) / len(weights)


def _one_taste(seed: int) -> list[Any]:
    votes = World(seed, tastes=1).votes
    return find_camps(votes, {rater: found.weight for rater, found in reliabilities(votes).items()})


def main(words: list[str]) -> None:
    """Measure all seeds and print the JSON object."""
    seeds = int(words[0]) if words else 20
    rows = [measure(seed) for seed in range(seeds)]
    measured: dict[str, Any] = {name: sum(row[name] for row in rows) for name in ("lowest_two", "camps_kept", "one_camp")}
    for name in ("weighted", "unweighted", "unweighted_in_true_camps"):
        measured[name] = round(float(np.mean([row[name] for row in rows])), 4)
    measured["over_unweighted"] = round(measured["weighted"] - measured["unweighted"], 4)
    measured["over_unweighted_in_true_camps"] = round(measured["weighted"] - measured["unweighted_in_true_camps"], 4)
    ok = seeds == 20 and all(measured[name] >= bar for name, bar in BARS.items())
    report("planted_raters", BARS, {**measured, "seeds": seeds}, ok)


if __name__ == "__main__":
    main(sys.argv[1:])
