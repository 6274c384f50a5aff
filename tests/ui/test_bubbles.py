"""her/ui/bubbles.py: the HTML of a turn shows every text as text, in order, and offers only what may be done."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.chat.views import TurnView
from her.format import plain_turn
from her.kinds import KINDS
from her.store.records import Rated, Rating
from her.types import ENVIRONMENT, Defect, Part, Turn
from her.ui import bubbles
from her.ui.words import words

HOSTILE = [
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "</article></div><iframe src=//example.org>",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)}",
    "&lt;b&gt; &amp; ' \" `",
    '<a href="javascript:alert(1)">x</a><form action=//example.org>',
    "\u202e<b>\u2066 \ufeff",
]


class Outline(HTMLParser):
    """The tags and attributes that a browser would find, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.text = ""
        self.attributes: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        self.attributes += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


ALLOWED = {
    "article",
    "header",
    "svg",
    "circle",
    "text",
    "use",
    "h3",
    "h4",
    "span",
    "aside",
    "button",
    "p",
    "div",
    "em",
    "i",
    "footer",
}


def shown(turn: Turn, **more: Any) -> TurnView:
    return TurnView(turn=turn, origin=more.pop("origin", "model"), mine=more.pop("mine", False), **more)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_in_every_place(text: str) -> None:
    turn = Turn(speaker=text, parts=tuple(Part(kind=kind, text=text) for kind in KINDS), raw=text)
    rated = Rated(
        id="1", visitor_id="v", conversation_id="c", node_id="n", rating=Rating(rubric=text, comment=text), created_at=1
    )
    for html in (
        bubbles.stored_turn(shown(turn, rating=rated, swipe_count=2, kept=True), "en", words("en")),
        bubbles.stored_turn(shown(turn, mine=True, origin="visitor"), "en", words("en")),
        bubbles.live_turn(text, turn.parts, "p", "en", words("en")),
    ):
        outline = Outline(html)
        assert set(outline.tags) <= ALLOWED
        assert not [name for name in outline.names if name.startswith("on") or name in ("src", "style", "action")]
        assert text.replace("*", "") in outline.text
    outline = Outline(bubbles.stored_turn(shown(turn, rating=rated), "en", words("en")))
    state = json.loads(next(value for value in outline.attributes if "swipe" in value))
    assert state["rating"] == rated.rating.model_dump(mode="json", exclude={"seen"}) and state["swipe"] == [0, 1]


@given(st.text(), st.sampled_from(KINDS))
def test_no_text_makes_a_tag(text: str, kind: Any) -> None:
    outline = Outline(bubbles.layers([Part(kind=kind, text=text)], words("zh")))
    assert set(outline.tags) <= ALLOWED


def test_layers_keep_their_order_and_the_plan_stands_first() -> None:
    parts = [
        Part(kind="role_action", text="bows"),
        Part(kind="speech", text="Come in."),
        Part(kind="role_thinking", text="Who is it?"),
        Part(kind="system_thinking", text="Play it cool."),
        Part(kind="speech", text="Sit *here*."),
    ]
    html = bubbles.layers(parts, words("en"))
    order = [html.index(text) for text in ("Play it cool.", "bows", "Come in.", "Who is it?", "Sit <i>here</i>.")]
    assert order == sorted(order)
    assert html.count('class="panel thought"') == html.count('class="panel reasoning"') == 1


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("Elizabeth Bennet", "EB"),
        ("The Cheshire Cat", "CC"),
        ("林黛玉", "玉"),
        ("Scheherazade", "S"),
        ("  ", "?"),
        ("<b>", "B"),
        ("Lady of the Lake", "LL"),
        ("42", "?"),
    ],
)
def test_monograms(name: str, letters: str) -> None:
    assert bubbles.monogram(name) == letters


LINES = [Part(kind="role_action", text="bows"), Part(kind="speech", text="Well.\n  Well.")]


