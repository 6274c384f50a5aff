"""her/backends/scripted.py: who is played, which line is found, no line twice in a row, and how it streams."""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from her.backends.base import Completion
from her.backends.scripted import NAMED_SEEDS, REMEMBERED, ScriptedBackend, generic_lines, read_situation
from her.format import parse
from her.types import Exchange, Message, Persona, Sampling

ANN = Persona(
    id="ann",
    name="Ann",
    profile="A baker.",
    exchanges=(
        Exchange(cues=("hello", "good evening"), plan="Ann should greet {visitor}.", reply="(nods) Good evening, {visitor}."),
        Exchange(cues=("do you bake bread?", "bread"), plan="Ann speaks of bread.", reply="[Bread again.] I bake it in {place}."),
        Exchange(cues=("are you afraid?", "what do you fear?"), plan="Ann is afraid of mice.", reply="Mice. (shudders) [Ugh.]"),
        Exchange(anytime=True, plan="Ann changes the subject.", reply="(wipes the board) Is it still raining?"),
        Exchange(anytime=True, plan="Ann asks back.", reply="[Who knows.] And you, {visitor}?"),
    ),
)
LIN = Persona(
    id="lin",
    name="林娘子",
    language="zh",
    profile="茶馆老板。",
    exchanges=(
        Exchange(cues=("你好", "有人吗"), plan="林娘子该招呼{visitor}。", reply="(放下茶壶) {visitor}，里边请。"),
        Exchange(cues=("这里是哪里", "什么地方"), plan="说说{place}。", reply="这是{place}。[连这也不知道。]"),
        Exchange(anytime=True, plan="岔开。", reply="[说来话长。] (添水) 先喝茶。"),
    ),
)
PERSONAS = {"ann": ANN, "lin": LIN, "anna": ANN.model_copy(update={"id": "anna", "name": "Ann of Ely", "exchanges": ()})}
SYSTEM = "You are Ann, from Own writing, in a conversation with Bea.\n\n===The Scene===\nPlace: the old mill\nIt is late."
SYSTEM_ZH = "你是林娘子（自作），正与周生交谈。\n\n===场景===\n地点：城南茶馆\n夜深了。"


def ask(text: str, system: str = SYSTEM, history: tuple[Message, ...] = ()) -> list[Message]:
    return [Message(role="system", content=system), *history, Message(role="user", content=text)]


async def reply(messages: list[Message], seed: int | None = None, backend: ScriptedBackend | None = None) -> Completion:
    return await (backend or ScriptedBackend(PERSONAS, rate=0)).complete(messages, Sampling(seed=seed))


@pytest.mark.parametrize(
    ("system", "name", "language", "place"),
    [
        (SYSTEM, "Ann", "en", "the old mill"),
        ("You are Ann.", "Ann", "en", "here"),
        ("You are ann, in a conversation with Ann of Ely.", "Ann", "en", "here"),
        ("You are Ann of Ely, in a conversation with Bea.", "Ann of Ely", "en", "here"),
        ("You are Annabel, in a conversation with Ann.", "Annabel", "en", "here"),
        ("You are Iago, from Othello, in a conversation with Ann.", "Iago", "en", "here"),
        ("You are Mr. Darcy, from Austen (1813), in a conversation with Ann.", "Mr. Darcy", "en", "here"),
        (SYSTEM_ZH, "林娘子", "zh", "城南茶馆"),
        ("你是贾宝玉（红楼梦），正与林娘子交谈。", "贾宝玉", "zh", "这里"),
        ("Speak as Ann would.", "Ann", "en", "here"),
        ("", "The player", "en", "here"),
    ],
)
def test_who_is_played_and_where(system: str, name: str, language: str, place: str) -> None:
    stage = read_situation(ask("Bea: Hello.", system), PERSONAS)
    assert (stage.name, stage.language, stage.place) == (name, language, place)


