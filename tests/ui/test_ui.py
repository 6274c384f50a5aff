"""her/ui: what is drawn is escaped, and what comes in is checked."""

import json
import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.chat.views import GenerationSnapshot, Meter, TurnView
from her.errors import Forbidden, InputError
from her.format import plain_turn
from her.store.records import Rated, Rating
from her.types import ENVIRONMENT, KINDS, Part, Turn
from her.ui import bubbles, patches, state
from her.ui.build import claim_gpu
from her.ui.connect_tab import _plain
from her.ui.guard import Guard
from her.ui.words import WORDS, words

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


def test_patches_of_a_generation() -> None:
    snapshot = GenerationSnapshot(chat="c", speaker="Iago", pending="p", question=plain_turn("Mara", "Who?"))
    asked = patches.question(snapshot)
    assert "Who?" in asked[0]["html"]
    assert patches.running(snapshot, asked)["live"]["id"] == "p"
    failed = snapshot.model_copy(update={"state": "failed", "error": "down", "give_back": "Who?"})
    assert patches.running(failed, asked) | {"put": []} == {
        "chat": "c",
        "put": [],
        "end": True,
        "error": "down",
        "give_back": "Who?",
        "sent": False,
    }


def test_a_meter_says_when_it_estimates() -> None:
    assert Meter(tokens=1, budget=2, context=3, exact=False).dropped == 0
    assert set(words("en")) == set(words("zh")) == set(WORDS)
    assert all(all(pair) for pair in WORDS.values())


GOOD = {"act": "boot", "token": "ab" * 32}


@pytest.mark.parametrize(
    ("payload", "error", "sentence"),
    [
        ({"act": "boot"}, Forbidden, "visitor token"),
        (None, InputError, "request"),
        ([], InputError, "request"),
        ("x", InputError, "request"),
        ({**GOOD, "token": "AB" * 32}, Forbidden, "visitor token"),
        ({**GOOD, "token": "ab" * 31}, Forbidden, "visitor token"),
        ({**GOOD, "token": 7}, Forbidden, "visitor token"),
        ({**GOOD, "visitor": "me"}, InputError, "visitor"),
        ({**GOOD, "chat": "../../etc"}, InputError, "chat"),
        ({**GOOD, "step": 2}, InputError, "step"),
        ({**GOOD, "count": -1}, InputError, "count"),
        ({**GOOD, "text": "x" * 1_000_001}, InputError, "text"),
        ({**GOOD, "format": "exe"}, InputError, "format"),
        ({**GOOD, "seen": {"dwell_ms": -1}}, InputError, "seen"),
    ],
)
def test_what_no_browser_of_ours_sends_is_refused(payload: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        state.read_request(payload)


def test_a_token_is_never_stored_as_it_is() -> None:
    wish = state.read_request({**GOOD, "seen": {"opened": ["role_thinking"]}})
    assert wish.seen.opened == ("role_thinking",)
    assert len(wish.visitor) == 64 and wish.visitor != GOOD["token"]


def test_server_words_are_no_markdown() -> None:
    assert _plain("[x](http://example.org) <b>*y*</b>") == r"\[x\]\(http://example\.org\) &lt;b\>\*y\*&lt;/b\>"


async def test_the_guard_reads_hosts_with_and_without_a_port() -> None:
    answered: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    guard = Guard(app, hosts=("127.0.0.1", "localhost", "[::1]"))
    for host in (b"127.0.0.1:7860", b"LOCALHOST", b"[::1]:7860", b"[::1]", b"127.0.0.1.evil.org", b""):
        await guard({"type": "http", "method": "GET", "path": "/", "headers": [(b"host", host)]}, None, send)
    assert answered == [200, 200, 200, 200, 421, 421]


@pytest.mark.parametrize(
    ("method", "path", "length", "status"),
    [
        ("GET", "/gradio_api/upload", b"", 200),
        ("POST", "/gradio_api/queue/join", b"8000000", 200),
        ("POST", "/gradio_api/component_server/", b"2", 200),
        ("POST", "/gradio_api/queue/join", b"8000001", 413),
        ("POST", "/gradio_api/queue/join", b"", 200),
        ("POST", "/gradio_api/upload", b"2", 403),
        ("POST", "/gradio_api/process_recording", b"2", 403),
        ("PUT", "/", b"2", 403),
    ],
)
async def test_only_the_doors_of_the_page_take_anything(method: str, path: str, length: bytes, status: int) -> None:
    answered: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    headers = [(b"content-length", length)] if length else []
    await Guard(app)({"type": "http", "method": method, "path": path, "headers": headers}, None, send)
    assert answered == [status]


async def test_a_body_of_unsaid_length_is_not_read_to_its_end() -> None:
    read: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            read.append(message["type"])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x" * 3_000_000, "more_body": True}

    await Guard(app)({"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": []}, receive, None)
    assert len(read) == 2


def test_a_zero_gpu_space_names_a_function_and_nothing_else_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[Any] = []
    monkeypatch.setitem(sys.modules, "spaces", None)  # an import of it fails now, as on a laptop
    claim_gpu()
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=claimed.append))
    claim_gpu()
    assert [one() for one in claimed] == ["warm"]
