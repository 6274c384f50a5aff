"""her/format/tags.py: tokens are found whole or cut, a plan ends where it should, and escaping loses nothing."""

import pytest
from hypothesis import given, settings

from her.format.tags import MARKERS, NAMES, TAG, WRITTEN, Tag, ends_plan, escape, follow_inner, is_cut, read_tag, unescape
from tests.format.turns import TEXT


def test_the_canonical_tags() -> None:
    assert WRITTEN == {
        "system_thinking": ("<system_thinking>", "</system_thinking>"),
        "role_thinking": ("<role_thinking>", "</role_thinking>"),
        "role_action": ("<role_action>", "</role_action>"),
    }


@pytest.mark.parametrize(
    ("text", "move", "kind", "name", "alias"),
    [
        ("<role_action>", "open", "role_action", "role_action", False),
        ("</role_action>", "close", "role_action", "role_action", False),
        ("< / Role_Action >", "close", "role_action", "role_action", True),
        ("<role_Action>", "open", "role_action", "role_action", True),
        ("<think>", "open", "system_thinking", "think", True),
        ("<speech>", "open", "speech", "speech", True),
        ("<|end|>", "end", "system_thinking", "|", True),
        ("<|START_THINKING|>", "open", "system_thinking", "|", True),
        ("<|Message|>", "drop", "system_thinking", "|", True),
    ],
)
def test_a_token_says_what_it_is(text: str, move: str, kind: str, name: str, alias: bool) -> None:
    match = TAG.match(text)
    assert match and match[0] == text
    tag = read_tag(text)
    assert (tag, tag.alias) == ((text, move, kind, name), alias)


@pytest.mark.parametrize(
    "text", ["<b>", "<role_action", "<role action>", "<    think>", "<think    >", "<ſpeech>", "<|end|", "think>"]
)
def test_other_text_is_no_token(text: str) -> None:
    assert TAG.match(text) is None


def test_no_token_is_the_beginning_of_another() -> None:
    """So a token is known as soon as its last character has come."""
    tokens = [*(f"<{slash}{name}>" for name in NAMES for slash in ("", "/")), *MARKERS]
    assert not [(short, long) for short in tokens for long in tokens if short != long and long.startswith(short)]
    assert all(token.rfind("<") == 0 for token in tokens)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("<", True),
        ("< ", True),
        ("</", True),
        ("<ROLE_a", True),
        ("< / role_actio", True),
        ("<|sta", True),
        ("<channel", True),
        ("<role_action>", False),
        ("<b", False),
        ("role", False),
        ("< /" + " " * 30 + "think", False),
        ("<\tthin\t", True),
    ],
)
def test_the_beginning_of_a_token(text: str, cut: bool) -> None:
    assert is_cut(text) is cut
    assert is_cut("a <b> " + text, 6) is cut


OPEN, CLOSE = read_tag("<system_thinking>"), read_tag("</system_thinking>")
MARKER = read_tag("<|channel|>analysis")


@pytest.mark.parametrize(
    ("tag", "opener", "inner", "ends"),
    [
        ("</system_thinking>", OPEN, set(), True),
        ("</think>", OPEN, set(), True),
        ("</think>", OPEN, {"think"}, False),
        ("</thinking>", OPEN, {"think"}, True),
        ("<think>", OPEN, set(), False),
        ("</role_action>", OPEN, set(), False),
        ("<|end|>", OPEN, set(), False),
        ("<|end|>", MARKER, set(), True),
        ("<|channel|>final", MARKER, set(), True),
        ("<|message|>", MARKER, set(), False),
        ("<channel|>", OPEN, set(), True),
    ],
)
def test_where_a_plan_ends(tag: str, opener: Tag, inner: set[str], ends: bool) -> None:
    assert ends_plan(read_tag(tag), opener, inner) is ends


@pytest.mark.parametrize(
    ("tag", "before", "after"),
    [
        ("<think>", set(), {"think"}),
        ("</think>", {"think", "thought"}, {"thought"}),
        ("</think>", set(), set()),
        ("<system_thinking>", set(), set()),
        ("<role_action>", set(), set()),
        ("</role_action>", {"think"}, {"think"}),
        ("<|end|>", {"think"}, {"think"}),
    ],
)
def test_plan_tags_inside_a_plan_are_followed(tag: str, before: set[str], after: set[str]) -> None:
    follow_inner(read_tag(tag), OPEN, before)
    assert before == after


ESCAPES = [
    ("plain & simple", "plain & simple"),
    ("1 < 2 <b> </b>", "1 < 2 <b> </b>"),
    ("<think>x</Think >", "&lt;think>x&lt;/Think >"),
    ("&lt;think>", "&amp;lt;think>"),
    ("&amp;lt;think>", "&amp;amp;lt;think>"),
    ("&lt;b>", "&lt;b>"),
    ("so <role_th", "so &lt;role_th"),
    ("so &lt;role_th", "so &amp;lt;role_th"),
    ("so <", "so <"),
    ("so &lt;", "so &lt;"),
    ("<role_th so", "<role_th so"),
    ("```\nx\n```", "```\nx\n```"),
    ("```\nx", "&grave;``\nx"),
    ("a\n  ```\nx\n```\n```py", "a\n  ```\nx\n```\n&grave;``py"),
    ("a ``` b", "a ``` b"),
    ("&grave;``\nx", "&amp;grave;``\nx"),
    ("```\n&grave;``", "&grave;``\n&amp;grave;``"),
    ("&grave;`", "&grave;`"),
]


@pytest.mark.parametrize(("text", "escaped"), ESCAPES)
def test_escapes(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert unescape(escaped) == text


@given(TEXT)
@settings(max_examples=60)
def test_law_escape_is_undone(text: str) -> None:
    assert unescape(escape(text)) == text
