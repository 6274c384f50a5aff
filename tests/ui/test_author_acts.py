"""her/ui/author_acts.py: a persona is written in the page by the rules of its file, and only where the operator asked for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.characters.persona_shelf import PersonaShelf
from her.characters.personas import load_persona, save_persona
from her.chat.service import ChatService
from her.config import Settings
from her.errors import InputError
from her.store import Store
from her.types import Exchange
from her.ui import build
from her.ui.stage import Stage
from tests.players import MARA, Actor, reply

TOKEN = "aa" * 32
FIELDS = {
    "name": "Old Tom",
    "language": "en",
    "colour": "#7a4e2d",
    "tags": ["cat", " "],
    "profile": "A ship's cat.",
    "greetings": ["(yawns) Oh, {visitor}. [Fish?]", ""],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "personas"
    folder.mkdir()
    save_persona(MARA.model_copy(update={"exchanges": (Exchange(reply="Aye.", anytime=True),)}), folder)
    return folder


def playground(store: Store, folder: Path, writable: bool = True) -> Stage:
    shelf = PersonaShelf(folder)
    shelf.writable = writable
    return Stage(ChatService(store, Actor(reply("Sit.")), shelf, {}))


async def act(stage: Stage, act_name: str, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(json.dumps(await stage.act({"act": act_name, "token": TOKEN, **fields})))
    return answer


async def test_a_new_persona_is_previewed_saved_and_met(store: Store, folder: Path) -> None:
    stage = playground(store, folder)
    draft = await act(stage, "draft_persona", persona="", fields=FIELDS)
    assert (draft["id"], draft["problems"], draft["letters"]) == ("old-tom", [], "OT")
    assert "Visitor" in draft["greetings"][0] and len(draft["greetings"]) == 1 and "profile: A ship's cat." in draft["yaml"]
    assert not (folder / "old-tom.yaml").exists()
    assert await act(stage, "save_persona", persona="", fields=FIELDS) == {"id": "old-tom"}
    assert (folder / "old-tom.yaml").read_text("utf-8") == draft["yaml"]
    assert load_persona(folder / "old-tom.yaml").tags == ("cat",)
    boot = await act(stage, "boot")
    assert boot["author"] and [card["id"] for card in boot["personas"]] == ["mara", "old-tom"]
    assert "there is a file 'old-tom.yaml' already" in (await act(stage, "save_persona", persona="", fields=FIELDS))["error"]


async def test_an_edit_keeps_what_the_form_does_not_show(store: Store, folder: Path) -> None:
    stage = playground(store, folder)
    fields = (await act(stage, "author", persona="mara"))["fields"]
    assert fields["name"] == "Mara" and fields["greetings"] == list(MARA.greetings)
    saved = await act(stage, "save_persona", persona="mara", fields={**fields, "voice": "Dry."}, replace=True)
    persona = load_persona(folder / "mara.yaml")
    assert saved == {"id": "mara"} and persona.voice == "Dry." and persona.exchanges[0].reply == "Aye."


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "field 'name' is empty"),
    "no profile": ({"profile": " "}, "field 'profile' is empty"),
    "misspelt tag": ({"greetings": ["<role_thinkng>x</role_thinking>"]}, "did you mean '<role_thinking>'?"),
    "pale colour": ({"colour": "#ffeeee"}, "choose a darker one"),
    "no colour": ({"colour": "red"}, "six hexadecimal digits"),
    "unknown slot": ({"greetings": ["Hello, {name}."]}, "'{name}'"),
    "name of another": ({"name": "Mara"}, "is taken by 'mara.yaml'"),
    "control character": ({"voice": "a\x07b"}, "control character"),
}


@pytest.mark.parametrize(("change", "sentence"), WRONG.values(), ids=WRONG)
async def test_a_faulty_draft_is_told_and_not_saved(store: Store, folder: Path, change: dict[str, Any], sentence: str) -> None:
    stage, fields = playground(store, folder), FIELDS | change
    draft = await act(stage, "draft_persona", persona="tom", fields=fields)
    assert any(sentence in problem for problem in draft["problems"]), draft["problems"]
    assert sentence in (await act(stage, "save_persona", persona="tom", fields=fields))["error"]
    assert [path.name for path in folder.iterdir()] == ["mara.yaml"] and str(folder) not in json.dumps(draft)


@pytest.mark.parametrize("stem", ["..", ".hidden", "a.b", "Tom", "-tom"])
async def test_a_file_is_written_in_the_folder_alone(store: Store, folder: Path, stem: str) -> None:
    answer = await act(playground(store, folder), "save_persona", persona=stem, fields=FIELDS, replace=True)
    assert "cannot name a file" in answer["error"] and [path.name for path in folder.iterdir()] == ["mara.yaml"]


async def test_a_link_is_never_written_through(store: Store, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (folder / "old-tom.yaml").symlink_to(secret)
    stage = playground(store, folder)
    assert "already" in (await act(stage, "save_persona", persona="", fields=FIELDS, replace=True))["error"]
    page = await act(stage, "author")
    assert [fault["file"] for fault in page["faults"]] == ["old-tom.yaml"] and "is a link" in page["faults"][0]["problem"]
    assert secret.read_text() == "mine" and str(tmp_path) not in json.dumps(page)


@pytest.mark.parametrize("name", ["author", "draft_persona", "save_persona"])
async def test_without_the_operators_word_nothing_is_written(store: Store, folder: Path, name: str) -> None:
    stage = playground(store, folder, writable=False)
    fields = {} if name == "author" else {"persona": "", "fields": FIELDS}
    assert "--author" in (await act(stage, name, **fields))["error"]
    assert not (await act(stage, "boot"))["author"] and [path.name for path in folder.iterdir()] == ["mara.yaml"]


@pytest.mark.parametrize("fields", [{"host": "0.0.0.0"}, {"host": "0.0.0.0", "share_with": "lan"}, {"host": "192.168.7.4"}])
def test_a_shared_playground_has_no_author(fields: dict[str, str]) -> None:
    with pytest.raises(InputError, match="for this machine alone"):
        build.service(Settings.model_validate({"author": True, **fields}))
