"""pipelines/principles/selection.py: the judge's order, quotes and gaps; the test keeps true principles and few false ones."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from her.errors import BackendError
from pipelines.principles.distilling import Candidate
from pipelines.principles.options import SelectionOptions
from pipelines.principles.questions import PrincipleCallers
from pipelines.principles.selection import Decision, Side, apply_candidates, judge_candidates, sign_flip_p
from tests.pipelines.principles.small import candidate, options, pair
from tests.teaching import Spoil, answering, teaching

PAIRS = [pair(f"By my sword. Yes, {number}.", "Yes, Tom.", f"c{number}") for number in range(12)]
PAIRS += [pair("No, Tom.", f"By my sword. No, {number}.", f"c{number}") for number in range(4)]
OATH, OTHER = candidate("oath"), candidate("other", "Nobody knows what this means.")


async def applied(spoil: Spoil | None = None, rules: Sequence[Candidate] = (OATH, OTHER), **changes: Any) -> list[Decision]:
    with teaching(spoil) as server:
        async with PrincipleCallers(options(server.spec), None) as callers:
            found = await apply_candidates(callers, rules, PAIRS, SelectionOptions(**changes), seed=5)
            asked = server.questions("apply_principles")
    if changes.get("orders") != 2:
        first = ["sword" in each["a"] for each in asked]
        assert 0.2 < sum(first) / len(first) < 0.8  # no side is always shown first
    return found


def sides(found: Sequence[Decision], name: str) -> list[str]:
    return [each.side for each in found if each.principle == name]


@pytest.mark.parametrize("orders", [1, 2])
async def test_every_principle_is_applied_to_every_pair(orders: int) -> None:
    found = await applied(orders=orders, at_once=1)
    assert sides(found, "oath") == ["chosen"] * 12 + ["rejected"] * 4
    assert sides(found, "other") == ["tie"] * 16
    assert {each.quote for each in found if each.principle == "oath"} == {"By my sword"}


async def test_a_judge_that_likes_the_first_turn_says_nothing() -> None:
    def first(payload: dict[str, Any], answer: Any, count: int) -> Any:
        return {"verdicts": [{"id": row["id"], "winner": "a", "quote": payload["a"][-6:]} for row in payload["principles"]]}

    both = await applied(answering("apply_principles", first), orders=2)
    assert set(sides(both, "oath")) == {"tie"}
    once = await applied(answering("apply_principles", first))
    tested = judge_candidates([OATH], [each for each in once if each.principle == "oath"], PAIRS, SelectionOptions(), 0)
    assert not tested[0].kept


@pytest.mark.parametrize(
    "verdicts",
    [
        [],
        [{"id": "oath", "winner": "a", "quote": ""}],
        [{"id": "oath", "winner": "a", "quote": "words of nobody"}],
        [{"id": "oath", "winner": "a", "quote": "?!"}],
        [{"id": "oath", "winner": "a", "quote": "sword"}, {"id": "oath", "winner": "b", "quote": "sword"}],
        [{"id": "unknown", "winner": "a", "quote": "sword"}],
        [{"id": "oath", "winner": "both", "quote": "sword"}],
        "As prose: a.",
    ],
)
async def test_what_cannot_be_used_is_missing_and_counts_for_nobody(verdicts: Any) -> None:
    answer = verdicts if isinstance(verdicts, str) else {"verdicts": verdicts}
    found = await applied(answering("apply_principles", lambda payload, valid, count: answer), rules=[OATH])
    assert sides(found, "oath") == ["missing"] * 16
    (tested,) = judge_candidates([OATH], found, PAIRS, SelectionOptions(), 0)
    assert (tested.missing, tested.decided, tested.p) == (16, 0, None)
    assert not tested.kept and "decides 0 held-out pairs" in tested.reason


@pytest.mark.whole
async def test_a_dead_judge_ends_the_run() -> None:
    with teaching() as server:
        spec = server.spec
    async with PrincipleCallers(options(spec, calls={"retries": 9, "patience": 0.2}), None) as callers:
        with pytest.raises(BackendError):
            await apply_candidates(callers, [OATH], PAIRS, SelectionOptions(), 0)


def test_the_sign_flip_test_is_exact_where_it_can_be() -> None:
    assert sign_flip_p(np.ones(4, int), list("abcd"), 9999, 0) == pytest.approx(1 / 16)
    assert sign_flip_p(np.array([1, 1, 1, -1]), list("abcd"), 9999, 0) == pytest.approx(5 / 16)
    assert sign_flip_p(np.ones(40, int), ["one"] * 40, 9999, 0) == 0.5  # one conversation says as much as one pair
    assert sign_flip_p(np.zeros(4, int), list("abcd"), 9999, 0) == 1.0


def decisions(name: str, right: float, chance: random.Random, pairs: int = 120) -> list[Decision]:
    return [Decision(principle=name, pair=number, side=_side(right, chance)) for number in range(pairs)]


def _side(right: float, chance: random.Random) -> Side:
    if chance.random() < 0.4:
        return "tie"
    return "chosen" if chance.random() < right else "rejected"


@pytest.mark.whole
def test_true_principles_are_kept_and_at_most_one_tenth_of_the_kept_is_false() -> None:
    settings = SelectionOptions(resamples=499)
    pairs = [pair("Yes.", "No.", f"c{number // 3}") for number in range(120)]
    true, noise = [candidate(f"true-{number}") for number in range(6)], [candidate(f"noise-{number}") for number in range(18)]
    found = false = 0
    for seed in range(5):
        chance = random.Random(seed)
        rows = [row for each in true for row in decisions(each.entry.id, 0.75, chance)]
        rows += [row for each in noise for row in decisions(each.entry.id, 0.5, chance)]
        kept = [row.principle for row in judge_candidates([*true, *noise], rows, pairs, settings, seed) if row.kept]
        found += sum(name.startswith("true") for name in kept)
        false += sum(name.startswith("noise") for name in kept)
    assert found >= 28 and false <= 0.1 * (found + false)


def test_pairs_of_a_few_conversations_do_not_make_noise_significant() -> None:
    """A trait that all turns of a conversation share agrees with 30 labels of one taste at once; three facts, not thirty."""
    pairs = [pair("Yes.", "No.", f"c{number // 10}") for number in range(30)]
    rows = [Decision(principle="oath", pair=number, side="chosen") for number in range(30)]
    (tested,) = judge_candidates([OATH], rows, pairs, SelectionOptions(), 0)
    assert tested.agreed == 30 and tested.p == pytest.approx(1 / 8) and not tested.kept
    assert "q = " in tested.reason


def test_a_principle_that_is_against_the_label_is_rejected() -> None:
    rows = [Decision(principle="oath", pair=number, side="rejected") for number in range(12)]
    (tested,) = judge_candidates([OATH], rows, PAIRS, SelectionOptions(), 0)
    assert not tested.kept and tested.p == 1.0 and judge_candidates([], [], PAIRS, SelectionOptions(), 0) == []
