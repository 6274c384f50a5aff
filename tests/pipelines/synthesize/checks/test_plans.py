"""Checks of a plan: a table of plans, each with the names of its problems (none for a valid one)."""

import pytest

from her.format import parse
from her.types import CastMember, Scenario, Transcript, Turn
from pipelines.synthesize.checks.knowledge import sight
from pipelines.synthesize.checks.plans import plan_problems
from tests.teaching import a_scene

SCENE = a_scene()
TRANSCRIPT = SCENE.transcript()
AT = 5  # Iago: [Let me sound unwilling.] Cassio, my lord? No, sure, I cannot think it.
SAID = "Cassio, my lord? No, sure, I cannot think it."
GOOD = (
    "I need to portray Iago as one who would rather not say what he says. Othello has asked about Cassio, and the answer has to "
    "sound like a friend's reluctance: the thought stays silent, the words protest, and the doubt is left to do its work."
)


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        (GOOD, set()),
        (GOOD.replace("Othello has asked", "The user has asked"), {"plan_user", "task_talk"}),
        (GOOD.replace("Iago", "him"), {"plan_nameless"}),
        (
            "My heart is cold and Iago is my name. I hate the Moor, who took from me what was mine. "
            "Cassio has it now, and "
            "nobody shall keep me from speaking of it to him as a friend would, with a cold face and a warm hand.",
            {"plan_first_person"},
        ),
        (GOOD + f" It ends on “{SAID}”", {"plan_quotes"}),
        ("I need to portray Iago, who thinks of Cassio.", {"plan_short"}),
        (GOOD * 12, {"plan_long", "repeated"}),
        (GOOD + " The reply goes by way of", {"plan_cut"}),
        (f"# Plan\n{GOOD}", {"markdown"}),
        (f"<think>{GOOD}", {"plan_tags"}),
        (GOOD + " 他要慢慢地说。", {"language"}),
        (GOOD + " Michael was there when you wooed my lady, know of your love.", {"hidden_fact"}),
    ],
)
def test_a_plan_is_held_to_every_rule(plan: str, names: set[str]) -> None:
    assert {each.name for each in plan_problems(plan, SCENE.turns[AT], sight(TRANSCRIPT, AT), (200, 2400))} == names


PLAN_ZH = (
    "我需要把宝玉演成小心赔话的样子。黛玉刚问他来做什么，语气不善，宝玉先要稳住，再把关心落到她的病上，不提旧事，留她接话的余地。"
)
COUSINS = (("黛玉", "[他又来了，我偏不理他。] 你来做什么？"), ("宝玉", "我来看看你的病可好了些没有。"))


def test_a_chinese_plan_is_held_to_every_rule() -> None:
    turns = tuple(
        Turn(id=str(n), speaker=who, parts=parse(text, who, notation="coser").parts) for n, (who, text) in enumerate(COUSINS)
    )
    cast = (CastMember(name="宝玉", motivation="想讨黛玉欢心。"), CastMember(name="黛玉"))
    seen = sight(Transcript(scenario=Scenario(language="zh", setting="潇湘馆。"), cast=cast, turns=turns), 1)
    assert not plan_problems(PLAN_ZH, turns[1], seen, (40, 900))
    spoiled = plan_problems(PLAN_ZH + "黛玉心里他又来了，我偏不理他。用户", turns[1], seen, (40, 900))
    assert {each.name for each in spoiled} >= {"plan_user", "hidden_fact"}
