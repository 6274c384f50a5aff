"""her/judging/card_page.py: the page is one well-formed file with plots that loads nothing and escapes every text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from her.judging.card_page import page, write_card, write_comparison
from her.judging.report_card import ReportCard, report_card
from her.statistics import Interval
from tests.judging.test_report_card import QUICK, planted

pytestmark = pytest.mark.whole

HOSTILE = '<script>alert("$x_1$")</script>'
OPEN = {"meta", "br", "img", "link", "input"}


class Tags(HTMLParser):
    """Opened tags that are not closed, and the attributes that load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in OPEN:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in OPEN:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"


@pytest.fixture(scope="module")
def hostile() -> ReportCard:
    pairs = [pair._replace(dimension=HOSTILE) for pair in planted(60, slot=1)]
    pairs = [
        pair._replace(
            forth=pair.forth and pair.forth.model_copy(update={"judge": HOSTILE, "probability": 0.7}),
            back=pair.back and pair.back.model_copy(update={"judge": HOSTILE, "probability": 0.6}),
        )
        for pair in pairs
    ]
    return report_card(pairs, QUICK._replace(name=HOSTILE, adversarial={"colon": Interval(0.9, 0.8, 0.95)}))


@pytest.fixture(scope="module")
def text(hostile: ReportCard) -> str:
    return page([hostile, hostile.model_copy(update={"name": "other"})], HOSTILE)


def test_the_page_is_well_formed_loads_nothing_and_escapes_every_text(text: str) -> None:
    tags = Tags(text)
    assert not tags.open and not [each for each in tags.loads if not each.startswith("#")]
    assert "<script" not in text and "http-equiv" not in text and "url(http" not in text
    assert len(tags.ids) == len(set(tags.ids))


def test_the_drawings_take_the_colours_of_the_page(text: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 11 and all('role="img"' in drawing for drawing in drawings)
    colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", "".join(drawings)))
    assert colours and not [each for each in colours if not (each.startswith("var(") or each == "none")]
    assert "prefers-color-scheme:dark" in text and "width=device-width" in text


def test_the_files_of_one_card_and_of_a_comparison(tmp_path: Path) -> None:
    plain = report_card(planted(8), QUICK)
    write_card(plain, tmp_path, "Judge")
    whole = json.loads((tmp_path / "report_card.json").read_text("utf-8"))
    assert whole["agreement"] == list(plain.agreement) and whole["self_preference"] == [None, None, None]
    assert (tmp_path / "report_card.md").read_text("utf-8").startswith("# Judge\n\nj (m@1) on 8 labelled pairs")
    write_comparison([plain, plain], tmp_path, "Designs")
    assert len(json.loads((tmp_path / "report_card.json").read_text("utf-8"))) == 2
    assert (tmp_path / "report_card.html").read_text("utf-8").count("<details>") == 2
