"""Checks of a turn among its neighbours: patterns, openings and growth."""

import pytest

from her.types import Part, Turn
from pipelines.synthesize.checks.conversations import conversation_problems


def of_patterns(*patterns: str) -> list[Turn]:
    kinds = {"think": "role_thinking", "act": "role_action", "speech": "speech"}
    turns = []
    for number, pattern in enumerate(patterns):
        parts = tuple(Part(kind=kinds[step], text=f"{step} of {number} {at}") for at, step in enumerate(pattern.split("-")))
        turns.append(Turn(id=str(number), speaker="A", parts=parts))
    return turns


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["speech", "think-speech", "speech"], {}),
        (["speech", "speech", "speech"], {"2": {"three_alike"}}),
        (["speech", "think-speech"] * 4, {str(at): {"few_patterns"} for at in (2, 6)}),
        (["speech", "think-speech", "act-speech", "speech-act", "speech-think"] * 2, {}),
    ],
)
def test_a_conversation_is_held_to_variety(patterns: list[str], found: dict[str, set[str]]) -> None:
    turns = of_patterns(*patterns)
    before = [turn.model_copy(update={"parts": (*turn.parts, Part(kind="speech", text="Before."))}) for turn in turns]
    problems = conversation_problems(before, turns)
    assert {key: {each.name for each in value} - {"opening_repeated"} for key, value in problems.items()} == found


def test_an_answer_that_changes_nothing_is_named_and_one_changed_word_is_enough() -> None:
    turns = of_patterns("speech", "think-speech", "act-speech", "speech-act")
    dotted = [
        turn.model_copy(update={"parts": (*turn.parts[:-1], Part(kind="speech", text=turn.parts[-1].text + "."))})
        for turn in turns
    ]
    assert all("lazy" in {each.name for each in found} for found in conversation_problems(turns, dotted).values())
    other = turns[1].model_copy(update={"parts": (Part(kind="role_thinking", text="I wonder"), *turns[1].parts[1:])})
    assert not conversation_problems(turns, [turns[0], other, *turns[2:]])


def test_a_thought_may_stand_in_one_turn_only() -> None:
    before = of_patterns("think-speech", "act-speech", "think-speech")
    said = Part(kind="role_thinking", text="I shall never see that house again.")
    after = [turn.model_copy(update={"parts": (said, *turn.parts)}) if turn.id != "1" else turn for turn in before]
    assert {key: [each.name for each in found] for key, found in conversation_problems(before, after).items()} == {
        "2": ["repeated"]
    }


def test_two_thoughts_that_open_alike_are_named() -> None:
    turns = [Turn(id=str(n), speaker="A", parts=(Part(kind="role_thinking", text=f"I must not fail {n}"),)) for n in range(2)]
    assert [each.name for each in conversation_problems(turns, turns)["1"]] == ["opening_repeated"]


def test_turns_that_grow_in_the_course_of_a_conversation_are_named() -> None:
    before = [Turn(id=str(n), speaker="A", parts=(Part(kind="speech", text="word " * 20),)) for n in range(9)]
    after = [
        turn if int(turn.id) < 6 else turn.model_copy(update={"parts": (*turn.parts, *turn.parts, *turn.parts)})
        for turn in before
    ]
    creeping = {key for key, found in conversation_problems(before, after).items() if "creeping" in {each.name for each in found}}
    assert creeping == {"6", "7", "8"}