@pytest.mark.parametrize(
    ("message", "visitor", "heard"),
    [
        ("Bea: Hello.", "Bea", "Hello."),
        ("===Conversation Start===\n\nBea: Hello.", "Bea", "Hello."),
        ("Environment: Rain.\n\nBea: Hello.", "Bea", "Hello."),
        ("Bea: One thing: two\nlines here", "Bea", "One thing: two\nlines here"),
        ("Bea: <role_action>sits</role_action>Hello.", "Bea", "sits Hello."),
        ("Zoe：你好", "Zoe", "你好"),
        ("Hello there.", "friend", "Hello there."),
        ("===Conversation Start===", "friend", ""),
        ("Environment: For a moment nobody speaks.", "friend", "Environment: For a moment nobody speaks."),
        (" :", "friend", ":"),
        (" : hello", "friend", ": hello"),
        ("\u3000：你好", "friend", "：你好"),
        ("", "friend", ""),
    ],
)
def test_who_speaks_and_what(message: str, visitor: str, heard: str) -> None:
    stage = read_situation(ask(message), PERSONAS)
    assert (stage.visitor, stage.heard) == (visitor, heard)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("Bea: Hello!", "<role_action>nods</role_action>Good evening, Bea."),
        ("Bea: Hi, Ann, how lovely!", "<role_action>nods</role_action>Good evening, Bea."),
        ("Bea: Do you still bake your own breadd?", "<role_thinking>Bread again.</role_thinking>I bake it in the old mill."),
        ("Bea: I went to town. Are you afraid of anything?", "Mice.<role_action>shudders</role_action>"),
    ],
)
async def test_the_fitting_line_in_canonical_format(words: str, text: str) -> None:
    answer = (await reply(ask(words))).text
    turn = parse(answer, "Ann", notation="her")
    assert turn.defects == ()
    assert turn.parts[0].kind == "system_thinking" and text in answer


async def test_what_nothing_fits_gets_an_anytime_line() -> None:
    answers = {(await reply(ask(f"Bea: Quantum chromodynamics, number {number}."))).text for number in range(20)}
    assert len(answers) == 2
    assert all("raining" in answer or "And you, Bea?" in answer for answer in answers)


async def test_chinese() -> None:
    answer = (await reply(ask("周生: 掌柜，请问这是什么地方？", SYSTEM_ZH))).text
    assert "这是城南茶馆。" in answer and "林娘子: " in answer
    assert "周生，里边请。" in (await reply(ask("周生: 你好", SYSTEM_ZH))).text
    assert parse(answer, "林娘子", notation="her").defects == ()


async def test_an_unknown_character_is_played_from_a_card() -> None:
    answer = (await reply(ask("Bea: Who are you?", "You are Iago, from Othello, in a conversation with Bea."))).text
    assert "Iago" in answer and parse(answer, "Iago", notation="her").defects == ()
    answer = (await reply(ask("周生: 你是谁？", "你是贾宝玉（红楼梦），正与周生交谈。"))).text
    assert "贾宝玉" in answer and parse(answer, "贾宝玉", notation="her").defects == ()


@pytest.mark.whole
async def test_no_reply_comes_twice_within_twelve_turns() -> None:
    for system, name in ((SYSTEM, "Ann"), ("You are Iago, in a conversation with Bea.", "Iago")):
        history: list[Message] = []
        answers: list[str] = []
        for number in range(30):
            question = Message(role="user", content=f"{'Bea' if number % 2 else 'Zoe'}: Hello again, do you bake bread?")
            answer = (await reply([Message(role="system", content=system), *history, question])).text
            spoken = parse(answer, name).text("role_thinking", "role_action", "speech").replace("Bea", "").replace("Zoe", "")
            assert spoken not in answers[-REMEMBERED:]
            answers.append(spoken)
            shown = answer.partition("</system_thinking>")[2]
            history += [question, Message(role="assistant", content=shown)]


async def test_same_seed_same_reply_and_small_seeds_name_the_alternative() -> None:
    messages = ask("Bea: Do you bake bread, are you afraid?")
    first = [(await reply(messages, seed)).text for seed in range(4)]
    assert len(set(first)) == 4
    assert "Mice" in first[0] + first[1] and "Bread again" in first[0] + first[1]
    for seed in (None, 0, 3, NAMED_SEEDS, 123_456_789, -5):
        assert await reply(messages, seed) == await reply(messages, seed)
    assert (await reply(messages)).text == first[0]
    assert len({(await reply(messages, seed)).text for seed in range(NAMED_SEEDS, NAMED_SEEDS + 40)}) > 2


