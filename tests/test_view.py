"""her/view.py: who sees what, the messages of one character, and prompts that are truncated to a budget."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her import view
from her.errors import InputError
from her.format import merged
from her.kinds import KINDS, Kind
from her.types import ENVIRONMENT, CastMember, Example, Message, Part, Scenario, Thinking, Transcript, Turn
from her.view import START, Prompt, Viewer, ViewerKind

ROOT = Path(__file__).resolve().parent.parent
VIEWERS: dict[str, Viewer] = {
    "character": Viewer(kind="character", name="Mara"),
    "environment": Viewer(kind="environment"),
    "next_speaker": Viewer(kind="next_speaker"),
    "judge": Viewer(kind="judge"),
    "judge with thoughts": Viewer(kind="judge", thoughts=True),
    "reward_model": Viewer(kind="reward_model"),
    "person": Viewer(kind="person"),
}


def turn(speaker: str, *kinds: Kind, id: str = "") -> Turn:
    """A turn whose parts say which kind they are and whose."""
    parts = tuple(Part(kind=kind, text=f"{kind} of {speaker} {id}".strip()) for kind in kinds)
    return Turn(id=id or speaker, speaker=speaker, parts=parts)


def scene(*turns: Turn, language: Any = "en", **changes: Any) -> Transcript:
    cast = (
        CastMember(name="Mara", source="The Lamp", profile="A keeper.", background="Born at sea."),
        CastMember(name="Tom", profile="A boy."),
        CastMember(name="Ann"),
    )
    scenario = Scenario(id="s", language=language, place="the tower", setting="Night.")
    return Transcript(id="t", scenario=scenario, cast=cast, turns=turns).model_copy(update=changes)


def length(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages)


# -- visibility --------------------------------------------------------------------------------------------------------


def rows() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs/format.md").read_text("utf-8").partition("## Who sees what")[2].partition("\n## ")[0]
    return re.findall(r"^\| ([a-z_ ]+) \| ([a-z_, ]+) \| ([a-z_, ]+) \|$", text, re.MULTILINE)[1:]


def test_the_document_has_every_viewer() -> None:
    assert [name for name, _, _ in rows()] == list(VIEWERS)
    assert (VIEWERS["judge"].name, VIEWERS["judge"].thoughts) == ("", False)
    assert {viewer.kind for viewer in VIEWERS.values()} == set(get_args(ViewerKind))


@pytest.mark.parametrize(("name", "own", "others"), rows())
def test_visibility_is_that_of_the_document(name: str, own: str, others: str) -> None:
    assert list(view.visible_kinds(VIEWERS[name], "Mara")) == own.split(", ")
    assert list(view.visible_kinds(VIEWERS[name], "Tom")) == others.split(", ")


def test_thoughts_let_only_a_judge_see_thoughts() -> None:
    for kind in ("environment", "next_speaker"):
        assert "role_thinking" not in view.visible_kinds(Viewer(kind=kind, thoughts=True), "Mara")  # type: ignore[arg-type]
    assert "role_thinking" not in view.visible_kinds(Viewer(kind="character", name="Mara", thoughts=True), "Tom")


def test_a_line_is_canonical_and_empty_when_nothing_is_visible() -> None:
    mara = turn("Mara", *KINDS)
    assert view.line(mara, VIEWERS["environment"]) == ("Mara: <role_action>role_action of Mara</role_action>speech of Mara")
    assert "<system_thinking>" in view.line(mara, VIEWERS["person"])
    assert view.line(turn("Mara", "system_thinking", "role_thinking"), VIEWERS["environment"]) == ""
    assert view.line(Turn(speaker="Mara"), VIEWERS["person"]) == ""


# -- messages ----------------------------------------------------------------------------------------------------------


def test_own_turns_are_the_assistants_and_neighbours_are_joined() -> None:
    talk = scene(
        turn(ENVIRONMENT, "speech", id="0"),
        turn("Tom", "speech", id="1"),
        turn("Mara", *KINDS, id="2"),
        turn("Mara", "speech", id="3"),
        turn("Tom", "role_thinking", "speech", id="4"),
        turn("Ann", "role_thinking", id="5"),
    )
    system, *history = view.messages(talk, "Mara")
    assert (system.role, system.content) == ("system", view.system(talk, "Mara"))
    assert [(message.role, message.content) for message in history] == [
        ("user", f"{START}\n\nEnvironment: speech of Environment 0\n\nTom: speech of Tom 1"),
        (
            "assistant",
            "Mara: <role_thinking>role_thinking of Mara 2</role_thinking><role_action>role_action of Mara 2</role_action>"
            "speech of Mara 2\n\nspeech of Mara 3",
        ),
        ("user", "Tom: speech of Tom 4"),
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_user_message_comes_last_and_nothing_is_invented(language: str) -> None:
    talk = scene(turn("Tom", "speech"), turn("Mara", "speech"), language=language)
    assert view.messages(talk, "Mara")[-1] == Message(role="user", content=view.GOES_ON)
    assert view.GOES_ON == "===Conversation Continues==="  # a mark like START: nobody's line
    assert view.messages(talk, "Tom")[-1] == Message(role="user", content="Mara: speech of Mara")
    assert view.messages(scene(language=language), "Mara")[1:] == (Message(role="user", content=START),)


def test_only_some_turns_may_be_shown() -> None:
    talk = scene(turn("Tom", "speech"), turn("Ann", "speech"))
    assert view.messages(talk, "Mara", talk.turns[1:]) == view.messages(scene(*talk.turns[1:]), "Mara")
    assert view.messages(talk, "Mara", ()) == view.messages(scene(), "Mara")


def test_somebody_outside_the_cast_cannot_be_played() -> None:
    with pytest.raises(KeyError, match="no cast member is called 'Bob'; the cast is Mara, Tom, Ann"):
        view.messages(scene(), "Bob")


SPEAKERS = st.sampled_from(["Mara", "Tom", "Ann", "Bob", ENVIRONMENT])
TURNS = st.lists(st.tuples(SPEAKERS, st.lists(st.sampled_from(KINDS), max_size=3)), max_size=7)


@given(TURNS, st.sampled_from(["en", "zh"]), st.sampled_from([None, (), ("Tom",), ("Mara", "Bob")]))
@settings(max_examples=40)
def test_law_one_pass_gives_the_messages_of_every_turn(
    turns: list[tuple[str, list[Kind]]], language: str, speakers: tuple[str, ...] | None
) -> None:
    talk = scene(*(turn(name, *kinds, id=str(number)) for number, (name, kinds) in enumerate(turns)), language=language)
    wanted = {"Mara", "Tom", "Ann"} & set(speakers if speakers is not None else ("Mara", "Tom", "Ann"))
    at = {each.id: index for index, each in enumerate(talk.turns)}
    expected = [
        (each, view.messages(talk, each.speaker, talk.turns[: at[each.id]]))
        for each in merged(talk.turns)
        if each.speaker in wanted
    ]
    assert list(view.prompts(talk, speakers)) == expected


# -- presence ----------------------------------------------------------------------------------------------------------


def moved(*turns: Turn, waits: tuple[str, ...] = ()) -> Transcript:
    talk = scene(*turns)
    return talk.model_copy(
        update={"cast": tuple(member.model_copy(update={"waits": member.name in waits}) for member in talk.cast)}
    )


def coming(turn_: Turn, enters: tuple[str, ...] = (), leaves: tuple[str, ...] = ()) -> Turn:
    return turn_.model_copy(update={"enters": enters, "leaves": leaves})


TALK = (
    turn("Mara", "speech", id="0"),
    coming(turn(ENVIRONMENT, "speech", id="1"), leaves=("Tom",)),
    turn("Ann", "speech", id="2"),
    coming(turn(ENVIRONMENT, "speech", id="3"), enters=("Tom",)),
    turn("Mara", "speech", id="4"),
)


def test_the_absent_know_nothing_of_it() -> None:
    talk = moved(*TALK)
    assert [sorted(each) for each in view.absences(talk)] == [[], [], ["Tom"], [], []]
    assert view.absent(moved(*TALK[:2])) == {"Tom"} and not view.absent(talk)
    heard = view.messages(talk, "Tom")[1].content
    assert [number for number in range(5) if f"speech of {talk.turns[number].speaker} {number}" in heard] == [0, 1, 3, 4]
    assert view.prompt(talk, "Tom", 10**6, length).messages == view.messages(talk, "Tom")
    assert "speech of Ann 2" in " ".join(message.content for message in view.messages(talk, "Mara"))
    assert "Ann 2" not in view.messages(talk, "Tom", talk.turns[2:])[1].content  # also where only later turns are shown
    for prompt in (view.narrator_prompt(talk, 10**6, length), view.next_speaker_prompt(talk, ("Tom",), 10**6, length)):
        assert "speech of Ann 2" in " ".join(message.content for message in prompt.messages)


def test_who_waits_is_unknown_until_met_and_whoever_speaks_is_there() -> None:
    talk = moved(*TALK, waits=("Ann",))  # Ann's turn 2 brings her in, while Tom is out: he meets her at turn 3
    for count, others in enumerate(["Tom", "Tom", "Tom", "Tom, Ann", "Tom, Ann"]):
        before = talk.model_copy(update={"turns": talk.turns[:count]})
        assert view.opening(view.messages(before, "Mara")).endswith(f"in a conversation with {others}.")
    assert "Ann" not in view.system(talk.model_copy(update={"turns": talk.turns[:3]}), "Tom")
    assert "Ann" in view.system(talk, "Tom") and view.absences(talk)[0] == {"Ann"}
    assert [messages for _, messages in view.prompts(talk)] == [
        view.messages(talk.model_copy(update={"turns": talk.turns[:number]}), talk.turns[number].speaker) for number in (0, 2, 4)
    ]


def test_only_the_cast_moves() -> None:
    with pytest.raises(InputError, match="turn '0' moves 'Bob', who is not in the cast; the cast is Ann, Mara, Tom"):
        view.messages(moved(coming(turn("Mara", "speech", id="0"), leaves=("Bob",))), "Tom")


def test_a_turn_without_a_move_is_written_as_before() -> None:
    assert "enters" not in turn("Mara", "speech").model_dump_json() and "waits" not in CastMember(name="a").model_dump()
    back = Turn.model_validate_json(TALK[1].model_dump_json())
    assert back == TALK[1] and back.leaves == ("Tom",)


def test_narrator_and_director_know_scene_and_cast_but_no_aims() -> None:
    talk = moved(turn("Mara", *KINDS, id="0"), turn(ENVIRONMENT, "speech", id="1"))
    talk = talk.model_copy(update={"cast": (talk.cast[0].model_copy(update={"motivation": "SECRET"}), *talk.cast[1:])})
    narrator = view.narrator_prompt(talk, 10**6, length).messages
    director = view.next_speaker_prompt(talk, ("Tom", "Ann"), 10**6, length).messages
    assert [message.role for message in narrator] == ["system", "user", "assistant", "user"]
    assert [message.role for message in director] == ["system", "user"] and director[1].content.endswith(
        "Choose one of: Tom, Ann"
    )
    for messages in (narrator, director):
        text = " ".join(message.content for message in messages)
        assert "SECRET" not in text and "_thinking of" not in text and "role_action of Mara 0" in text and "the tower" in text


# -- the system message ------------------------------------------------------------------------------------------------


def test_the_system_message_names_character_scene_and_company() -> None:
    text = view.system(scene(), "Mara")
    assert text.startswith("You are Mara, from The Lamp, in a conversation with Tom, Ann.")
    assert "A keeper." in text and "Born at sea." in text
    assert "===The Scene===\nPlace: the tower\nNight." in text and "===The Others Present===\nTom: A boy.\n" in text
    assert "Ann:" not in text and "===How You Answer" not in text
    assert view.opening(view.messages(scene(), "Mara")) == text.partition("\n")[0]
    assert view.system(scene(), "Tom").startswith("You are Tom, in a conversation with Mara, Ann.")
    assert "===The Others Present===\nMara: A keeper.\nTom: A boy.\n" in view.system(scene(), "Ann")


def test_the_chinese_system_message() -> None:
    text = view.system(scene(language="zh"), "Mara")
    for piece in ("Mara（The Lamp）", "Tom、Ann", "地点：the tower", "Tom：A boy."):
        assert piece in text
    alone = scene(language="zh", cast=(CastMember(name="Mara"),), scenario=Scenario(language="zh"))
    assert "来客" in view.system(alone, "Mara") and "地点：" not in view.system(alone, "Mara")


def test_alone_with_a_visitor() -> None:
    alone = scene(cast=(CastMember(name="Mara"),), scenario=Scenario())
    text = view.system(alone, "Mara")
    assert text.startswith("You are Mara, in a conversation with a visitor.")
    assert "Place:" not in text and "===The Others Present" not in text


@pytest.mark.parametrize(
    ("cast", "place", "language", "words"),
    [
        (("Mara", "Tom"), "the tower", "en", "Tom: Who, Tom at the tower?\n"),
        (("Mara",), "", "en", "Visitor: Who, Visitor at this place?\n"),
        (("Mara",), "", "zh", "来客: Who, 来客 at 此处?\n"),
    ],
)
def test_examples_are_canonical_turns(cast: tuple[str, ...], place: str, language: Any, words: str) -> None:
    example = Example(
        visitor="Who, {visitor} at {place}?", reply="[Odd.] (nods) I, {visitor}.", plan="Mara must greet {visitor}."
    )
    members = tuple(CastMember(name=name, examples=(example,) * (name == "Mara")) for name in cast)
    name = words.partition(":")[0]
    text = view.system(Transcript(scenario=Scenario(place=place, language=language), cast=members), "Mara")
    assert (
        words
        + (
            f"<system_thinking>Mara must greet {name}.</system_thinking>Mara: <role_thinking>Odd.</role_thinking>"
            f"<role_action>nods</role_action>I, {name}."
        )
        in text
    )


@pytest.mark.parametrize(("thinking", "gone"), [("no_plan", ["plan"]), ("no_thoughts", ["plan", "thought"])])
def test_a_turn_may_be_asked_for_without_plan_or_thoughts(thinking: Thinking, gone: list[str]) -> None:
    own: tuple[Kind, ...] = ("system_thinking", "role_thinking", "speech")
    example = Example(visitor="Who?", reply="[Odd thought.] I.", plan="Mara's plan.")
    for language in ("en", "zh"):
        talk = scene(turn("Tom", "speech"), turn("Mara", *own), turn("Tom", "role_thinking", "speech"), language=language)
        cast = (talk.cast[0].model_copy(update={"examples": (example,)}), *talk.cast[1:])
        talk = talk.model_copy(update={"cast": cast})
        full, asked = (view.prompt(talk, "Mara", 10_000, length, mode) for mode in ("full", thinking))
        assert full.messages == view.messages(talk, "Mara")
        words = {
            "plan": ("<system_thinking>", "Mara's plan"),
            "thought": ("<role_thinking>", "Odd thought", "role_thinking of Mara"),
        }
        written = "".join(message.content for message in asked.messages)
        for layer, texts in words.items():
            assert all((text in written) == (layer not in gone) for text in texts), (layer, language)
        section = "===How to Write a Turn===" if language == "en" else "===一轮怎么写==="
        before, of_full = (one.messages[0].content.partition(section) for one in (asked, full))
        assert before[1] == of_full[1] == section and before[2] != of_full[2] and asked.messages[1] == full.messages[1]


# -- prompts with a budget ---------------------------------------------------------------------------------------------


def long_talk(count: int) -> Transcript:
    return scene(*(turn(("Mara", "Tom", "Ann")[number % 3], "speech", id=f"{number:03}") for number in range(count)))


@pytest.mark.parametrize("count", [1, 2, 32, 33, 34, 70, 165])
def test_the_prompt_keeps_as_many_turns_as_fit(count: int) -> None:
    talk = long_talk(count)
    sizes = [length(view.messages(talk, "Mara", talk.turns[first:])) for first in range(count)]
    for first in {0, 1, count // 3, count // 2, count - 33, count - 32, count - 2, count - 1} & set(range(count)):
        prompt = view.prompt(talk, "Mara", sizes[first], length)
        fits = min(index for index, size in enumerate(sizes) if size <= sizes[first])
        assert prompt == Prompt(
            messages=view.messages(talk, "Mara", talk.turns[fits:]),
            dropped=tuple(each.id for each in talk.turns[:fits]),
            tokens=sizes[first],
            budget=sizes[first],
        )


def test_the_search_counts_few_prompts() -> None:
    talk, counted = long_talk(400), list[int]()

    def count(messages: Sequence[Message]) -> int:
        counted.append(length(messages))
        return counted[-1]

    whole = length(view.messages(talk, "Mara"))
    budget = length(view.messages(talk, "Mara", talk.turns[-20:]))
    assert len(view.prompt(talk, "Mara", budget, count).dropped) == 380
    assert len(counted) <= 8 and max(counted) < whole / 2


def test_an_empty_chat_has_a_prompt() -> None:
    prompt = view.prompt(scene(), "Mara", 10**6, length)
    assert (prompt.messages, prompt.dropped) == (view.messages(scene(), "Mara"), ())


def test_what_always_stays_may_be_too_much() -> None:
    talk = long_talk(3)
    least = length(view.messages(talk, "Mara", talk.turns[-1:]))
    assert len(view.prompt(talk, "Mara", least, length).dropped) == 2
    with pytest.raises(InputError, match=f"have about {least} tokens and the model has room for {least - 1}"):
        view.prompt(talk, "Mara", least - 1, length)
    only = long_talk(1)
    with pytest.raises(InputError, match="the model has room for"):  # the last turn is never dropped
        view.prompt(only, "Mara", length(view.messages(only, "Mara", ())), length)
    with pytest.raises(InputError, match="shorten the message"):
        view.prompt(scene(), "Mara", 3, length)


def test_a_count_that_is_not_monotone_never_gives_a_turn_too_many() -> None:
    """A tokenizer may count less for more text; the prompt still fits the budget."""
    talk = long_talk(90)
    for odd in range(2, 12):

        def count(messages: Sequence[Message], odd: int = odd) -> int:
            return length(messages) + (length(messages) // 7 % odd == 0) * 300

        budget = count(view.messages(talk, "Mara", talk.turns[-40:]))
        prompt = view.prompt(talk, "Mara", budget, count)
        assert count(prompt.messages) == prompt.tokens <= budget


def test_a_continuation_ends_with_the_raw_text() -> None:
    so_far = view.prompt(scene(), "Mara", 10**6, length)
    unfinished = Turn(speaker="Mara", raw=" <system_thinking>p")
    continued = view.continuation(so_far, unfinished)
    assert continued.messages == (*so_far.messages, Message(role="assistant", content=" <system_thinking>p"))
    assert continued.model_copy(update={"messages": so_far.messages}) == so_far
