"""pipelines/judge_check/judging.py: one design's verdicts become its card; what each design is asked; scored turns."""

import math
import re
from typing import Any

import pytest

from her import config
from her.inference.caller import Caller
from her.judging.labelled import LabelledSet, LabelledTurn
from her.judging.report_card import ReportCard
from her.judging.reward_models import app
from pipelines.judge_check.__main__ import attacks_on, load_labels, open_endpoints
from pipelines.judge_check.judging import check_design, design_principles
from pipelines.judge_check.options import JudgeCheckOptions
from pipelines.judge_check.scripted_judge import ScriptedJudge
from tests.backends.test_reward_model import Letters, serving
from tests.judging.test_judge import QUICK
from tests.servers import ModelServer, Script

SMALL = ("input.planted=40", "attacked=2", "resamples=20", "scripted.noise=0.01", "scripted.unreadable=0")


def options(*words: str) -> JudgeCheckOptions:
    return config.load(JudgeCheckOptions, [*SMALL, *words])[0]


async def card(settings: JudgeCheckOptions, labelled: LabelledSet | None = None, endpoint: Any = None) -> ReportCard:
    found = labelled or load_labels(settings)
    attacks = attacks_on(found.pairs, settings)
    async with Caller([endpoint or ScriptedJudge(settings.scripted)], None, QUICK) as caller:
        return await check_design(settings.judge, settings, found, attacks, caller, lambda *_: None)


@pytest.mark.whole
async def test_a_fair_scripted_judge_agrees_with_every_label() -> None:
    found = await card(options("scripted.slot=0", "scripted.length=0"))
    assert found.agreement.value == 1 and found.swap_consistency.value == 1 and found.first_slot.value == 0.5
    assert set(found.by_dimension) == {"layers", "details_description", "dialogue_interaction", "character_development"}
    assert set(found.by_language) == {"en", "zh"} and len(found.adversarial) == 12 and found.missing.value == 0
    assert found.people is not None and found.ceiling is not None and found.people.value > found.ceiling.value
    assert found.cost is not None and found.cost.calls >= 80 and found.cost.prompt_tokens > 10_000


@pytest.mark.whole
async def test_planted_biases_are_on_the_card() -> None:
    found = await card(options("scripted.slot=100", "attacked=0"))
    assert found.first_slot.value == 1 and found.swap_consistency.value == 0 and found.tie_rate.value == 1
    assert found.adversarial == {}


@pytest.mark.whole
async def test_a_pointwise_judge_knows_no_order_and_gives_probabilities() -> None:
    found = await card(options("judge.form=pointwise", "scripted.slot=100", "scripted.length=0", "attacked=0"))
    assert found.agreement.value > 0.95 and math.isnan(found.first_slot.value) and math.isnan(found.swap_consistency.value)
    assert found.calibration and found.calibration_error < 0.4


@pytest.mark.whole
@pytest.mark.parametrize(
    ("words", "holds", "lacks"),
    [
        ((), "===Principles===", "===How to Answer==="),
        (("judge.reasoning=false",), "===How to Answer===", "===Criteria==="),
        (("judge.reasoning=false", "judge.principles=general"), "===Criteria===", "===Principles==="),
        (("judge.principles=own",), "===How to Judge===", "===Principles==="),
        (("judge.principles=own", "judge.trained=true"), "Compare turns A and B.", "===How to Judge==="),
    ],
    ids=["by case", "without reasoning", "general", "own", "trained"],
)
async def test_each_design_asks_in_its_own_words(words: tuple[str, ...], holds: str, lacks: str) -> None:
    settings = options("input.limit=1", "attacked=0", *words)
    labelled = load_labels(settings)
    english = labelled._replace(
        pairs=tuple(pair._replace(question=pair.question._replace(language="en")) for pair in labelled.pairs)
    )
    with ModelServer(Script(text="Verdict: A")) as server:
        await card(settings, english, f"openai:{server.url}#test-her")
    systems = [chat["messages"][0]["content"] for chat in server.chats]
    assert len(systems) == 2 and all(holds in system and lacks not in system for system in systems)


def test_general_criteria_are_one_for_each_dimension() -> None:
    criteria, _ = design_principles(options("judge.reasoning=false", "judge.principles=general").judge)
    assert len(criteria["en"]) == 13 and re.search("[一-鿿]", criteria["zh"][0].name)
    assert design_principles(options("judge.principles=own").judge) == ({}, "")


@pytest.mark.whole
async def test_scored_turns_are_scored_by_a_pointwise_judge_only() -> None:
    pairs = load_labels(options()).pairs
    turns = tuple(
        LabelledTurn(f"{pair.question.id} {side}", pair.question.prompt, turn, float(pair.label == side), pair.conversation)
        for pair in pairs
        for side, turn in (("a", pair.question.a), ("b", pair.question.b))
    )
    point = await card(options("judge.form=pointwise", "attacked=0"), LabelledSet((), turns))
    assert (point.pairs, point.turns) == (0, 80) and point.correlation["all"].value > 0.3


@pytest.mark.whole
async def test_a_scalar_reward_model_is_checked_by_its_scores() -> None:
    async with serving(app(Letters())) as address:
        settings = options("judge.form=scalar", f'endpoints=["{address}#letters"]')
        labelled = load_labels(settings)
        attacks = attacks_on(labelled.pairs, settings)
        (backend,) = open_endpoints(settings)
        async with Caller([backend], None, QUICK) as caller:
            found = await check_design(settings.judge, settings, labelled, attacks, caller, lambda *_: None)
        await backend.close()  # type: ignore[union-attr]
    assert found.judge == "letters" and found.missing.value == 0 and found.verbosity.value > 1
    assert (
        math.isnan(found.first_slot.value)
        and found.adversarial["twice_as_long"].value == 0
        and found.adversarial["colon"].value == 1
    )