def test_templates_add_no_white_space() -> None:
    html = bubbles.layers([*LINES, Part(kind="role_thinking", text="Hm.")], words("en"))
    lines = '<p class="lines"><em class="act">bows</em> <span class="speech">Well.\n  Well.</span></p>'
    assert f'<div class="body">{lines}<aside' in html and html.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "expected", "absent"),
    [
        ({}, ['data-act="regenerate"', 'data-act="tools"'], ["swipe-back", 'data-act="keep"', "mark "]),
        ({"swipe_count": 2}, ['aria-label="Previous reply" disabled>', 'aria-label="Next reply">', ">1/2<"], ["mark kept"]),
        (
            {"swipe_count": 2, "swipe_index": 1},
            ['aria-label="Previous reply">', 'swipe-forth" title="Another reply" aria-label="Another reply">'],
            ["Next reply"],
        ),
        ({"swipe_count": 2, "kept": True}, ['data-act="keep" aria-pressed="true">kept<', '"mark kept">kept<'], ["Keep this one"]),
        ({"stopped": True, "truncated": True, "edited": True}, ['"mark stopped">', '"mark truncated">', '"mark edited">'], []),
        ({"origin": "book"}, [], ["data-act"]),
        ({"origin": "visitor", "mine": True}, ['class="turn mine"', 'data-act="tools"'], ["monogram", 'data-act="like"']),
    ],
)
def test_a_turn_offers_what_may_be_done_with_it(more: dict[str, Any], expected: list[str], absent: list[str]) -> None:
    html = bubbles.stored_turn(shown(Turn(speaker="Mara", parts=tuple(LINES)), **more), "en", words("en"))
    assert all(text in html for text in expected) and not any(text in html for text in absent)


@pytest.mark.parametrize(
    ("rating", "pressed"),
    [
        (None, ["false", "false", "false"]),
        (Rating(rubric="r", thumb=1), ["true", "false", "false"]),
        (Rating(rubric="r", thumb=-1, stars={"voice": 1}), ["false", "true", "true"]),
        (Rating(rubric="r", thumb=0), ["false", "false", "false"]),
    ],
)
def test_a_rating_is_pressed_in(rating: Rating | None, pressed: list[str]) -> None:
    rated = rating and Rated(id="1", visitor_id="v", conversation_id="c", node_id="n", rating=rating, created_at=1)
    html = bubbles.stored_turn(shown(plain_turn("Mara", "Hm."), rating=rated), "en", words("en"))
    assert re.findall(r'aria-pressed="(\w+)"', html) == pressed and ("★" in html) is (pressed[2] == "true")


def test_defects_are_counted_and_named() -> None:
    turn = Turn(speaker="Mara", parts=tuple(LINES), defects=tuple(Defect(name=name) for name in ("b", "a", "b")))
    assert '<span class="mark defects" title="a, b">Format: 2</span>' in bubbles.stored_turn(shown(turn), "en", words("en"))
    assert "defects" not in bubbles.stored_turn(shown(turn, origin="edit"), "en", words("en"))


def test_the_narrator_has_no_header() -> None:
    rain = plain_turn(ENVIRONMENT, "Rain.")
    assert "<header>" not in bubbles.stored_turn(shown(rain, origin="opening"), "en", words("en"))
    assert 'class="turn environment"' in bubbles.stored_turn(shown(rain, origin="opening"), "en", words("en"))
    assert "<header>" in bubbles.stored_turn(shown(rain, mine=True), "en", words("en"))


def test_only_what_may_be_rated_has_a_rating_bar() -> None:
    turn = plain_turn(ENVIRONMENT, "Rain.")
    for view, may_be_rated in (
        (shown(turn, origin="opening"), False),
        (shown(turn, origin="book"), False),
        (shown(turn, origin="visitor", mine=True), False),
        (shown(turn, origin="greeting"), True),
        (shown(turn), True),
    ):
        assert ('data-act="like"' in bubbles.stored_turn(view, "en", words("en"))) is may_be_rated


def test_a_running_turn_waits_until_something_is_visible() -> None:
    plan = [Part(kind="system_thinking", text="Plan.")]
    assert "waiting" in bubbles.live_turn("Iago", plan, "p", "en", words("en"))
    assert "waiting" not in bubbles.live_turn("Iago", [*plan, Part(kind="speech", text="No.")], "p", "en", words("en"))
