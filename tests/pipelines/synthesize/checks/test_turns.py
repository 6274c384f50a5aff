"""Checks of one turn: a table of turns, each with the names of its problems (none for a valid one)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her.format import parse, render
from her.types import CastMember, Scenario, Transcript, Turn
from pipelines.synthesize.checks.knowledge import sight
from pipelines.synthesize.checks.plans import plan_problems
from pipelines.synthesize.checks.problems import PROBLEMS
from pipelines.synthesize.checks.turns import turn_problems
from tests.teaching import a_scene

SCENE = a_scene()
TRANSCRIPT = SCENE.transcript()
AT = 5  # Iago: [Let me sound unwilling.] Cassio, my lord? No, sure, I cannot think it.
SAID = "Cassio, my lord? No, sure, I cannot think it."
SEEN = {at: sight(TRANSCRIPT, at) for at in range(1, len(SCENE.turns))}


KEPT = "<role_thinking>Let me sound unwilling</role_thinking>"


def problems(text: str, at: int = AT) -> set[str]:
    original = SCENE.turns[at]
    if "unwilling" not in text:  # the thought of the original stays, whatever is tested beside it
        text = text + KEPT if text.startswith("<role_thinking>") else KEPT + text
    written = parse(f"{original.speaker}: {text}", original.speaker, notation="her", turn_id=original.id)
    return {each.name for each in turn_problems(original, written, SEEN[at])}


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
        (f"<role_thinking>{' '.join(['I wonder and I wait.'] * 30)}</role_thinking>{SAID}", {"too_long", "repeated"}),
        pytest.param(
            f"<role_thinking>{'and on ' * 30_000}I</role_thinking>{'and on ' * 30_000}", {"too_long", "tags"}, id="without end"
        ),
        (f"<role_thinking>我想他信了</role_thinking>{SAID}", {"language"}),
        (f"<role_thinking>I wait\\n\\n\ufffd</role_thinking>{SAID}", {"garbled"}),
        (f"<role_thinking>I see it: Othello secretly wants to believe me</role_thinking>{SAID}", {"mind_reading"}),
        (f"<role_thinking>I guess Othello wants to believe me, he looks so pale</role_thinking>{SAID}", set()),
        (
            f"<role_thinking>I know it: I saw somebody slip away, he thinks</role_thinking>{SAID}",
            {"hidden_fact", "thought_person"},
        ),
        (f"<role_thinking>I wonder: go on loving Desdemona in peace, will he</role_thinking>{SAID}", {"hidden_fact"}),
        (f"<role_thinking>No, sure, I cannot think it</role_thinking>{SAID}", {"echo"}),
    ],
)
def test_a_turn_is_held_to_every_rule(text: str, names: set[str]) -> None:
    assert problems(text) == names


def test_the_original_of_every_turn_passes() -> None:
    for at, turn in enumerate(SCENE.turns):
        if turn.speaker != "Environment":
            assert not turn_problems(turn, turn.model_copy(update={"defects": ()}), SEEN[at]), turn.raw


COUSINS = (("黛玉", "[他又来了，我偏不理他。] 你来做什么？"), ("宝玉", "我来看看你的病可好了些没有。"))
ASKS = "我来看看你的病可好了些没有。"


def test_a_chinese_turn_is_held_to_every_rule() -> None:
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


@settings(max_examples=40)
@given(st.text(max_size=200), st.integers(1, 8))
def test_no_text_breaks_a_check(text: str, at: int) -> None:
    original = SCENE.turns[at]
    written = parse(text, original.speaker, notation="her", turn_id=original.id)
    seen = SEEN[at]
    names = {each.name for each in (*turn_problems(original, written, seen), *plan_problems(text, original, seen, (1, 99)))}
    assert names <= PROBLEMS.keys()
    assert render(written.parts, original.speaker) is not None
