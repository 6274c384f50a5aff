"""Shared by the tests of this package: a short spelling of parts, and texts in every state of disorder."""

from hypothesis import strategies as st

from her.format import Parser
from her.format.markers import Notation
from her.format.tags import MARKERS
from her.kinds import KINDS, Kind
from her.types import Part, Turn

NAME = "Iago"
OTHERS = ("Othello", "奥赛罗")
KIND: dict[str, Kind] = {"p": "system_thinking", "t": "role_thinking", "a": "role_action", "s": "speech"}
P = "<system_thinking>p</system_thinking>"
T = "<role_thinking>t</role_thinking>"
A = "<role_action>a</role_action>"


def parts_of(short: str) -> tuple[Part, ...]:
    """`p:plan|s:hello` as parts; a `¶` is a line break."""
    pairs = (piece.split(":", 1) for piece in short.replace("¶", "\n").split("|") if piece)
    return tuple(Part(kind=KIND[kind], text=text) for kind, text in pairs)


def stream(text: str, cuts: list[int], notation: Notation = "auto", reasoning: str = "", **kwargs: str) -> Turn:
    parser = Parser(NAME, OTHERS, notation)
    parser.feed_reasoning(reasoning)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for left, right in zip(edges, edges[1:], strict=False):
        parser.feed(text[left:right])
        assert parser.parts is not None
    return parser.close("id")


PIECES = [
    *(
        f"<{slash}{name}>"
        for slash in ("", "/")
        for name in ("system_thinking", "role_thinking", "role_action", "think", "speech")
    ),
    *MARKERS,
    *("Iago:", "Iago：", "**Iago**:", "**Iago:**", "Othello:", "奥赛罗：", "Iag", "<role_", "</", "<", "< think", "K", "ſ"),
    *("```", "`", "```xml\n", "\n", "\n\n", " ", "\t", "\r\n", "\u2028", "\x1c", "\u3000"),
    *("*", "**", "[", "]", "(", ")", "（", "）", ".", "!", ":", "：", "hi", "he bows", "你好", "é", "😀"),
    *("&lt;", "&amp;lt;", "&amp;", "&", "&grave;", "&amp;grave;``", "lt;", "amp;", "|", ">"),
]
MARKS = [
    *(
        "[THINK]",
        "[/THINK]",
        "[think]",
        "◁think▷",
        "◁/think▷",
        "＜think＞",
        "＜/think＞",
        "<think/>",
        '<think kind="x">',
        "< /think >",
    ),
    *("<|channel|>", "commentary", "<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_box|>", "<answer>", "</answer>"),
    *("<|im_end|>", "</s>", "<end_of_turn>", "<eos>", "<｜end▁of▁sentence｜>", "[/INST]", "<|im_start|>", "<bos>", "[INST]"),
    *(
        "&lt;think&gt;",
        "&lt;/think&gt;",
        "\\<think\\>",
        "<musing>",
        "</musing>",
        "<details>",
        "</details>",
        "analysisWe",
        "assistantfinal",
    ),
    *(
        "IAGO:",
        "*Iago:*",
        "[Iago]",
        "【Iago】：",
        "### Iago\n",
        "Iago (smiling):",
        "{{char}}:",
        "User:",
        "### Human:",
        "assistant\n",
        "\u200b",
    ),
    *(
        "*nods*",
        "*nods",
        "_late_",
        "`so late.`",
        "> ",
        '"',
        "“",
        "【心理】",
        "〔",
        "〕",
        "（心想：",
        "[1]",
        "```markdown\n",
        "＊",
    ),
]
"""Marks that only the notation `auto` reads, see her/format/mark_table.py."""
PIECES += MARKS
TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=14).map("".join)
PARTS = st.lists(st.builds(Part, kind=st.sampled_from(KINDS), text=TEXT), max_size=4)
NOTATIONS = st.sampled_from(["her", "coser", "asterisk", "auto"])
