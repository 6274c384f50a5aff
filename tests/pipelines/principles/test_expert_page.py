"""pipelines/principles/expert_page.py: one file that loads nothing, in which hostile text is inert; tests/browser drives it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from her.judging.principles import LIBRARY, library_hash, load_dimensions
from pipelines.principles.expert_page import nearest_entries, visible
from tests.pipelines.principles.pages import HOSTILE, hostile_page
from tests.pipelines.principles.small import candidate


class Tags(HTMLParser):
    """Collect tags and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return hostile_page(tmp_path_factory.mktemp("page")).read_text("utf-8")


def test_the_page_loads_nothing(page: str) -> None:
    tags = Tags(page).tags
    assert [tag for tag, attributes in tags if {"src", "href", "srcset", "action"} & set(attributes)] == []
    assert not re.search(r"@import|url\(|https?://", page.split("<body>")[0])
    (policy,) = [each["content"] for tag, each in tags if tag == "meta" and each.get("http-equiv")]
    assert policy and policy.startswith("default-src 'none'") and "unsafe" not in policy.split("script-src")[1]


def test_hostile_text_is_text(page: str) -> None:
    assert [tag for tag, _ in Tags(page).tags].count("script") == 2 and not [tag for tag, _ in Tags(page).tags if tag == "img"]
    assert HOSTILE not in page and "&lt;script&gt;" in page and "⟨U+202E⟩" in page and "\u202e" not in page
    for tag, attributes in Tags(page).tags:
        assert not [name for name in attributes if name.startswith("on")], tag


def test_the_script_reads_the_principles_and_the_library_they_are_for(page: str) -> None:
    found = re.search(r'id="made">(.*?)</script>', page, re.DOTALL)
    assert found
    state = json.loads(found[1])
    assert [each["id"] for each in state["principles"]] == ["oath", "other"] and len(state["others"]) > 60
    assert state["library"] == library_hash(LIBRARY) and state["principles"][1]["en"]["name"] == "other"


def test_figures_pairs_and_reasons_are_shown(page: str) -> None:
    assert "<mark>By my sword</mark>" in page and "against the label" in page and "agrees with the label" in page
    assert "decides only 3 pairs, too few for a test" in page and "只判定 3 对" in page
    assert page.count('<section class="pair') == 3  # two of one principle, one of the other


def test_a_run_that_kept_nothing_says_so(tmp_path: Path) -> None:
    page = hostile_page(tmp_path, kept=False).read_text("utf-8")
    assert "No principle passed the test" in page and "没有原则通过检验" in page and "<article" not in page


def test_a_principle_like_one_of_the_library_is_named() -> None:
    library = [entry for file in load_dimensions() for entry in file.principles]
    copied = library[5].model_copy(update={"id": "copied"})
    near = nearest_entries([copied, candidate("oath").entry], library)
    assert near["copied"] is library[5] and near["oath"] is None
    assert nearest_entries([copied], [copied]) == {"copied": None}


def test_what_turns_or_hides_text_is_shown_by_its_number() -> None:
    assert visible("a\u202eb\u0000\u200bc\nd") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+200B⟩c\nd"
