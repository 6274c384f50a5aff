"""her/format/thinking.py: the JSON of an answer after its thinking, and the plan that a model wrote itself."""

import pytest

from her.format import after_thinking, written_plan

ANSWER = '{"plan": "I need to portray Ann."}'


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (ANSWER, ANSWER),
        ('{"plan": "He writes </think> twice."}', '{"plan": "He writes </think> twice."}'),
        (f'<think>Perhaps {{"plan": "no"}}.</think>{ANSWER}', ANSWER),
        (f"The template opened it: [1].</think>\n{ANSWER}", f"\n{ANSWER}"),
        (f"<think>I close with </think> and then answer.</think>\n```json\n{ANSWER}```", f"\n```json\n{ANSWER}```"),
        ('<think>{"plan": "no"}</think>\nI would rather not.', "\nI would rather not."),
        ('<think>{"plan": "no"} and so on without an end', ""),
        (f"Here it is: {ANSWER}", f"Here it is: {ANSWER}"),
        ("", ""),
    ],
)
def test_json_after_thinking(text: str, answer: str) -> None:
    assert after_thinking(text) == answer


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        (
            "<think>The user wants</think><system_thinking>I need to portray Ann.</system_thinking>Ann: Hi.",
            "I need to portray Ann.",
        ),
        ("<think>Only thinking.</think>Ann: Hi.", ""),
        ("<system_thinking>Cut off", ""),
        ("Ann: Hi.", ""),
    ],
)
def test_the_written_plan(text: str, plan: str) -> None:
    assert written_plan(text) == plan
