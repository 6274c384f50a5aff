"""her/format: replies in the marks, names and dialects that models write; expected parts as `kind:text`. Read in `auto`."""

import pytest

from her.format import parse
from tests.format.turns import parts_of, stream

ROWS: list[tuple[str, str]] = [
    ("<reasoning>p</reasoning>Hi.", "p:p|s:Hi."),
    ("[THINK]p[/THINK]Hi.", "p:p|s:Hi."),
    ("p[/THINK]Hi.", "p:p|s:Hi."),
    ("◁think▷p◁/think▷Hi.", "p:p|s:Hi."),
    ("＜think＞p＜/think＞Hi.", "p:p|s:Hi."),
    ("&lt;think&gt;p&lt;/think&gt;Hi.", "p:p|s:Hi."),
    ('<think kind="x">p</think>Hi.', "p:p|s:Hi."),
    ("<think/>Hi.", "s:Hi."),
    ("<musing>p</musing>Hi.", "p:p|s:Hi."),
    ("<musing>Hi.</musing>", "s:Hi."),
    ("<musing>Hi.", "s:<musing>Hi."),
    ("<role_> p</role_>Hi.", "p:p|s:Hi."),
    ("</think> <{{char}}:]]Hi.", "s:Hi."),
    ("analysisI plan.assistantfinalHi.", "p:I plan.|s:Hi."),
    ("analysis is hard.", "s:analysis is hard."),
    ("<|channel|>commentary<|message|>p<|end|><|start|>assistant<|channel|>final<|message|>Hi.<|return|>", "p:p|s:Hi."),
    ("<think>p\nIago: Hi.", "p:p|s:Hi."),
    ("<think>p</think>q</think>Hi.", "p:p q|s:Hi."),
    ("<think>p</think>Iago: Hi.</think>", "p:p|s:Hi."),
    ("<think>p</think><answer>Hi.</answer>", "p:p|s:Hi."),
    ("p<answer>Hi.</answer>", "p:p|s:Hi."),
    ("```markdown\n*nods* Hi.\n```", "a:nods|s:Hi."),
    ("IAGO: Hi.", "s:Hi."),
    ("**Iago** (smiling): Hi.", "a:smiling|s:Hi."),
    ("【Iago】Hi.", "s:Hi."),
    ("### Iago\nHi.", "s:Hi."),
    ("{{char}}: Hi.", "s:Hi."),
    ("Iago: Hi.\n\u200bOthello (loud): Ho.", "s:Hi."),
    ("Iago: Hi.\nUser: Ho.", "s:Hi."),
    ("Othello: Ho?\nIago: Hi.", "s:Hi."),
    ("*nods*Hi.", "a:nods|s:Hi."),
    ("*一笑*你好*招手*", "a:一笑|s:你好|a:招手"),
    ("I mean it *slams the table* and go.", "s:I mean it|a:slams the table|s:and go."),
    ("I *never* lie, f**k it.", "s:I *never* lie, f**k it."),
    ("**No.** *sits* Hi.", "s:**No.**|a:sits|s:Hi."),
    ('*sits* "I *never* lie."', 'a:sits|s:"I *never* lie."'),
    ("_So late._ *nods* Hi.", "t:So late.|a:nods|s:Hi."),
    ("`So late.` *nods* Hi.", "t:So late.|a:nods|s:Hi."),
    ("> So late.\nHi.", "t:So late.|s:Hi."),
    ("【心理】想\n【动作】笑\n【语言】好。", "t:想|a:笑|s:好。"),
    ("（心想：晚了）〔真晚〕好。", "t:晚了真晚|s:好。"),
    ("- [x] lamp\nSee [the log](https://x.org/log) [1].", "s:- [x] lamp¶See [the log](https://x.org/log) [1]."),
    ("* one\n* two", "s:* one¶* two"),
]
ENDS = ["<|im_end|>", "</s>", "<end_of_turn>", "<eos>", "<|eot_id|>", "<｜end▁of▁sentence｜>", "[/INST]", "<|endoftext|>"]


@pytest.mark.parametrize(("text", "parts"), ROWS)
def test_replies(text: str, parts: str) -> None:
    turn = parse(text, "Iago", ("Othello", "奥赛罗"), turn_id="id")
    assert turn.parts == parts_of(parts)
    assert turn.raw == text
    assert stream(text, list(range(len(text)))) == turn


@pytest.mark.parametrize("token", ENDS)
def test_a_token_ends_the_turn_and_its_raw_text(token: str) -> None:
    text = f"Iago: Hi.{token}\nuser\nAnd you?{token}"
    turn = parse(text, "Iago", turn_id="id")
    assert (turn.parts, turn.raw) == (parts_of("s:Hi."), f"Iago: Hi.{token}")
    assert stream(text, list(range(len(text)))) == turn  # the places of its defects as well


@pytest.mark.parametrize(("text", "_"), ROWS)
def test_none_of_this_is_read_in_the_notation_of_the_project(text: str, _: str) -> None:
    if not text.startswith(("<", "p")) and "Iago" not in text and "Othello" not in text:
        assert parse(text, "Iago", notation="her").text("speech") == text.strip()
