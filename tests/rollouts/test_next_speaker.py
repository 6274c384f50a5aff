"""her/rollouts/next_speaker.py: the reader of answers against the truth table, who was addressed, turns and draws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.rollouts.next_speaker import SpeakerReading, addressed, drawn, in_turn, read_next_speaker
from her.types import ENVIRONMENT, Part, Turn

JUNIOR = "Christopher Dollanganger Jr."
NAMES = ("Ron", "Hermione", "Jane", "Jane Bennet", JUNIOR, "Will", "O’Brien", "贾宝玉", "林黛玉", ENVIRONMENT)

# The forms that were seen in answers of models; the reader of CoSER read those below the line as `random` (its commit 624efc5).
RON = [
    "Next Speaker: Ron",
    "2. Next Speaker: Ron.",
    "**Next Speaker**: Ron",
    "### Next Speaker\nRon",
    "The next speaker is Ron",
    "Next Speaker: *Ron*",
    "Ron",
    "Ron: hello",
    # ---
    "**Next Speaker:** Ron",
    "Next Speaker: **Ron**",
    'Next Speaker: "Ron"',
    "[Ron]",
    "Ron (the redhead)",
    "Next Speaker：Ron",
    "<think>Next Speaker: Hermione</think>\nRon",
    "next speaker is likely Ron because Hermione asked him",
    # further ones
    "Reasoning: Hermione asked Ron.\nNext Speaker: Ron",
    "Next Speaker: Ron\nReason: the next speaker must answer Hermione",
    '{"next_speaker": "Ron"}',
    "Next Speaker:\n\n**Ron**",
    "Next Speaker: <Ron>",
    "1. Reasoning: it is his turn\n2. Next Speaker: Ron.",
    "I looked at Hermione and Jane.\nRon",
    "It is not time to <END CHAT>. Next Speaker: Ron",
    "ron",
    "RON.",
    "“Ron”",
    "下一位：Ron",
    "理由：问到他了。\n下一个发言者是 Ron。",
    "The next speaker will be Ron",
]
OTHERS = [
    (f"Next Speaker: {JUNIOR}", JUNIOR),
    ("Next Speaker: Christopher Dollanganger Jr", JUNIOR),
    (f"**Next Speaker: {JUNIOR}.**", JUNIOR),
    ("Christopher", JUNIOR),
    ("Next Speaker: Jane Bennet", "Jane Bennet"),
    ("Next Speaker: Jane", "Jane"),
    ("Jane: well", "Jane"),
    ("O'Brien", "O’Brien"),
    ("I think Jane Bennet will speak.", "Jane Bennet"),
    ("下一位：贾宝玉", "贾宝玉"),
    ("宝玉", "贾宝玉"),
    ("旁白", ENVIRONMENT),
    ("Next Speaker: the Environment", ENVIRONMENT),
    ("Narrator", ENVIRONMENT),
]
NOBODY = [
    "",
    "   ",
    "🙂",
    "Next Speaker:",
    "Next Speaker: Voldemort",
    "Next Speaker: Jane Fairfax",
    "Ron or Hermione",
    "Next Speaker: Ron and Hermione",
    "Ron and Hermione might go on, I cannot say",
    "<think>Next Speaker: Ron",
    "Ronald",
]


@pytest.mark.parametrize("answer", RON)
def test_every_known_form_is_read(answer: str) -> None:
    assert read_next_speaker(answer, NAMES) == SpeakerReading(kind="name", name="Ron")


@pytest.mark.parametrize(("answer", "name"), OTHERS)
def test_full_stops_substrings_and_chinese(answer: str, name: str) -> None:
    """E11 of HER: the match by substring took Jane for Jane Bennet; CoSER could never choose a name that ends in a dot."""
    assert read_next_speaker(answer, NAMES) == SpeakerReading(kind="name", name=name)


@pytest.mark.parametrize("answer", NOBODY)
def test_what_names_nobody_is_not_guessed(answer: str) -> None:
    assert read_next_speaker(answer, NAMES).kind == "unreadable"


@pytest.mark.parametrize("answer", ["<END CHAT>", "END CHAT", "Next Speaker: <END CHAT>", "下一位：结束对话", "[END CHAT]"])
def test_the_end(answer: str) -> None:
    assert read_next_speaker(answer, NAMES).kind == "end"


@pytest.mark.parametrize("answer", ["random", "Next Speaker: Random.", "随机"])
def test_no_opinion(answer: str) -> None:
    assert read_next_speaker(answer, NAMES).kind == "random"


def test_a_name_that_only_differs_by_its_dot_or_case() -> None:
    names = ("Jr", "Jr.", "will", "Will")
    for name in names:
        assert read_next_speaker(f"Next Speaker: {name}", names).name == name
    assert read_next_speaker("WILL", names).kind == "unreadable"


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
def test_law_any_text_is_read(answer: str, names: list[str]) -> None:
    reading = read_next_speaker(answer, names)
    assert (reading.name in (*names, ENVIRONMENT)) == (reading.kind == "name")


def said(text: str, speaker: str = "Tom", kind: str = "speech") -> Turn:
    return Turn(speaker=speaker, parts=(Part(kind=kind, text=text),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ron, and you, Hermione?", "Hermione"),
        ("Miss Bennet, what do you say?", "Jane Bennet"),
        ("宝玉，你来了？", "贾宝玉"),
        ("Ronald is far away.", ""),
        ("Nobody.", ""),
        ("Ron! Tom is my name.", "Ron"),
    ],
)
def test_who_was_addressed(text: str, name: str) -> None:
    names = (*NAMES, "Tom")
    assert addressed(said(text), names, names) == name


def test_only_what_others_see_and_who_may_be_next_counts() -> None:
    assert addressed(said("Ron is a fool", kind="role_thinking"), NAMES, NAMES) == ""
    assert addressed(said("Jane Bennet?"), NAMES, ["Jane"]) == ""


def test_turns_and_draws() -> None:
    order = ["a", "b", "c"]
    assert in_turn([], order) == "a"
    assert in_turn([said("x", "c"), said("x", ENVIRONMENT)], order) == "a"
    draws = [drawn({"b", "a", "c"}, 1, number) for number in range(30)]
    assert draws == [drawn(["c", "b", "a"], 1, number) for number in range(30)] and set(draws) == {"a", "b", "c"}
