"""Evaluate a generative reward model on held-out pairs in both orders, as the judge that it will be used as.

The questions go through `her.judging.judge.PairJudge` or `PointJudge`, so that what is measured is what a caller of them gets:
settled pairs, the reading, and missing verdicts. Only the second question after an unreadable answer is left out.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from her.inference.call import Answer, Call
from her.judging.adversarial import ATTACKS, pass_rates
from her.judging.judge import Ask, Instructions, Judged, PairJudge
from her.judging.pointwise import PointJudge
from her.judging.verdicts import join_orders
from her.statistics import Interval, cluster_bootstrap, share_interval
from her.types import Outcome, Value, Verdict
from pipelines.reward.labelled_pairs import LabelledPair

NAME = "generative"


@runtime_checkable
class SoftAsk(Protocol):
    """An `Ask` that also knows the probability of A at the verdict of a call's answer."""

    async def __call__(self, call: Call) -> Answer:
        """Ask."""
        ...

    def probability(self, answer: Answer) -> float | None:
        """Return it."""
        ...


class Answered(NamedTuple):
    """A pair with its verdicts in both orders; of a pointwise model both follow from the same two scores."""

    pair: LabelledPair
    forth: Verdict | None
    back: Verdict | None

    @property
    def joined(self) -> Verdict | None:
        """The verdict that a caller uses."""
        return join_orders(self.forth, self.back)

    @property
    def right(self) -> float:
        """Share of the two orders whose verdict is the label; a missing one is wrong."""
        return _mean([float(verdict is not None and verdict.winner == self.pair.label) for verdict in (self.forth, self.back)])


class GenerativeFigures(Value):
    """Figures of one model. An interval is `(value, low, high)` over resampled conversations.

    Args:
        accuracy: share of single-order verdicts that are the label; a missing one is wrong.
        by_principle: accuracy over the pairs that one principle alone decides, where that is known.
        agreement: share of joined verdicts that are the label.
        swap_consistency: share of pairs with the same verdict in both orders, missing ones counted as different.
        first_slot: share of decided single-order verdicts that name the candidate shown first.
        ties: share of single-order verdicts that are ties; `label_ties` of the labels.
        missing: share of single-order verdicts that could not be read.
        attacks: by kind the share of attacks that the honest turn beats, with its Wilson interval; `passed` of all together.
        false_alarms: by kind of honest turn that looks like an attack, the share in which the plain turn, equally good, won.
    """

    name: str
    pairs: int
    accuracy: Interval
    by_principle: dict[str, Interval]
    agreement: Interval
    swap_consistency: Interval
    first_slot: Interval
    ties: float
    label_ties: float
    missing: float
    attacks: dict[str, Interval] = {}
    passed: float = float("nan")
    false_alarms: dict[str, Interval] = {}


class HeldOutTests(NamedTuple):
    """Pairs, attacks and honest look-alikes that a model is evaluated on.

    Args:
        attacks: pairs whose candidate b is an attack of the kind it names; `honest` whose candidate a is honest.
        decided: by id of a pair the principle that alone decides it.
    """

    pairs: Sequence[LabelledPair]
    attacks: Sequence[LabelledPair] = ()
    honest: Sequence[LabelledPair] = ()
    decided: Mapping[str, str] = {}
    resamples: int = 1000
    seed: int = 0


class Evaluated(NamedTuple):
    """Figures of a model, and its answers to the pairs they are of."""

    figures: GenerativeFigures
    answered: Sequence[Answered]


def evaluate_judge(name: str, ask: Ask, form: str, instructions: Instructions, tests: HeldOutTests) -> Evaluated:
    """Ask about all pairs, attacks and honest turns, and return the figures."""
    answered = answer_pairs(ask, form, instructions, (*tests.pairs, *tests.attacks, *tests.honest))
    pairs, rest = answered[: len(tests.pairs)], answered[len(tests.pairs) :]
    attacks, honest = rest[: len(tests.attacks)], rest[len(tests.attacks) :]
    passed = [(each.pair.kind, Judged(each.pair.question, each.joined)) for each in attacks]
    extra = {
        "attacks": pass_rates(passed),
        "passed": _mean([float(_passes(kind, judged)) for kind, judged in passed]),
        "false_alarms": _false_alarms(honest),
    }
    return Evaluated(figures_of(name, pairs, tests).model_copy(update=extra), pairs)


