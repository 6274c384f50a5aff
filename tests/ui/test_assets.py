"""her/ui/assets.py: which files the browser loads, and that their types are those of the server."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args

import pytest

from her.ui import answers, assets
from her.ui.requests import ActRequest, Request, RunRequest

TYPES = (assets.STATIC / "types.d.ts").read_text("utf-8")
INTERFACE = re.compile(r"export interface (\w+)(?: extends (\w+))? \{(.*?)\n\}", re.S)
COMMENT = re.compile(r"/\*\*.*?\*/", re.S)
SAME_NAME = (
    *("DrawnTurn", "DrawnReply", "ChatFrame", "Refusal", "RubricLabel", "ShownRubric", "PersonaCard", "ShelvedScene"),
    *("ShelvedBook", "Boot", "OfferedScene", "PersonaDetail", "ListedChat", "ReplayState", "ChatList", "SavedRating"),
    *("TurnSource", "ExportedFile", "ShownBallot", "QuotedTurn", "Reasons", "ReasonGroup", "ReasonChip"),
)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the modules, copied, so that a test may change them."""
    for name in assets.modules():
        (tmp_path / name).write_bytes((assets.STATIC / name).read_bytes())
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    assets.version.cache_clear()
    yield tmp_path
    assets.version.cache_clear()


def test_a_change_of_any_module_is_another_version(copied: Path) -> None:
    before = assets.version()
    assert re.fullmatch(r"[0-9a-f]{12}", before)
    assert f"her-static/{before}/main.js" in assets.loader()
    (copied / "dom.js").write_text("export {};", "utf-8")
    assets.version.cache_clear()
    assert assets.version() != before


def test_every_module_has_a_link_and_every_style_sheet_a_place() -> None:
    linked = re.findall(r"<\./her-static/\w+/(\w+\.js)>; rel=modulepreload", assets.links())
    assert sorted([*linked, *assets.LATER]) == assets.modules()
    assert sorted([*(path.name for path in assets.styles()), "organiser.css"]) == sorted(
        path.name for path in assets.STATIC.glob("*.css")
    )


def test_every_module_is_imported_from_main() -> None:
    reached, waiting = set[str](), ["main.js"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += re.findall(r'(?:from |await import\()"\./(\w+\.js)"', (assets.STATIC / name).read_text("utf-8"))
    assert sorted([*reached, "organiser.js"]) == assets.modules()


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    imports = {
        name: set(re.findall(r'from "\./(\w+\.js)"', (assets.STATIC / name).read_text("utf-8"))) for name in assets.modules()
    }
    while free := {name for name, needed in imports.items() if not needed & imports.keys()}:
        imports = {name: needed for name, needed in imports.items() if name not in free}
    assert imports == {}


def fields_of(body: str) -> set[str]:
    """Return the names of the fields in the body of a TypeScript type."""
    return set(re.findall(r"(?:^|[;{]\s*|\n\s*)(\w+)\??:", COMMENT.sub("", body)))


def interface(name: str) -> set[str]:
    """Return the fields of an interface of types.d.ts, inherited ones included."""
    found = {own: (base, body) for own, base, body in INTERFACE.findall(TYPES)}
    base, body = found[name]
    return fields_of(body) | (interface(base) if base else set())


@pytest.mark.parametrize("name", SAME_NAME)
def test_answers_have_the_same_fields_on_both_sides(name: str) -> None:
    assert interface(name) == set(getattr(answers, name).__annotations__)


def test_a_patch_has_the_same_fields_on_both_sides() -> None:
    only_in_python = {"stamp", "focus", "saved"}  # `stamp` is for Gradio; the others belong to the answers of two acts
    only_in_the_browser = {"whole"}
    assert interface("ChatPatch") - only_in_the_browser == set(answers.ChatPatch.__annotations__) - only_in_python
    assert interface("Rating") == set(answers.ShownRating.__annotations__)


def requests_in(table: str) -> dict[str, set[str]]:
    """Return the fields of each request that the interface `table` of types.d.ts lists."""
    body = next(body for name, _, body in INTERFACE.findall(TYPES) if name == table)
    listed = re.findall(r"^  (\w+): \[?(\w+)", body, re.M)
    return {act: set() if request == "Nothing" else interface(request) for act, request in listed}


def requests_of(union: UnionType) -> dict[str, set[str]]:
    """Return the fields of each request of the server, without those that every request has."""
    models: tuple[type[Request], ...] = get_args(union)
    shared = {*Request.model_fields, "act"}
    return {get_args(model.model_fields["act"].annotation)[0]: set(model.model_fields) - shared for model in models}


@pytest.mark.parametrize(("table", "union"), [("Acts", ActRequest), ("Runs", RunRequest)])
def test_requests_have_the_same_fields_on_both_sides(table: str, union: Any) -> None:
    assert requests_in(table) == requests_of(union)
