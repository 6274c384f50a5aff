"""her/ui/bubbles.py: the HTML of a turn shows every text as text, in order, and offers only what may be done."""

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.chat.views import TurnView
from her.format import plain_turn
from her.kinds import KINDS
from her.store.records import Rated, Rating
from her.types import ENVIRONMENT, Part, Turn
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
        self.feed(str(html))  # plain: parts of a Markup would escape each other again
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
        bubbles.turn(shown(turn, rating=rated, swipe_count=2, kept=True), "en", words("en")),
        bubbles.turn(shown(turn, mine=True, origin="visitor"), "en", words("en")),
        bubbles.live(text, turn.parts, "p", "en", words("en")),
    ):
        outline = Outline(html)
        assert set(outline.tags) <= ALLOWED
        assert not [name for name in outline.names if name.startswith("on") or name in ("src", "style", "action")]
        assert text.replace("*", "") in outline.text
    assert json.loads(
        next(a for a in Outline(bubbles.turn(shown(turn, rating=rated), "en", words("en"))).attributes if "swipe" in a)
    )


@given(st.text(), st.sampled_from(KINDS))
def test_no_text_makes_a_tag(text: str, kind: Any) -> None:
    outline = Outline(str(bubbles.layers([Part(kind=kind, text=text)], words("zh"))))
    assert set(outline.tags) <= ALLOWED


def test_layers_keep_their_order_and_the_plan_stands_first() -> None:
    parts = [
        Part(kind="role_action", text="bows"),
        Part(kind="speech", text="Come in."),
        Part(kind="role_thinking", text="Who is it?"),
        Part(kind="system_thinking", text="Play it cool."),
        Part(kind="speech", text="Sit *here*."),
    ]
    html = str(bubbles.layers(parts, words("en")))
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


def test_only_what_may_be_rated_has_a_rating_bar() -> None:
    turn = plain_turn(ENVIRONMENT, "Rain.")
    for view, rated in (
        (shown(turn, origin="opening"), False),
        (shown(turn, origin="book"), False),
        (shown(turn, origin="visitor", mine=True), False),
        (shown(turn, origin="greeting"), True),
        (shown(turn), True),
    ):
        assert ('data-act="like"' in bubbles.turn(view, "en", words("en"))) is rated


def test_a_running_turn_waits_until_something_is_visible() -> None:
    plan = [Part(kind="system_thinking", text="Plan.")]
    assert "waiting" in bubbles.live("Iago", plan, "p", "en", words("en"))
    assert "waiting" not in bubbles.live("Iago", [*plan, Part(kind="speech", text="No.")], "p", "en", words("en"))
