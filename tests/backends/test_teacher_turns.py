"""her/backends/teacher_turns.py: orders of parts, plans, facts of the source, and blank names."""

import pytest

from her.backends.teacher import write_answer
from her.backends.teacher_turns import complete_setting, enhance_thoughts, rewrite_plan
from her.format import parse, pattern
from her.types import Message
from tests.backends.test_teacher import PLAN

SOURCE = "The magnifico Brabantio is much beloved in Venice by all. So the night went on. Iago: Call up Brabantio, rouse him."


@pytest.mark.parametrize("system", ["You are  , x", "你是 ，", "You are", ""])
def test_a_blank_name_is_not_a_name(system: str) -> None:
    thinking, text = write_answer([Message(role="system", content=system), Message(role="user", content=" : hello")])
    assert "Somebody" in thinking and text.startswith("Somebody: ")


def test_a_blank_speaker_in_the_history_is_not_heard() -> None:
    plan = rewrite_plan({**PLAN, "history": ["Othello: Speak, honest Iago.", " : hello"]})["plan"]
    assert "Othello has just spoken" in plan


def test_no_order_of_parts_comes_three_times_in_a_row() -> None:
    turns = [{"id": f"t{number}", "speaker": "Iago", "text": "Ha! I like not that."} for number in range(12)]
    written = enhance_thoughts({"turns": turns, "ask": [turn["id"] for turn in turns]})["turns"]
    orders = [pattern(parse(f"Iago: {turn['text']}", "Iago", notation="her").parts) for turn in written]
    assert all(len(set(orders[at : at + 3])) > 1 for at in range(len(orders) - 2))


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
