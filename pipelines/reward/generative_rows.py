"""Choose and balance critiques, and encode them as the rows of fine-tuning and of reinforcement learning.

What is trained is what a model wrote, byte for byte, and only where it passes the reading of her/judging and says in both orders
what the label says. Nothing is repaired or made up; what is left out is counted by its reason.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from her.judging.judge import VIEWER, Instructions
from her.judging.verdicts import Slot
from her.types import Message, Value
from her.view import line
from pipelines.models.chat_template import ChatTemplate
from pipelines.reward.generative_heads import Head, Reading
from pipelines.reward.labelled_pairs import SIDES, Critique, LabelledPair

IGNORED = -100


class Balance(Value):
    """Shares of the chosen pairs; each order of each pair is trained once, so the order is balanced exactly.

    Args:
        pairs: number of pairs; `ties` the share whose label is a tie, `a_wins` the share of the decided ones that a wins.
        longer_wins: share of the decided pairs whose longer candidate wins.
        mixed: share, among pairs with several decided comparisons, in which both candidates win one.
        first_named: share of decided verdicts that name the candidate shown first.
    """

    pairs: int
    ties: float
    a_wins: float
    longer_wins: float
    mixed: float
    first_named: float


class Twin(NamedTuple):
    """A pair with the text about each of its two sides, and whether its comparisons are mixed (None: fewer than two decided)."""

    pair: LabelledPair
    texts: tuple[str, str]
    mixed: bool | None


def choose_twins(critiques: Iterable[Critique], head: Head) -> tuple[list[Twin], Counter[str]]:
    """Return the pairs both of whose texts can be read and agree with the label, and the others' reasons with their numbers."""
    texts: dict[str, dict[Slot, Critique]] = defaultdict(dict)
    for critique in critiques:
        texts[critique.pair.id][critique.side] = critique
    twins: list[Twin] = []
    left_out: Counter[str] = Counter()
    for sides in texts.values():
        if len(sides) < 2:
            left_out["one side only"] += 1
            continue
        pair = sides["a"].pair
        readings = [head.read(pair, side, sides[side].text) for side in SIDES]
        if why := _unfit(pair, readings, head):
            left_out[why] += 1
        else:
            twins.append(Twin(pair, (sides["a"].text, sides["b"].text), readings[0].mixed))
    return twins, left_out


def balance_twins(twins: Sequence[Twin], *, mixed: float, length_gap: float, seed: int) -> list[Twin]:
    """Return fewer pairs, such that enough are mixed, the longer candidate wins about as often as the shorter, and a as b.

    Pairs of the larger group are dropped by a seeded draw. The sides of a pair are named by chance, so winners are balanced by
    renaming: a pair is turned, which changes nothing that is shown in both orders together.
    """
    chance = random.Random(f"balance {seed}")
    kept = list(twins)
    if mixed:
        several = [twin for twin in kept if twin.mixed is not None]
        most = int(sum(bool(twin.mixed) for twin in several) * (1 - mixed) / mixed)
        kept = _drop(kept, [twin for twin in several if not twin.mixed], most, chance)
    longer = [twin for twin in kept if _longer_wins(twin.pair) is True]
    shorter = [twin for twin in kept if _longer_wins(twin.pair) is False]
    large, small = (longer, shorter) if len(longer) >= len(shorter) else (shorter, longer)
    if small and length_gap < 0.5:
        kept = _drop(kept, large, int(len(small) * (0.5 + length_gap) / (0.5 - length_gap)), chance)
    return kept


def balance_of(twins: Sequence[Twin]) -> Balance:
    """Return the shares; NaN where there is nothing to count."""
    decided = [twin.pair for twin in twins if twin.pair.label in ("a", "b")]
    return Balance(
        pairs=len(twins),
        ties=_share(twin.pair.label == "tie" for twin in twins),
        a_wins=_share(pair.label == "a" for pair in decided),
        longer_wins=_share(longer for pair in decided if (longer := _longer_wins(pair)) is not None),
        mixed=_share(twin.mixed for twin in twins if twin.mixed is not None),
        # Both orders of each pair are rows, and the named candidate stands first in exactly one of them.
        first_named=0.5 if decided else float("nan"),
    )


def sft_rows(
    template: ChatTemplate, head: Head, twins: Sequence[Twin], instructions: Instructions, most_tokens: int
) -> tuple[dict[str, list[Any]], Counter[str]]:
    """Return the columns of the training set: the rows of one pair are neighbours. Only the text is trained, with its end.

    A pair of which one row has more than `most_tokens` tokens is left out whole and counted.
    """
    rows: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    left_out: Counter[str] = Counter()
    for twin in twins:
        encoded = [_encode(template, head, twin, side, instructions) for side in SIDES]
        if max(len(ids) for ids, _ in encoded) > most_tokens:
            left_out["too long"] += 1
            continue
        for ids, prompt in encoded:
            rows["input_ids"].append(ids)
            rows["labels"].append([IGNORED] * prompt + ids[prompt:])
    return rows, left_out


def grpo_rows(head: Head, pairs: Sequence[LabelledPair], instructions: Instructions) -> list[dict[str, Any]]:
    """Return the rows of reinforcement learning: the two prompts of a pair are neighbours."""
    return [
        {"prompt": _chat(head.messages(pair, side, instructions)), "place": place, "side": side}
        for place, pair in enumerate(pairs)
        for side in SIDES
    ]


def _chat(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _encode(template: ChatTemplate, head: Head, twin: Twin, side: Slot, instructions: Instructions) -> tuple[list[int], int]:
    """Return the ids of a whole chat and how many of them are the prompt."""
    prompt = head.messages(twin.pair, side, instructions)
    answer = Message(role="assistant", content=twin.texts[SIDES.index(side)])
    asked, whole = template.ids(prompt, ask=True), template.ids((*prompt, answer), ask=False)
    if whole[: len(asked)] != asked:
        raise ValueError("the chat template does not continue its own prompt; use model.template=chatml")
    return whole, len(asked)


def _unfit(pair: LabelledPair, readings: Sequence[Reading], head: Head) -> str:
    if any(reading.value is None for reading in readings):
        return "cannot be read"
    first, second = (reading.value for reading in readings)
    return "" if head.agrees(pair, (first, second)) else "other than the label"


def _longer_wins(pair: LabelledPair) -> bool | None:
    """Return whether the longer candidate wins; None for ties and equal lengths."""
    a, b = (len(line(turn, VIEWER)) for turn in (pair.a, pair.b))
    return None if a == b or pair.label not in ("a", "b") else (a > b) == (pair.label == "a")


def _drop(twins: Sequence[Twin], among: Sequence[Twin], most: int, chance: random.Random) -> list[Twin]:
    """Return the pairs without those of `among` beyond `most`."""
    if len(among) <= most:
        return list(twins)
    kept = {twin.pair.id for twin in chance.sample(list(among), most)}
    dropped = {twin.pair.id for twin in among} - kept
    return [twin for twin in twins if twin.pair.id not in dropped]


def _share(values: Iterable[bool | None]) -> float:
    counted = [bool(value) for value in values]
    return sum(counted) / len(counted) if counted else float("nan")
