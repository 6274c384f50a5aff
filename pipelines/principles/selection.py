"""Keep the principles that reproduce the label on conversations they were not made from.

Every candidate is applied to every held-out pair, in a drawn order of the two turns, so that a judge's liking for the first one
says nothing about the label. A verdict counts only with a quote that stands in one of the turns. The statistic of a principle is
the number of pairs in which the preferred turn follows it, less those in which the other one does. Its p-value is the share of
shuffled labels that reach it: the two turns are swapped in all pairs of a conversation at once, since pairs of one conversation
depend on each other (a sign-flip test). Benjamini and Hochberg (1995) hold the rate of false discoveries.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from her.inference.call import Answer, Call
from her.judging.preference_pairs import conversation_of
from her.judging.verdicts import letters_only
from her.statistics import Interval, cluster_bootstrap
from her.types import Preference, Sampling, Value
from pipelines.principles.answers import AppliedPrinciple, AppliedPrinciples
from pipelines.principles.distilling import Candidate
from pipelines.principles.options import SelectionOptions
from pipelines.principles.pairs import turn_text
from pipelines.principles.questions import PrincipleCallers, answers, language_of, moment, question

Side = Literal["chosen", "rejected", "tie", "missing"]
SIGNS: dict[Side, int] = {"chosen": 1, "rejected": -1, "tie": 0, "missing": 0}
COLD = Sampling(temperature=0, max_tokens=1500)
EXACT = 1e-12
Signs = NDArray[np.int64]


class Decision(Value):
    """One principle on one held-out pair: the turn that follows it, and the words that show it.

    Args:
        pair: number of the held-out pair, from 0.
        side: `missing` where the judge gave no usable verdict.
        quote: found in one of the two turns.
        problem: why it is missing.
    """

    principle: str
    pair: int
    side: Side
    quote: str = ""
    problem: str = ""


class LabelTest(Value):
    """Test of one principle.

    Args:
        decided: held-out pairs in which one turn follows it and the other does not; in `agreed` of them the preferred one.
        missing: held-out pairs without a usable verdict.
        conversations: with a decided pair.
        agreement: agreed / decided of a kept principle, with its interval over resampled conversations.
        p: one-sided, of the sign-flip test; None where the principle decided too little to be tested.
        q: p after Benjamini and Hochberg; the principle is kept when it is at most the rate.
        reason: why it was rejected; empty when it is kept.
    """

    principle: str
    decided: int
    agreed: int
    missing: int
    conversations: int
    agreement: Interval | None = None
    p: float | None
    q: float | None
    reason: str

    @property
    def kept(self) -> bool:
        """True when the principle passed."""
        return not self.reason


class _Asked(NamedTuple):
    """A call: the pair it is about, the principles it applies, and whether the preferred turn is shown as a."""

    pair: int
    candidates: Sequence[Candidate]
    chosen_first: bool


async def apply_candidates(
    callers: PrincipleCallers, candidates: Sequence[Candidate], pairs: Sequence[Preference], options: SelectionOptions, seed: int
) -> list[Decision]:
    """Return the decision of every principle on every pair, by pair and principle.

    Raises:
        BudgetSpent, BackendError: the budget is spent, or no endpoint is left.
    """
    asked = list(_plan_calls(candidates, len(pairs), options, seed))
    sides: dict[tuple[int, str], list[Decision]] = {}
    at = 0
    async for answer in answers(callers.judge, (_call(each, pairs[each.pair]) for each in asked)):
        for decision in _read(answer, asked[at], pairs[asked[at].pair]):
            sides.setdefault((decision.pair, decision.principle), []).append(decision)
        at += 1
    return [_both_orders(found) for found in sides.values()]


def judge_candidates(
    candidates: Sequence[Candidate],
    decisions: Sequence[Decision],
    pairs: Sequence[Preference],
    options: SelectionOptions,
    seed: int,
) -> list[LabelTest]:
    """Return the test of every candidate, in their order."""
    by_principle: dict[str, list[Decision]] = {candidate.entry.id: [] for candidate in candidates}
    for decision in decisions:
        by_principle[decision.principle].append(decision)
    conversations = [conversation_of(pair) for pair in pairs]
    rows = [_tested(name, found, conversations, options, seed) for name, found in by_principle.items()]
    tested = _adjusted(rows, options)
    return [_with_interval(row, by_principle[row.principle], conversations, seed) if row.kept else row for row in tested]


def sign_flip_p(signs: Signs, conversations: Sequence[str], resamples: int, seed: int) -> float:
    """Return the share of shuffled labels whose sum of signs is at least the one that was found.

    Args:
        signs: 1 where the preferred turn follows the principle, -1 where the other one does, 0 elsewhere.
        conversations: of each sign; they are turned round together.
        resamples: random shufflings; where the conversations have no more of them, all are tried.
    """
    from scipy.stats import permutation_test

    _, groups = np.unique(np.array(conversations), return_inverse=True)
    sums = np.bincount(groups, weights=signs)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    if len(sums) == 1:  # scipy asks for two observations; a sign alone is turned round in half of the shufflings
        return 0.5 if sums[0] > 0 else 1.0
    outcome = permutation_test(
        (sums,),
        lambda sample, axis: np.sum(sample, axis=axis),
        permutation_type="samples",
        alternative="greater",
        n_resamples=resamples,
        vectorized=True,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(outcome.pvalue)


def _plan_calls(candidates: Sequence[Candidate], pairs: int, options: SelectionOptions, seed: int) -> Iterator[_Asked]:
    chance = random.Random(f"orders {seed}")
    for pair in range(pairs):
        first = chance.random() < 0.5
        for begin in range(0, len(candidates), options.at_once):
            for chosen_first in (first, not first)[: options.orders]:
                yield _Asked(pair, candidates[begin : begin + options.at_once], chosen_first)


def _call(asked: _Asked, pair: Preference) -> Call:
    language = language_of(pair)
    rows = [
        {"id": candidate.entry.id, "definition": candidate.entry.principle(candidate.dimension, language).definition}
        for candidate in asked.candidates
    ]
    turns = {"a": turn_text(pair, asked.chosen_first), "b": turn_text(pair, not asked.chosen_first)}
    payload = {**moment(pair), **turns, "principles": rows}
    number = f"{asked.pair} {rows[0]['id']} {'ab' if asked.chosen_first else 'ba'}"
    return question("apply_principles", number, language, payload, AppliedPrinciples, COLD)


def _read(answer: Answer, asked: _Asked, pair: Preference) -> Iterator[Decision]:
    """Yield a decision for each principle that was asked about; without one usable verdict it is missing."""
    said: dict[str, list[AppliedPrinciple]] = {}
    for verdict in answer.value.verdicts if isinstance(answer.value, AppliedPrinciples) else ():
        said.setdefault(verdict.id, []).append(verdict)
    shown = letters_only(turn_text(pair, True)), letters_only(turn_text(pair, False))
    for candidate in asked.candidates:
        verdicts = said.get(candidate.entry.id, [])
        if problem := answer.error or _problem(verdicts, shown):
            yield Decision(principle=candidate.entry.id, pair=asked.pair, side="missing", problem=problem)
        elif verdicts[0].winner == "tie":
            yield Decision(principle=candidate.entry.id, pair=asked.pair, side="tie")
        else:
            side: Side = "chosen" if (verdicts[0].winner == "a") == asked.chosen_first else "rejected"
            yield Decision(principle=candidate.entry.id, pair=asked.pair, side=side, quote=verdicts[0].quote)


def _problem(verdicts: Sequence[AppliedPrinciple], shown: tuple[str, str]) -> str:
    """Return why the verdicts on one principle cannot be used; an empty string when they can."""
    if not verdicts:
        return "the judge left principles out"
    if len({verdict.winner for verdict in verdicts}) > 1:
        return "the judge contradicts itself"
    quote = letters_only(verdicts[0].quote)
    if verdicts[0].winner != "tie" and (not quote or not any(quote in turn for turn in shown)):
        return "the quote is in neither turn"
    return ""


def _both_orders(found: Sequence[Decision]) -> Decision:
    """Return the decision of both orders: missing if one is, a tie when they disagree."""
    first = found[0]
    if missing := [each for each in found if each.side == "missing"]:
        return missing[0]
    if len({each.side for each in found}) > 1:
        return first.model_copy(update={"side": "tie", "quote": ""})
    return first


def _tested(
    name: str, found: Sequence[Decision], conversations: Sequence[str], options: SelectionOptions, seed: int
) -> LabelTest:
    signs = np.array([SIGNS[each.side] for each in found], dtype=np.int64)
    places = [conversations[each.pair] for each in found]
    decided = [place for place, sign in zip(places, signs, strict=True) if sign]
    enough = len(decided) >= options.least_decided
    return LabelTest(
        principle=name,
        decided=len(decided),
        agreed=int((signs > 0).sum()),
        missing=sum(each.side == "missing" for each in found),
        conversations=len(set(decided)),
        p=sign_flip_p(signs, places, options.resamples, seed) if enough else None,
        q=None,
        reason="" if enough else f"decides {len(decided)} held-out pairs, fewer than {options.least_decided}",
    )


def _adjusted(rows: Sequence[LabelTest], options: SelectionOptions) -> list[LabelTest]:
    """Return the rows with q-values and reasons; which rows are tested does not depend on the labels."""
    from scipy.stats import false_discovery_control

    ps = [row.p for row in rows if row.p is not None]
    adjusted = iter(false_discovery_control(ps) if ps else ())
    return [row if row.p is None else _judged(row, float(next(adjusted)), options.false_discovery) for row in rows]


def _judged(row: LabelTest, q: float, rate: float) -> LabelTest:
    reason = ""
    if q > rate + EXACT:
        share = row.agreed / row.decided
        often = f"shuffled labels do as well too often (q = {q:.2g} > {rate:g})"
        reason = f"agrees with {share:.0%} of {row.decided} decided pairs; {often}"
    return row.model_copy(update={"q": q, "reason": reason})


def _with_interval(row: LabelTest, found: Sequence[Decision], conversations: Sequence[str], seed: int) -> LabelTest:
    decided = [each for each in found if SIGNS[each.side]]
    right = np.array([each.side == "chosen" for each in decided], dtype=float)
    clusters = [conversations[each.pair] for each in decided]
    interval = cluster_bootstrap(lambda rows: float(np.mean(right[rows])), clusters, resamples=500, seed=seed)
    return row.model_copy(update={"agreement": interval})
