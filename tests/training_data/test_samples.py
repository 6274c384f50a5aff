"""her/training_data/samples.py: one sample a turn, the plan in targets only, the playground's prompt."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her import view
from her.errors import InputError
from her.format import merged, parse
from her.kinds import KINDS, Kind
from her.training_data import samples
from her.training_data.samples import Dropped
from her.types import ENVIRONMENT, CastMember, Message, Part, Sample, Scenario, Transcript, Turn

NAMES = ["Mara", "Tom", "阿蘅"]
KIND = st.sampled_from(KINDS)
TEXT = st.text(st.sampled_from("ab .\n:(（[<&*`灯Tom"), max_size=12)
PARTS = st.lists(st.builds(Part, kind=KIND, text=TEXT), max_size=4).map(tuple)
TURNS = st.lists(st.builds(Turn, speaker=st.sampled_from([*NAMES, ENVIRONMENT]), parts=PARTS), max_size=6).map(tuple)


def turn(name: str, *parts: tuple[Kind, str], id: str = "") -> Turn:
    made = Turn(speaker=name, parts=tuple(Part(kind=kind, text=text) for kind, text in parts))
    return made.model_copy(update={"id": id}) if id else made


def planned(name: str, text: str, id: str = "") -> Turn:
    """A whole turn of all four kinds."""
    kinds: Any = [("system_thinking", f"{name} must {text}"), ("role_thinking", f"I {text}"), ("role_action", "nods")]
    return turn(name, *kinds, ("speech", f"{text}!"), id=id)


def scene(*turns: Turn, language: Any = "en") -> Transcript:
    cast = tuple(CastMember(name=name, profile=f"{name}, a keeper.", motivation="To stay awake.") for name in NAMES)
    setting = Scenario(id="s", title="The lamp", language=language, source="The Lamp", setting="Night at the lighthouse.")
    return Transcript(id="t", scenario=setting, cast=cast, turns=turns)


def made(transcript: Transcript, **options: Any) -> tuple[list[Sample], list[Dropped]]:
    rows = list(samples.samples(transcript, **options))
    return [row for row in rows if isinstance(row, Sample)], [row for row in rows if isinstance(row, Dropped)]


TALK = scene(
    turn(ENVIRONMENT, ("speech", "Rain.")),
    planned("Mara", "wait"),
    planned("Tom", "climb"),
    planned("Tom", "call"),
    planned("阿蘅", "听雨"),
    planned("Mara", "listen"),
)


@given(turns=TURNS, language=st.sampled_from(["en", "zh"]))
@settings(max_examples=40)
def test_the_prompt_is_the_playgrounds_byte_for_byte(turns: tuple[Turn, ...], language: str) -> None:
    transcript = scene(*turns, language=language)
    for sample in made(transcript, plans=False)[0]:
        index = next(index for index, turn in enumerate(turns) if turn.id == sample.turn)
        so_far = transcript.model_copy(update={"turns": turns[:index]})
        assert sample.messages[:-1] == view.messages(so_far, sample.speaker)
        assert sample.messages[:-1] == view.prompt(so_far, sample.speaker, 10**9, lambda messages: 0).messages


@given(turns=TURNS)
@settings(max_examples=40)
def test_every_turn_is_a_sample_or_a_reason(turns: tuple[Turn, ...]) -> None:
    kept, dropped = made(scene(*turns))
    told = [each for row in (*kept, *dropped) for each in (row.turn, *row.merged)]
    assert sorted(told) == sorted(turn.id for turn in turns if turn.speaker != ENVIRONMENT)
    assert {row.reason for row in dropped} <= samples.REASONS.keys()
    for sample in kept:
        own = next(turn for turn in merged(turns) if turn.id == sample.turn)
        read = parse(sample.messages[-1].content, sample.speaker, notation="her")
        assert read.parts[0].kind == "system_thinking"
        assert (read.parts, read.defects) == (samples.normalise(own.parts, own.speaker), ())


def test_a_sample_says_where_it_is_from() -> None:
    sample = made(TALK)[0][0]
    assert (sample.transcript, sample.turn, sample.speaker, sample.source) == ("t", TALK.turns[1].id, "Mara", "The Lamp")
    assert sample.trained == (len(sample.messages) - 1,)
    assert [message.role for message in sample.messages] == ["system", "user", "assistant"]


def test_no_plan_is_in_any_history() -> None:
    kept, dropped = made(TALK)
    assert (len(kept), dropped) == (4, [])  # the two turns of Tom are one
    for sample in kept:
        history = "".join(message.content for message in sample.messages[1:-1])
        assert "must" not in history
        assert "system_thinking" not in history
        assert "<system_thinking>" in sample.messages[-1].content


def test_the_others_thoughts_are_not_in_the_prompt() -> None:
    last = made(TALK)[0][-1]
    assert "I wait" in last.messages[2].content
    assert "I climb" not in "".join(message.content for message in last.messages)
    assert "nods" in last.messages[3].content


BAD = [
    (turn("Mara", ("speech", "Aye.")), "no_plan"),
    (turn("Mara", ("system_thinking", "p"), ("role_thinking", "I wait")), "unspoken"),
    (turn("Mara", ("system_thinking", "p")), "unspoken"),
    (turn("Mara"), "unspoken"),
    (planned("Nobody", "stare"), "not_in_cast"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_what_is_no_sample_is_named(bad: Turn, reason: str) -> None:
    kept, dropped = made(scene(planned("Tom", "call"), bad))
    assert len(kept) == 1
    assert dropped == [Dropped(transcript="t", turn=bad.id, speaker=bad.speaker, reason=reason)]


def test_books_as_they_are_need_no_plans() -> None:
    (sample,), dropped = made(scene(turn("Mara", ("speech", "Aye."))), plans=False)
    assert (sample.messages[-1].content, dropped) == ("Mara: Aye.", [])


def test_only_the_speakers_asked_for() -> None:
    kept, dropped = made(TALK, speakers=["Tom", "Nobody"])
    assert (kept, dropped) == ([sample for sample in made(TALK)[0] if sample.speaker == "Tom"], [])
    stranger = scene(*TALK.turns, planned("Nobody", "stare"))
    assert [row.reason for row in made(stranger, speakers=["Tom", "Nobody"])[1]] == ["not_in_cast"]
    assert made(TALK, speakers=[]) == ([], [])


def letters(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages)


def test_a_long_history_is_cut_as_the_playground_cuts_it() -> None:
    whole = made(TALK)[0][-1].messages[:-1]
    kept, dropped = made(TALK, budget=letters(whole) - 1, count=letters)
    so_far = TALK.model_copy(update={"turns": TALK.turns[:-1]})
    cut = view.prompt(so_far, "Mara", letters(whole) - 1, letters)
    assert cut.dropped
    assert (kept[-1].messages[:-1], dropped) == (cut.messages, [])


def test_a_prompt_that_cannot_be_cut_is_too_long() -> None:
    kept, dropped = made(TALK, budget=10, count=letters)
    assert kept == []
    assert {row.reason for row in dropped} == {"too_long"}


def test_plans_are_joined_by_id() -> None:
    transcript = scene(
        turn("Mara", ("speech", "One."), id="a"), turn("Tom", ("role_thinking", "Hm."), ("speech", "Two."), id="b")
    )
    second = samples.with_plans(transcript, {"b": " Tom must count. "}).turns[1]
    assert [(part.kind, part.text) for part in second.parts] == [
        ("system_thinking", "Tom must count."),
        ("role_thinking", "Hm."),
        ("speech", "Two."),
    ]
    again = samples.with_plans(samples.with_plans(transcript, {"b": "Old."}), {"b": "New."})
    assert again.turns[1].text("system_thinking") == "New."


MISSES = [
    (lambda: samples.with_plans(TALK, {"nobody": "p"}), "has no turn 'nobody'"),
    (lambda: samples.with_plans(TALK, {TALK.turns[1].id: " "}), "is empty"),
    (lambda: samples.with_turns(TALK, {"nobody": planned("Tom", "x")}), "has no turn 'nobody'"),
    (lambda: samples.with_turns(TALK, {TALK.turns[1].id: TALK.turns[2]}), "a turn keeps its id and speaker"),
    (lambda: list(samples.samples(scene(planned("Tom", "x", "i"), planned("Mara", "y", "i")))), "turn id 'i' appears twice"),
]


@pytest.mark.parametrize(("act", "sentence"), MISSES)
def test_a_miss_is_an_error(act: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        act()
