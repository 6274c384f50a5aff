"""Ask one design of a judge about labelled pairs, scored turns and attacks, and make its report card."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from her.inference.call import Answer, Call
from her.inference.caller import Caller
from her.judging.adversarial import AdversarialPair, pass_rates
from her.judging.judge import Instructions, Judged, PairJudge, PairQuestion
from her.judging.labelled import LabelledSet, LabelledTurn, judged_pair
from her.judging.pointwise import TEMPERATURE, PointJudge
from her.judging.principles import library_hash, load_dimensions, load_principles
from her.judging.report_card import CardSettings, JudgeCost, JudgedPair, ReportCard, ScoredTurn, report_card
from her.judging.reward_models import reward_messages, sigmoid
from her.judging.soft import CHOICES
from her.judging.verdicts import join_orders
from her.types import Language, Message, Outcome, Principle, Turn, Verdict
from pipelines.judge_check.options import JudgeCheckOptions, JudgeOptions

LANGUAGES: tuple[Language, ...] = ("en", "zh")
ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")
SCALAR = "score_turn"
"""Stage of the calls of a scalar reward model."""
Tick = Callable[[str, int, int], object]


class Orders(NamedTuple):
    """Verdicts of both orders of one question; a pointwise judge has one verdict, without an order."""

    forth: Verdict | None
    back: Verdict | None


class CountedAsk:
    """Asks a caller and counts what the answers took, recorded ones included: a resumed check costs what it costs in all."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.calls = self.prompt = self.completion = 0

    async def __call__(self, call: Call) -> Answer:
        """Return the answer to a call."""
        answer = await self._caller.ask(call)
        self.calls += 1
        if answer.entry is not None:
            self.prompt += answer.entry.prompt_tokens
            self.completion += answer.entry.completion_tokens
        return answer

    def cost(self) -> JudgeCost:
        """Return calls, tokens and money."""
        money = self._caller.counters.prices.cost(self.prompt, self.completion)
        return JudgeCost(calls=self.calls, prompt_tokens=self.prompt, completion_tokens=self.completion, money=money)


class DesignJudge:
    """A judge of one design: both orders of a pair, or the difference of two scores."""

    def __init__(self, design: JudgeOptions, ask: CountedAsk, model: str) -> None:
        self.name, self._ask, self._form = model, ask, design.form
        principles, library = design_principles(design)
        words: dict[str, Any] = {
            "principles": principles,
            "library": library,
            "instructions": _instructions(design),
            "choices": CHOICES if design.soft else 0,
        }
        self._pair = PairJudge(ask, name=model, model=model, **words)
        self._point = PointJudge(ask, samples=design.samples, **words)

    async def orders(self, question: PairQuestion) -> Orders:
        """Return the verdicts on a question."""
        if self._form == "pairwise":
            forth, back = await asyncio.gather(self._pair.judge(question, "a"), self._pair.judge(question, "b"))
            return Orders(forth.verdict, back.verdict)
        sides = (("a", question.a), ("b", question.b))
        names = [f"{question.id}:{side}" for side, _ in sides]
        first, second = await asyncio.gather(
            *(self.score(name, question.prompt, turn, question.language) for name, (_, turn) in zip(names, sides, strict=True))
        )
        verdict = None if first is None or second is None else self._from_scores(first, second)
        return Orders(verdict, verdict)

    async def score(self, name: str, prompt: Sequence[Message], turn: Turn, language: Language) -> float | None:
        """Return the score of one turn; None when it is missing."""
        if self._form == "pointwise":
            return (await self._point.score(name, prompt, turn, language)).score
        answer = await self._ask(Call(name, SCALAR, reward_messages(prompt, turn)))
        return None if answer.error else float(answer.text.removeprefix("Score: "))

    def _from_scores(self, first: float, second: float) -> Verdict:
        winner: Outcome = "tie" if first == second else "a" if first > second else "b"
        points = TEMPERATURE if self._form == "pointwise" else 1.0  # differences of a scalar model are log odds
        return Verdict(winner=winner, judge=self.name, model=self.name, probability=sigmoid((first - second) / points))


def design_principles(design: JudgeOptions) -> tuple[dict[Language, Sequence[Principle]], str]:
    """Return the principles that a design shows, by language, and the hash of the library."""
    if design.principles == "own":
        return {}, ""
    if design.principles == "by_case":
        return {language: load_principles(language, design.library) for language in LANGUAGES}, library_hash(design.library)
    criteria: dict[Language, Sequence[Principle]] = {language: _criteria(design, language) for language in LANGUAGES}
    return criteria, library_hash(design.library)


def _instructions(design: JudgeOptions) -> Instructions:
    if design.trained:
        return "short"
    if design.principles == "general":
        return "general"
    return "full" if design.reasoning else "bare"


def _criteria(design: JudgeOptions, language: Language) -> list[Principle]:
    """Return one criterion for each dimension: its name, and the names of its principles."""
    joint = "、" if language == "zh" else ", "
    return [
        Principle(
            id=dimension.id,
            name=dimension.name(language),
            dimension=dimension.id,
            polarity="positive",
            level="turn",
            definition=joint.join((entry.zh if language == "zh" else entry.en).name for entry in dimension.principles),
            language=language,
        )
        for dimension in load_dimensions(design.library)
    ]


async def check_design(
    design: JudgeOptions,
    options: JudgeCheckOptions,
    labelled: LabelledSet,
    attacks: Sequence[AdversarialPair],
    caller: Caller,
    tick: Tick,
) -> ReportCard:
    """Judge everything with one design and return its report card."""
    ask = CountedAsk(caller)
    judge = DesignJudge(design, ask, caller.model)
    at_once = max(8, 2 * options.calls.in_flight * max(1, len(options.endpoints)))
    pairs: list[JudgedPair] = []
    async for pair, orders in in_order(lambda each: judge.orders(each.question), labelled.pairs, at_once):
        pairs.append(judged_pair(pair, orders.forth, orders.back))
        tick(design.title, len(pairs), len(labelled.pairs))
    turns = () if design.form == "pairwise" else labelled.turns
    scored = [
        _scored(turn, score)
        async for turn, score in in_order(
            lambda each: judge.score(each.id, each.prompt, each.turn, each.language), turns, at_once
        )
    ]
    found = [
        (pair.kind, Judged(pair.question, join_orders(orders.forth, orders.back)))
        async for pair, orders in in_order(lambda each: judge.orders(each.question), attacks, at_once)
    ]
    settings = CardSettings(
        name=design.title,
        judge=(caller.model, caller.model),
        family=options.family,
        adversarial=pass_rates(found),
        cost=ask.cost(),
        resamples=options.resamples,
        seed=options.seed,
    )
    return report_card(pairs, settings, scored)


def _scored(turn: LabelledTurn, score: float | None) -> ScoredTurn:
    given = None if score is None or math.isnan(score) else score
    return ScoredTurn(turn.id, turn.conversation, given, turn.score, turn.language, turn.dimension)


async def in_order(
    ask: Callable[[ItemT], Awaitable[FoundT]], items: Iterable[ItemT], at_once: int
) -> AsyncIterator[tuple[ItemT, FoundT]]:
    """Yield each item with what was found for it, in order, with `at_once` of them in flight; errors end it."""
    waiting: list[tuple[ItemT, asyncio.Task[FoundT]]] = []
    try:
        for item in items:
            waiting.append((item, asyncio.ensure_future(ask(item))))
            if len(waiting) >= at_once:
                first, task = waiting.pop(0)
                yield first, await task
        while waiting:
            first, task = waiting.pop(0)
            yield first, await task
    finally:
        for _, task in waiting:
            task.cancel()
