"""her/backends/teacher_turns.py: orders of parts, plans, facts of the source, and blank names."""

import re
from typing import Any

import pytest

from her.backends.teacher import write_answer
from her.backends.teacher_plans import rewrite_plan
from her.backends.teacher_turns import complete_setting, enhance_thoughts
from her.format import parse, pattern
from her.types import Message
from her.words import SENTENCE, words
from tests.backends.test_teacher import PLAN, PLAN_ZH

SOURCE = "The magnifico Brabantio is much beloved in Venice by all. So the night went on. Iago: Call up Brabantio, rouse him."


@pytest.mark.parametrize("system", ["You are  , x", "你是 ，", "You are", ""])
def test_a_blank_name_is_not_a_name(system: str) -> None:
    thinking, text = write_answer([Message(role="system", content=system), Message(role="user", content=" : hello")])
    assert "Somebody" in thinking and text.startswith("Somebody: ")


def test_a_blank_speaker_in_the_history_is_not_heard() -> None:
    plan = rewrite_plan({**PLAN, "history": ["Othello: Speak, honest Iago.", " : hello"]})["plan"]
    assert "Othello" in plan and "hello" not in plan.replace("Othello", "")


def test_no_order_of_parts_comes_three_times_in_a_row() -> None:
    turns = [{"id": f"t{number}", "speaker": "Iago", "text": "Ha! I like not that."} for number in range(12)]
    written = enhance_thoughts({"turns": turns, "ask": [turn["id"] for turn in turns]})["turns"]
    orders = [pattern(parse(f"Iago: {turn['text']}", "Iago", notation="her").parts) for turn in written]
    assert all(len(set(orders[at : at + 3])) > 1 for at in range(len(orders) - 2))


THOUGHTFUL = (
    "<role_thinking>He bites. I must feed him slowly.</role_thinking>Nothing, my lord. Or if, I know not what."
    "<role_action>turns away</role_action>Let it be."
)


@pytest.mark.parametrize("text", [THOUGHTFUL, "Was not that Cassio? I saw him.", "“你来了。坐下说话罢。”我听着。"])
def test_what_is_said_and_done_keeps_its_order_and_nothing_is_added_to_it(text: str) -> None:
    """Thoughts keep theirs; only a turn of nothing but speech gets a thought of the teacher's."""
    turns = [{"id": f"t{number}", "speaker": "Iago", "text": text} for number in range(10)]
    before = parse(f"Iago: {text}", "Iago", notation="her")
    written = enhance_thoughts({"turns": turns, "ask": [turn["id"] for turn in turns]})["turns"]
    after = [parse(f"Iago: {turn['text']}", "Iago", notation="her") for turn in written]
    assert {"".join(words(turn.text("speech"))) for turn in after} == {"".join(words(before.text("speech")))}
    if before.text("role_thinking"):
        for turn in after:
            assert words(turn.text("role_thinking")) == words(before.text("role_thinking"))
            assert words(turn.text("speech", "role_action")) == words(before.text("speech", "role_action"))
        assert len({pattern(turn.parts) for turn in after}) >= 5


WANTS = "I want my revenge on Mr. Cassio, and I'll have it. I am patient."


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        (
            {**PLAN, "motivation": WANTS, "setting": "They walk. The garden, which is old, is dark."},
            "they want their revenge on Mr Cassio",
        ),
        ({**PLAN, "motivation": "I am my own master and I like it."}, "they are their own master and they like it"),
        ({**PLAN_ZH, "motivation": "我想留住她，我不能说。"}, "宝玉想留住她，自己不能说"),
        ({**PLAN, "turn": "Iago: What?", "motivation": ""}, "Iago"),
    ],
)
def test_a_plan_is_in_the_third_person_and_holds_a_want(question: dict[str, Any], kept: str) -> None:
    plans = [
        rewrite_plan({**question, "history": ["Othello: Speak.", "Emilia: Who is there?"][:count]})["plan"] for count in range(3)
    ]
    assert all(kept.lower() in plan.lower() for plan in plans)
    sentences = [sentence for plan in plans for sentence in SENTENCE.findall(plan) if sentence.strip()]
    assert len(set(sentences)) == len(sentences)
    for sentence in sentences:
        assert not re.search(r"\b(?:me|my|mine)\b", sentence)
        assert "I " not in sentence or "I need" in sentence or "I should" in sentence


def test_a_question_with_reasons_gets_another_answer() -> None:
    question = {"turns": [{"id": "t1", "speaker": "Iago", "text": "Ha! I like not that."}], "ask": ["t1"]}
    assert enhance_thoughts(question) == enhance_thoughts(question) != enhance_thoughts({**question, "reasons": ["x"]})


def test_a_fact_is_an_earlier_sentence_about_a_name_of_the_turn() -> None:
    turn = {"id": "t1", "speaker": "Iago", "text": "Call up Brabantio, rouse him."}
    addition = complete_setting({"setting": "", "characters": [], "dialogues": [turn], "source": SOURCE})["additions"][0]
    assert addition["quote"] == "The magnifico Brabantio is much beloved in Venice by all." and addition["shown_by"] == "t1"
    for known in ({"setting": "Brabantio sleeps."}, {"characters": ["Brabantio"]}, {"source": f"brabantio. {SOURCE}"}):
        question = {"setting": "", "characters": [], "dialogues": [turn], "source": SOURCE, **known}
        assert complete_setting(question) == {"additions": []}
