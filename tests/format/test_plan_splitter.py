"""her/format/plan_splitter.py: plan and rest, however the text is cut; the reader reads both as it reads the whole."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from her.format import parse
from her.format.plan_splitter import PlanSplitter, Split
from her.types import Turn

PLAN = "<system_thinking>I plan.</system_thinking>"
TABLE = {
    "canonical": (PLAN + "Ann: <role_thinking>So.</role_thinking>Hi.", "I plan.", "Ann: <role_thinking>So.</role_thinking>Hi."),
    "no plan at all": ("Ann: Hi there.", "", "Ann: Hi there."),
    "nothing": ("", "", ""),
    "nothing but a plan": (PLAN, "I plan.", ""),
    "unclosed": ("<system_thinking>I plan. Ann: Hi.", "I plan. Ann: Hi.", ""),
    "unclosed, cut within its closing tag": ("<system_thinking>I plan.</system_thin", "I plan.", ""),
    "unclosed, half an escape at the end": ("<system_thinking>I &am", "I &am", ""),
    "unclosed, an escape and blanks at the end": ("<system_thinking>I &lt;think> \n", "I <think>", ""),
    "unclosed, with role tags in it": (
        "<system_thinking>Use <role_action>waves</role_action>.",
        "Use <role_action>waves</role_action>.",
        "",
    ),
    "an opening tag that the prompt may have held": ("I plan.</think>Ann: Hi.", "I plan.", "Ann: Hi."),
    "the same, with a role tag quoted": ("Say <role_action> once.</think>Ann: Hi.", "Say  once.", "Ann: Hi."),
    "an alias": ("<think>\nI plan.\n</think>\n\nAnn: Hi.", "I plan.", "\n\nAnn: Hi."),
    "capitals and gaps": ("< THINK >I plan.< / think>Ann: Hi.", "I plan.", "Ann: Hi."),
    "control tokens": (
        "<|channel|>analysis<|message|>I plan.<|end|><|start|>assistant<|channel|>final<|message|>Ann: Hi.",
        "I plan.",
        "Ann: Hi.",
    ),
    "two plans": (PLAN + "Ann: Hi.<think>More.</think>", "I plan.\nMore.", "Ann: Hi."),
    "a plan after visible text": ("Ann: Hi. " + PLAN + "Bye.", "I plan.", "Ann: Hi. \nBye."),
    "a name before the plan": ("**Ann:** " + PLAN + "Hi.", "I plan.", "**Ann:** Hi."),
    "closed by another tag, then by its own": (
        "<system_thinking>I</think> plan.</system_thinking>Ann: Hi.",
        "I\nplan.",
        "Ann: Hi.",
    ),
    "closed by another tag": ("<system_thinking>I plan.</think>Ann: Hi.", "I plan.", "Ann: Hi."),
    "a plan within a plan": (
        "<system_thinking>I <think>do</think> plan.</system_thinking>Hi.",
        "I <think>do</think> plan.",
        "Hi.",
    ),
    "a whole reply in a fence": ("```xml\n" + PLAN + "Ann: Hi.\n```", "I plan.", "Ann: Hi.\n"),
    "escapes": (
        "<system_thinking>R&amp;B, &lt;role_action> &lt;b></system_thinking>Hi &lt;think>",
        "R&amp;B, <role_action> &lt;b>",
        "Hi &lt;think>",
    ),
    "less than": ("<system_thinking>a < b</system_thinking>1 < 2 <", "a < b", "1 < 2 <"),
    "a cut tag": (PLAN + "Hi.<role_th", "I plan.", "Hi."),
}


def split(*pieces: str, before: str = "") -> Split:
    splitter = PlanSplitter(before)
    return joined([*(splitter.feed(piece) for piece in pieces), splitter.close()])


def joined(splits: list[Split]) -> Split:
    return Split("".join(each.reasoning for each in splits), "".join(each.content for each in splits))


@pytest.mark.parametrize(("text", "reasoning", "content"), TABLE.values(), ids=TABLE.keys())
def test_plan_and_rest(text: str, reasoning: str, content: str) -> None:
    assert split(text) == (reasoning, content)
    assert split(*text) == (reasoning, content)


WORDS = [f"w{number}" for number in range(40)]
FRAGMENTS = [
    "<system_thinking>",
    "</system_thinking>",
    "<think>",
    "</think>",
    "< Think >",
    "</ thinking>",
    "<role_thinking>",
    "</role_thinking>",
    "<role_action>",
    "</role_action>",
    "<|channel|>analysis",
    "<|message|>",
    "<|end|>",
    "<|end_thinking|>",
    "Ann: ",
    "\n",
    "  ",
    "<",
    "<sys",
    "</",
    "&",
    "&lt;",
    "&amp;lt;",
    "&amp;",
    "think>",
    "*",
]


BROKEN = {"<", "<sys", "</", "think>"}


@st.composite
def texts(draw: st.DrawFn, without: frozenset[str] = frozenset()) -> str:
    """Messages in every state of disorder, each word in them once."""
    pieces = draw(st.lists(st.sampled_from([each for each in [*FRAGMENTS, "word"] if each not in without]), max_size=14))
    words = iter(WORDS)
    return "".join(f" {next(words)} " if piece == "word" else piece for piece in pieces)


def cut(text: str, places: list[int]) -> list[str]:
    at = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[left:right] for left, right in zip(at, at[1:], strict=False)]


@given(texts(), st.lists(st.integers(0, 10_000), max_size=12))
@settings(max_examples=40)
def test_any_cutting_gives_the_same(text: str, places: list[int]) -> None:
    assert split(*cut(text, places)) == split(text)


@given(st.text("<>/systemhinkgrolac_ :\n&;`|", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_cutting_of_any_characters_gives_the_same(text: str, places: list[int]) -> None:
    assert split(*cut(text, places)) == split(text)


@given(texts(without=frozenset(BROKEN)))
@example("<system_thinking> w0 </system_thinking>Ann:  w1 </think> w2 ")
@settings(max_examples=40)
def test_the_reader_reads_both_fields_as_it_reads_the_whole(text: str) -> None:
    """The same words in sight, in order; a role tag that is left open may end elsewhere."""
    apart = split(text)
    whole = parse(text, "Ann", notation="her")
    again = parse(apart.content, "Ann", notation="her", reasoning=apart.reasoning)
    assert words(again.text("system_thinking")) == words(whole.text("system_thinking"))
    assert visible(again) == visible(whole)


@given(texts())
@settings(max_examples=40)
def test_content_holds_no_word_of_a_plan(text: str) -> None:
    """But for a closing tag after a whole plan: it stays, so that the reader takes back what was sent."""
    apart = split(text)
    if not re.search(r"</\s*think|</system|<\|end_thinking", apart.content.lower()):
        planned = words(parse(text, "Ann", notation="her").text("system_thinking"))
        assert not planned & words(apart.content)


def visible(turn: Turn) -> str:
    shown = "".join(part.text for part in turn.parts if part.kind != "system_thinking")
    return "".join(shown.replace("Ann:", "").split())


def words(text: str) -> set[str]:
    return set(re.findall(r"w\d+", text))


@given(texts())
@settings(max_examples=40)
def test_an_unclosed_plan_is_never_content(text: str) -> None:
    assert "secret" not in split("<system_thinking>secret " + text.replace("</", "")).content.replace("|", "")


@given(st.text("ab &<>l;t\n", max_size=40))
def test_a_plan_streams_as_it_comes(plan: str) -> None:
    """Text sent early is never taken back, and a plain plan is not held until its end."""
    splitter = PlanSplitter()
    splitter.feed("<system_thinking>")
    early = splitter.feed(plan).reasoning
    assert split("<system_thinking>" + plan + "</system_thinking>").reasoning.startswith(early)
    if not set("&<") & set(plan):
        assert early == plan.strip()


@pytest.mark.parametrize(
    ("before", "text", "expected"),
    [
        ("<think>\n", "I plan.</think>Ann: Hi.", ("I plan.", "Ann: Hi.")),
        ("<think>\n", "I plan and never end", ("I plan and never end", "")),
        ("<system_thinking>I", " plan.</system_thinking>Hi.", (" plan.", "Hi.")),
        ("<think>\n\n</think>\n\n", "Ann: Hi.", ("", "Ann: Hi.")),
        (PLAN + "Ann: Well", ", hi. <think>x</think>", ("x", ", hi. ")),
        ("Ann: Well", ", hi.", ("", ", hi.")),
        ("  \n", "I plan.</think>Hi.", ("I plan.", "Hi.")),
        ("<system_thi", "nking>I plan.</system_thinking>Hi.", ("I plan.", "Hi.")),
    ],
)
def test_what_the_prompt_already_holds_is_gone_on_with(before: str, text: str, expected: tuple[str, str]) -> None:
    assert split(text, before=before) == expected
    assert split(*text, before=before) == expected


def test_content_flows_once_a_plan_is_whole_and_waits_before() -> None:
    splitter = PlanSplitter()
    assert splitter.feed("Ann: Hi") == ("", "")
    assert not splitter.planned
    splitter = PlanSplitter()
    assert splitter.feed(PLAN + "Ann: Hi") == ("I plan.", "Ann: Hi")
    assert splitter.planned
