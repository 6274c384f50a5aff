"""her/prompts: templates are filled in one pass, empty sections are left out, and both languages ask for the same fields."""

import re
from importlib.resources import files

import pytest

from her import prompts
from her.errors import InputError
from her.prompts import fill, template

NAMES = sorted({path.name.split(".")[0] for path in files("her.prompts").iterdir() if path.name.endswith(".md")})
TEMPLATE = "You are $name.\n\n===One===\n$a\n$b\n\n===Two: $name===\n$c\n\n===Three===\nfixed\n"


@pytest.fixture
def sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template of its own in place of the files."""
    monkeypatch.setattr(prompts, "template", lambda name, language: TEMPLATE)
    prompts._sections.cache_clear()


@pytest.mark.usefixtures("sections")
def test_a_section_without_values_is_left_out_with_its_heading() -> None:
    assert fill("x1", "en", {"name": "Ann", "a": "", "b": " ", "c": "C"}) == (
        "You are Ann.\n\n===Two: Ann===\nC\n\n===Three===\nfixed"
    )
    assert fill("x2", "en", {"name": "Ann", "a": "", "b": "B", "c": ""}) == "You are Ann.\n\n===One===\n\nB\n\n===Three===\nfixed"


@pytest.mark.usefixtures("sections")
def test_values_are_stripped_and_never_filled_again() -> None:
    filled = fill("x3", "en", {"name": "$a", "a": "\n$b $name\n===Four===\n", "b": "B", "c": ""})
    assert filled == "You are $a.\n\n===One===\n$b $name\n===Four===\nB\n\n===Three===\nfixed"


@pytest.mark.usefixtures("sections")
def test_a_missing_value_is_named() -> None:
    with pytest.raises(InputError, match=r"prompt 'x4\.zh': no value for a, c; give each one, '' to leave it out"):
        fill("x4", "zh", {"name": "Ann", "b": "", "more": "is fine"})


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_fields(name: str) -> None:
    english, chinese = (template(name, language) for language in ("en", "zh"))  # type: ignore[arg-type]
    assert set(re.findall(r"\$([a-z_]+)", english)) == set(re.findall(r"\$([a-z_]+)", chinese))
    assert not english.endswith("\n") and re.search("[\u4e00-\u9fff]", chinese)
