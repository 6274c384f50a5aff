"""Name at least three principles for every pair; a pair without a usable answer is missing."""

from collections.abc import Sequence
from typing import NamedTuple

from her.types import Preference, Sampling
from pipelines.principles.answers import NamedPrinciples
from pipelines.principles.pairs import turn_text
from pipelines.principles.questions import PrincipleCallers, answers, language_of, moment, question

NAME_TOKENS = 1200


class Named(NamedTuple):
    """Principles that were named, one text each, and why the answers of other pairs are missing."""

    texts: tuple[str, ...]
    missing: tuple[str, ...]


async def name_principles(callers: PrincipleCallers, pairs: Sequence[Preference], temperature: float, seed: int) -> Named:
    """Ask the teacher about every pair; the texts are in the order of the pairs.

    Raises:
        BudgetSpent, BackendError: the budget is spent, or no endpoint is left.
    """
    sampling = Sampling(temperature=temperature, max_tokens=NAME_TOKENS, seed=seed)
    calls = (
        question(
            "name_principles",
            str(number),
            language_of(pair),
            {**moment(pair), "better": turn_text(pair, True), "worse": turn_text(pair, False)},
            NamedPrinciples,
            sampling,
        )
        for number, pair in enumerate(pairs)
    )
    texts: list[str] = []
    missing: list[str] = []
    async for answer in answers(callers.teacher, calls):
        if isinstance(answer.value, NamedPrinciples):
            texts += [f"{each.name.strip()}: {each.definition.strip()}" for each in answer.value.principles]
        else:
            missing.append(answer.error or "no answer")
    return Named(tuple(texts), tuple(missing))