async def test_other_player_seeds_choose_otherwise() -> None:
    messages = ask("Bea: Quantum chromodynamics.")
    assert len({(await reply(messages, None, ScriptedBackend(PERSONAS, seed=seed, rate=0))).text for seed in range(12)}) == 2


async def test_continues_where_it_was_stopped() -> None:
    whole = (await reply(ask("Bea: Hello."))).text
    for cut in (1, 20, len(whole) - 3):
        begun = [*ask("Bea: Hello."), Message(role="assistant", content=whole[:cut])]
        assert (await reply(begun)).text == whole[cut:]
    spoken = whole.partition("</system_thinking>")[2]
    assert (await reply([*ask("Bea: Hello."), Message(role="assistant", content=spoken[:12])])).text == spoken[12:]


@pytest.mark.parametrize(
    "begun",
    [
        "<system_thinking>Some unknown plan",
        "<system_thinking>A plan</system_thinking>Ann: <role_action>turns",
        "<system_thinking>A plan</system_thinking>Ann: Unknown words, and",
        "Ann: Unknown.",
        "",
    ],
)
async def test_continues_an_unknown_turn_with_a_short_close(begun: str) -> None:
    answer = (await reply([*ask("Bea: Hello."), Message(role="assistant", content=begun)])).text
    turn = parse(begun + answer, "Ann", notation="her")
    assert turn.parts[-1].kind == "speech"
    assert not {"unclosed_plan", "missing_close", "cut_tag"} & {defect.name for defect in turn.defects}
    assert any(closing in answer for closing in generic_lines()["en"].closings)


async def test_max_tokens_stop_and_usage() -> None:
    backend = ScriptedBackend(PERSONAS, rate=0)
    cut = await backend.complete(ask("Bea: Hello."), Sampling(max_tokens=3))
    assert cut.finish == "length" and cut.usage is not None and cut.usage.completion_tokens == 3
    whole = await backend.complete(ask("Bea: Hello."), Sampling(stop=("Good",)))
    assert whole.finish == "stop" and "Good" not in whole.text


async def test_streams_on_a_schedule() -> None:
    backend = ScriptedBackend(PERSONAS, rate=200)
    loop = asyncio.get_running_loop()
    started = loop.time()
    deltas = [delta async for delta in backend.stream(ask("Bea: Hello."), Sampling())]
    assert loop.time() - started >= (len(deltas) - 2) / 200
    assert deltas[-1].finish == "stop" and len(deltas) > 5


async def test_describes_itself_honestly() -> None:
    backend = ScriptedBackend(PERSONAS)
    assert backend.describe().scripted
    assert "No model is connected" in await backend.check()


async def test_a_changed_persona_is_followed() -> None:
    personas = dict(PERSONAS)
    backend = ScriptedBackend(personas, rate=0)
    await reply(ask("Bea: Hello."), None, backend)
    personas["ann"] = ANN.model_copy(update={"exchanges": (Exchange(cues=("hello",), reply="New words.", plan="p"),)})
    assert "New words." in (await reply(ask("Bea: Hello."), None, backend)).text


ANY_PROMPT = ScriptedBackend(PERSONAS, rate=0)
"""One for all examples, so that its index is built once."""


@pytest.mark.whole
@settings(deadline=None, max_examples=100)  # the first example imports the index
@given(st.text(max_size=80), st.text(max_size=80))
@example("", " :")  # a blank name before a colon was once taken for a speaker
@example("You are \u3000,", "\u3000：x")
@example("Place: \nYou are", "x")
def test_any_prompt_gets_a_reply(system: str, words: str) -> None:
    messages = [Message(role="system", content=system), Message(role="user", content=words)]
    assert asyncio.run(reply(messages, None, ANY_PROMPT)).text
    situation = read_situation(messages, PERSONAS)
    assert all(text.strip() for text in (situation.name, situation.visitor, situation.place))


def test_generic_lines_are_enough() -> None:
    for language, generic in generic_lines().items():
        assert len([each for each in generic.exchanges if each.anytime]) >= 16 > REMEMBERED
        assert len(generic.closings) >= 3, language
        kinds = [
            {part.kind for part in parse(each.reply, "X", notation="coser", reasoning=each.plan).parts}
            for each in generic.exchanges
        ]
        assert all(len(names) == 4 for names in kinds)
    assert set(generic_lines()) == {"en", "zh"}
