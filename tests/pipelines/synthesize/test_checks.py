"""Every rule of the prompts, checked in code after the call (defect D16): a table of what passes and of what is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.format import parse, render
from her.types import CastMember, Part, Scenario, Transcript, Turn
from pipelines.synthesize.checks.knowledge import leaks, sight, visible_before
from pipelines.synthesize.checks.plans import longest_run, plan_problems
from pipelines.synthesize.checks.turns import PROBLEMS, conversation_problems, turn_problems
from tests.teaching import a_scene

SCENE = a_scene()
TRANSCRIPT = SCENE.transcript()
AT = 5  # Iago: [Let me sound unwilling.] Cassio, my lord? No, sure, I cannot think it.
SAID = "Cassio, my lord? No, sure, I cannot think it."


def problems(text: str, at: int = AT) -> set[str]:
    original = SCENE.turns[at]
    written = parse(f"{original.speaker}: {text}", original.speaker, notation="her", turn_id=original.id)
    return {each.name for each in turn_problems(original, written, sight(TRANSCRIPT, at))}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"<role_thinking>Let me sound unwilling</role_thinking>{SAID}", set()),
        (f"<role_action>shrugs</role_action>{SAID}<role_thinking>There, I have said it</role_thinking>", set()),
        (f"<role_thinking>Is he afraid? I cannot tell</role_thinking>{SAID}", set()),
        (f"<role_thinking>Let me sound unwilling {SAID}", {"tags", "speech_lost"}),
        (f"<role_thinking> Let me wait </role_thinking>{SAID}", {"tags"}),
        (f"<system_thinking>I need to portray Iago</system_thinking>{SAID}", {"plan"}),
        (f"<role_thinking>Iago must sound unwilling now</role_thinking>{SAID}", {"thought_person"}),
        (f"<role_thinking>Trying to sound unwilling</role_thinking>{SAID}", {"thought_person"}),
        (f"<role_action>his hand on the gate</role_action>{SAID}", {"action_person"}),
        (f"<role_action>Iago shrugs</role_action>{SAID}", {"action_person"}),
        (f"<role_action>shrugs my shoulders</role_action>{SAID}", {"action_person"}),
        (f"<role_action>looks at her face</role_action>{SAID}", set()),
        (f"He turns and says {SAID}", {"narration", "speech_added"}),
        ("<role_thinking>I wait</role_thinking>No.", {"speech_lost"}),
        (f"{SAID} And yet the handkerchief, the bed, the strawberries, all of it!", {"speech_added"}),
        (f"<role_thinking>{' '.join(['I wonder and I wait.'] * 30)}</role_thinking>{SAID}", {"too_long"}),
        pytest.param(f"<role_thinking>{'and on ' * 30_000}I</role_thinking>{'and on ' * 30_000}", {"too_long"}, id="without end"),
        (f"<role_thinking>我想他信了</role_thinking>{SAID}", {"language"}),
        (f"<role_thinking>I wait\\n\\n\ufffd</role_thinking>{SAID}", {"garbled"}),
        (f"<role_thinking>I see it: Othello secretly wants to believe me</role_thinking>{SAID}", {"mind_reading"}),
        (f"<role_thinking>I guess Othello wants to believe me, he looks so pale</role_thinking>{SAID}", set()),
        (f"<role_thinking>I know it: I saw somebody slip away, he thinks</role_thinking>{SAID}", {"hidden_fact"}),
        (f"<role_thinking>I wonder: go on loving Desdemona in peace, will he</role_thinking>{SAID}", {"hidden_fact"}),
        (f"<role_thinking>No, sure, I cannot think it</role_thinking>{SAID}", {"echo"}),
    ],
)
def test_d16_a_turn_is_held_to_every_rule(text: str, names: set[str]) -> None:
    assert problems(text) == names


def test_the_original_of_every_turn_passes() -> None:
    for at, turn in enumerate(SCENE.turns):
        if turn.speaker != "Environment":
            assert not turn_problems(turn, turn.model_copy(update={"defects": ()}), sight(TRANSCRIPT, at)), turn.raw


def of_patterns(*patterns: str) -> list[Turn]:
    kinds = {"think": "role_thinking", "act": "role_action", "speech": "speech"}
    made = []
    for number, pattern in enumerate(patterns):
        parts = tuple(Part(kind=kinds[step], text=f"{step} of {number} {at}") for at, step in enumerate(pattern.split("-")))
        made.append(Turn(id=str(number), speaker="A", parts=parts))
    return made


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["speech", "think-speech", "speech"], {}),
        (["speech", "speech", "speech"], {"2": {"three_alike"}}),
        (["speech", "think-speech"] * 4, {str(at): {"few_patterns"} for at in (2, 6)}),
        (["speech", "think-speech", "act-speech", "speech-act", "speech-think"] * 2, {}),
    ],
)
def test_d16_a_conversation_is_held_to_variety(patterns: list[str], found: dict[str, set[str]]) -> None:
    turns = of_patterns(*patterns)
    problems = conversation_problems(turns, turns)
    assert {key: {each.name for each in value} - {"opening_repeated"} for key, value in problems.items()} == found


def test_two_thoughts_that_open_alike_are_named() -> None:
    turns = [Turn(id=str(n), speaker="A", parts=(Part(kind="role_thinking", text=f"I must not fail {n}"),)) for n in range(2)]
    assert [each.name for each in conversation_problems(turns, turns)["1"]] == ["opening_repeated"]


def test_turns_that_grow_as_the_conversation_goes_on_are_named() -> None:
    before = [Turn(id=str(n), speaker="A", parts=(Part(kind="speech", text="word " * 20),)) for n in range(9)]
    after = [
        turn if int(turn.id) < 6 else turn.model_copy(update={"parts": (*turn.parts, *turn.parts, *turn.parts)})
        for turn in before
    ]
    creeping = {key for key, found in conversation_problems(before, after).items() if "creeping" in {each.name for each in found}}
    assert creeping == {"6", "7", "8"}


GOOD = (
    "I need to portray Iago as one who would rather not say what he says. Othello has asked about Cassio, and the answer has to "
    "sound like a friend's reluctance: the thought stays silent, the words protest, and the doubt is left to do its work."
)


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        (GOOD, set()),
        (GOOD.replace("Othello has asked", "The user has asked"), {"plan_user"}),
        (GOOD.replace("Iago", "him"), {"plan_nameless"}),
        (GOOD + " My own heart is cold and I hate the Moor.", {"plan_first_person"}),
        ("I need to portray Iago. " + "The weather is to be mentioned, at length and with pleasure. " * 4, {"plan_astray"}),
        (GOOD + f" It ends on “{SAID}”", {"plan_quotes"}),
        ("I need to portray Iago, who thinks of Cassio.", {"plan_short"}),
        (GOOD * 12, {"plan_long"}),
        (GOOD + " The reply goes by way of", {"plan_cut"}),
        (f"# Plan\n{GOOD}", {"plan_tags"}),
        (f"<think>{GOOD}", {"plan_tags"}),
        (GOOD + " 他要慢慢地说。", {"language"}),
        (GOOD + " Michael was there when you wooed my lady, know of your love.", {"hidden_fact", "plan_first_person"}),
    ],
)
def test_d16_a_plan_is_held_to_every_rule(plan: str, names: set[str]) -> None:
    assert {each.name for each in plan_problems(plan, SCENE.turns[AT], sight(TRANSCRIPT, AT), (200, 2400))} == names


COUSINS = (("黛玉", "[他又来了，我偏不理他。] 你来做什么？"), ("宝玉", "我来看看你的病可好了些没有。"))
ASKS = "我来看看你的病可好了些没有。"
PLAN_ZH = (
    "我需要把宝玉演成小心赔话的样子。黛玉刚问他来做什么，语气不善，宝玉先要稳住，再把关心落到她的病上，不提旧事，留她接话的余地。"
)


def test_a_chinese_turn_and_plan_are_held_to_theirs() -> None:
    turns = tuple(
        Turn(id=str(n), speaker=who, parts=parse(text, who, notation="coser").parts) for n, (who, text) in enumerate(COUSINS)
    )
    cast = (CastMember(name="宝玉", motivation="想讨黛玉欢心。"), CastMember(name="黛玉"))
    seen = sight(Transcript(scenario=Scenario(language="zh", setting="潇湘馆。"), cast=cast, turns=turns), 1)

    def found(thought: str) -> list[str]:
        text = f"宝玉: <role_thinking>{thought}</role_thinking>{ASKS}"
        return [each.name for each in turn_problems(turns[1], parse(text, "宝玉", notation="her", turn_id="1"), seen)]

    assert found("我怕她又恼了") == []
    assert found("我 really 怕") == ["language"]
    assert found("宝玉怕她又恼了") == ["thought_person"]
    assert found("我知道了，黛玉其实想要我走") == ["mind_reading"]
    assert not plan_problems(PLAN_ZH, turns[1], seen, (40, 900))
    spoiled = plan_problems(PLAN_ZH + "黛玉心里他又来了，我偏不理他。用户", turns[1], seen, (40, 900))
    assert {each.name for each in spoiled} >= {"plan_user", "hidden_fact"}


def test_nothing_hidden_is_in_sight() -> None:
    """Others' thoughts, others' wants and turns to come are hidden; own thoughts and all that was visible are known."""
    seen = sight(TRANSCRIPT, 4)  # Othello
    assert leaks("He bites, I must feed him slowly", seen)
    assert leaks("doubt his wife without being told to", seen)
    assert leaks("Did Michael Cassio, when you wooed my lady", seen)
    assert not leaks("Nothing, my lord; or if, I know not what", seen)
    assert not leaks("I saw somebody slip away", seen)
    assert not leaks("Othello wants to go on loving Desdemona in peace", seen)
    before = visible_before(SCENE.turns, 4, "Othello")
    assert [turn.speaker for turn in before] == ["Environment", "Iago", "Othello", "Iago"]
    assert "net closes" not in " ".join(turn.text() for turn in before) and "slip away" in before[2].text()


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_the_longest_run_is_the_same_from_both_sides(one: list[str], other: list[str]) -> None:
    assert longest_run(one, other) == longest_run(other, one) <= min(len(one), len(other))
    assert longest_run(one, one) == len(one)


@given(st.text(), st.integers(1, 8))
def test_no_text_breaks_a_check(text: str, at: int) -> None:
    original = SCENE.turns[at]
    written = parse(text, original.speaker, notation="her", turn_id=original.id)
    seen = sight(TRANSCRIPT, at)
    names = {each.name for each in (*turn_problems(original, written, seen), *plan_problems(text, original, seen, (1, 99)))}
    assert names <= PROBLEMS.keys()
    assert render(written.parts, original.speaker) is not None