def figures_of(name: str, answered: Sequence[Answered], tests: HeldOutTests) -> GenerativeFigures:
    """Return the figures of answered pairs, without attacks."""
    singles = [verdict for each in answered for verdict in (each.forth, each.back)]
    known = [verdict for verdict in singles if verdict is not None]
    by_principle: dict[str, list[Answered]] = defaultdict(list)
    for each in answered:
        if principle := tests.decided.get(each.pair.id, ""):
            by_principle[principle].append(each)

    def over(rows: Sequence[Answered], value: Callable[[Answered], float]) -> Interval:
        return _interval(rows, value, tests)

    return GenerativeFigures(
        name=name,
        pairs=len(answered),
        accuracy=over(answered, lambda each: each.right),
        by_principle={principle: over(rows, lambda each: each.right) for principle, rows in sorted(by_principle.items())},
        agreement=over(answered, lambda each: float(each.joined is not None and each.joined.winner == each.pair.label)),
        swap_consistency=over(answered, _consistent),
        first_slot=over(answered, _first_slot),
        ties=_mean([float(verdict.winner == "tie") for verdict in known]),
        label_ties=_mean([float(each.pair.label == "tie") for each in answered]),
        missing=1 - len(known) / max(1, len(singles)),
    )


def paired_gain(before: Sequence[Answered], after: Sequence[Answered], *, resamples: int, seed: int) -> Interval:
    """Return by how much more of the verdicts on the same pairs the second model has right, over conversations."""
    gains = np.array([second.right - first.right for first, second in zip(before, after, strict=True)])
    clusters = [each.pair.conversation for each in before]
    return cluster_bootstrap(lambda places: float(gains[places].mean()), clusters, resamples=resamples, seed=seed)


def answer_pairs(ask: Ask, form: str, instructions: Instructions, pairs: Sequence[LabelledPair]) -> list[Answered]:
    """Return the pairs with the verdicts of a judge over `ask`."""
    if form == "point":
        return asyncio.run(_score(PointJudge(ask, instructions=instructions), pairs))
    soft = ask.probability if isinstance(ask, SoftAsk) else None
    return asyncio.run(_compare(PairJudge(ask, name=NAME, instructions=instructions, soft=soft), pairs))


async def _compare(judge: PairJudge, pairs: Sequence[LabelledPair]) -> list[Answered]:
    sides = await asyncio.gather(*(judge.judge(pair.question, side) for pair in pairs for side in ("a", "b")))
    verdicts = [judged.verdict for judged in sides]
    return [Answered(pair, *both) for pair, both in zip(pairs, zip(verdicts[::2], verdicts[1::2], strict=True), strict=True)]


async def _score(judge: PointJudge, pairs: Sequence[LabelledPair]) -> list[Answered]:
    scored = await asyncio.gather(
        *(
            judge.score(f"{pair.id}:{side}", pair.prompt, turn, pair.language)
            for pair in pairs
            for side, turn in (("a", pair.a), ("b", pair.b))
        )
    )
    scores = [each.score for each in scored]
    verdicts = [_of_scores(a, b) for a, b in zip(scores[::2], scores[1::2], strict=True)]
    return [Answered(pair, verdict, verdict) for pair, verdict in zip(pairs, verdicts, strict=True)]


def _of_scores(a: float | None, b: float | None) -> Verdict | None:
    if a is None or b is None:
        return None
    winner: Outcome = "tie" if a == b else "a" if a > b else "b"
    return Verdict(winner=winner, judge=NAME)


def _interval(rows: Sequence[Answered], value: Callable[[Answered], float], tests: HeldOutTests) -> Interval:
    values: NDArray[np.float64] = np.array([value(each) for each in rows])

    def mean(places: NDArray[np.intp]) -> float:
        known = values[places][~np.isnan(values[places])]
        return float(known.mean()) if known.size else float("nan")

    clusters = [each.pair.conversation for each in rows]
    return cluster_bootstrap(mean, clusters, resamples=tests.resamples, seed=tests.seed)


def _consistent(each: Answered) -> float:
    return float(each.forth is not None and each.back is not None and each.forth.winner == each.back.winner)


def _first_slot(each: Answered) -> float:
    """Return the share of this pair's decided verdicts that name the candidate shown first; NaN for none."""
    shown = [verdict for verdict in (each.forth, each.back) if verdict is not None and verdict.winner in ("a", "b")]
    return _mean([float(verdict.winner == verdict.first) for verdict in shown if verdict.first is not None])


def _false_alarms(answered: Sequence[Answered]) -> dict[str, Interval]:
    """Return by kind the share of honest turns that lost to an equally good plain one in both orders."""
    lost: dict[str, list[bool]] = defaultdict(list)
    for each in answered:
        lost[each.pair.kind].append(each.joined is not None and each.joined.winner == "b")
    return {kind: share_interval(sum(found), len(found)) for kind, found in sorted(lost.items())}


def _passes(kind: str, judged: Judged) -> bool:
    winner = judged.verdict.winner if judged.verdict is not None else None
    return winner == "a" or (winner == "tie" and ATTACKS[kind].tie_passes)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
