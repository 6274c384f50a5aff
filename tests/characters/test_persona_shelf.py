"""her/characters/persona_shelf.py: files are read again, and a faulty one is named and does not stop the others."""

import os
from pathlib import Path

import pytest

from her.characters.persona_shelf import PersonaShelf
from her.characters.personas import load_persona, validate
from her.errors import InputError


class Clock:
    """A clock that goes two seconds further at each look."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        self.at += 2
        return self.at


def write(folder: Path, stem: str, text: str = "") -> Path:
    path = folder / f"{stem}.yaml"
    path.write_text(text or f"name: {stem.title()}\nprofile: Somebody.\n", "utf-8")
    return path


@pytest.fixture
def shelf(tmp_path: Path) -> PersonaShelf:
    for stem in ("anna", "ben"):
        write(tmp_path, stem)
    return PersonaShelf(tmp_path, Clock())


def test_a_file_is_read_again_when_it_changes(shelf: PersonaShelf, tmp_path: Path) -> None:
    assert list(shelf) == ["anna", "ben"] and len(shelf) == 2
    write(tmp_path, "ben", "name: Benedict\nprofile: Somebody else.\n")
    write(tmp_path, "cara")
    (tmp_path / "anna.yaml").unlink()
    assert {key: persona.name for key, persona in shelf.items()} == {"ben": "Benedict", "cara": "Cara"}


def test_a_faulty_file_is_named_and_the_persona_stays_as_it_was(shelf: PersonaShelf, tmp_path: Path) -> None:
    write(tmp_path, "ben", "name: Benedict\nprofile: Somebody.\nvoce: Low.\n")
    write(tmp_path, "cara", "name: [")
    assert {key: persona.name for key, persona in shelf.items()} == {"anna": "Anna", "ben": "Ben"}
    assert set(shelf.faults) == {"ben.yaml", "cara.yaml"}
    assert "did you mean 'voice'?" in shelf.faults["ben.yaml"]
    write(tmp_path, "ben", "name: Benedict\nprofile: Somebody.\n")
    (tmp_path / "cara.yaml").unlink()
    assert shelf["ben"].name == "Benedict" and shelf.faults == {}


def test_of_two_with_one_name_the_first_is_shown(shelf: PersonaShelf, tmp_path: Path) -> None:
    write(tmp_path, "zoe", "name: Anna\nprofile: Another.\n")
    assert set(shelf) == {"anna", "ben"} and "is taken by 'anna.yaml'" in shelf.faults["zoe.yaml"]
    write(tmp_path, "anna", "name: Annabel\nprofile: Somebody.\n")
    assert set(shelf) == {"anna", "ben", "zoe"} and shelf.faults == {}


def test_a_folder_that_is_gone_for_a_moment_ends_nothing(shelf: PersonaShelf, tmp_path: Path) -> None:
    tmp_path.rename(tmp_path.with_name("moved"))
    assert set(shelf) == {"anna", "ben"}


def test_a_folder_without_one_good_file_is_refused_with_its_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no persona files"):
        PersonaShelf(tmp_path)
    write(tmp_path, "ben", "name: Ben")
    with pytest.raises(InputError, match="field 'profile' is missing"):
        PersonaShelf(tmp_path)


def test_unchanged_files_are_not_read(shelf: PersonaShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr("her.characters.persona_shelf.load_persona", lambda path: read.append(path))
    assert len(shelf) == 2 and read == []


SLIPS = {
    "<role_thinkng>Why?</role_thinking> Yes.": "'<role_thinkng>', which is none (line 3); did you mean '<role_thinking>'?",
    "<role_thinking>Why?</role_thinkin> Yes.": "did you mean '</role_thinking>'?",
    "<Role Acton>nods</role_action>": "did you mean '<role_action>'?",
    "<system_thnking>x</system_thinking>": "did you mean '<system_thinking>'?",
}


@pytest.mark.parametrize(("text", "sentence"), SLIPS.items(), ids=SLIPS)
def test_a_misspelt_tag_is_an_error(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, "ben", f"name: Ben\nprofile: x\ngreetings: ['{text}']\n")
    with pytest.raises(InputError) as caught:
        load_persona(path)
    assert sentence in str(caught.value) and "'greetings" in str(caught.value)
    assert any(sentence in problem for problem in validate(tmp_path))


@pytest.mark.parametrize(
    "text", ["Is 3 < 4 > 2?", "<thank> you", "a <b>bold</b> word", "<3", "<the sea>", "<role_thinking>x</role_thinking>"]
)
def test_other_angle_brackets_are_no_error(tmp_path: Path, text: str) -> None:
    assert load_persona(write(tmp_path, "ben", f"name: Ben\nprofile: '{text}'\n")).profile == text


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a folder", "a device"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    write(tmp_path, "anna")
    path = tmp_path / "ben.yaml"
    if kind == "a link":
        path.symlink_to(tmp_path / "anna.yaml")
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(InputError, match=f"is {kind}, not a file; put the file itself there"):
        load_persona(path)
    if kind != "a device":
        assert list(PersonaShelf(tmp_path)) == ["anna"]
