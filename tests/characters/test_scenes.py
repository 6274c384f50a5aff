"""her/characters/scenes.py: scene files, and the sentence for every mistake in one."""

from pathlib import Path

import pytest

from her.characters import personas, scenes

SCENE = """\
title: The supper room
language: en
place: the supper room
setting: Candles, and a dance just over.
opening: A fork falls; nobody looks.
personas: [elara]
tags: [ball]
"""


def test_scenes_are_read_by_id(tmp_path: Path) -> None:
    (tmp_path / "supper.yaml").write_text(SCENE, "utf-8")
    found = scenes.load_scenes(tmp_path)
    assert list(found) == ["supper"]
    assert (found["supper"].id, found["supper"].place) == ("supper", "the supper room")
    assert scenes.load_scenes(tmp_path / "none") == {}
    assert scenes.validate_scenes(tmp_path, frozenset({"elara"})) == []


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("place: the supper room", "place:", "scene 'supper.yaml': field 'place' is empty (line 3); write one line or delete it"),
        ("opening", "openning", "unknown key 'openning' (line 5); did you mean 'opening'?"),
        ("[elara]", "[nobody]", "field 'personas' names 'nobody', but there is no 'nobody.yaml'; correct or delete it"),
        ("title: The supper room\n", "", "field 'title' is missing; write it"),
        ("setting: Candles, and a dance just over.\n", "", "field 'setting' is missing; write it"),
        (SCENE, "[]", "holds no mapping"),
    ],
)
def test_a_wrong_scene_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    (tmp_path / "supper.yaml").write_text(SCENE.replace(old, new), "utf-8")
    (problem,) = scenes.validate_scenes(tmp_path, frozenset({"elara"}))
    assert sentence in problem


def test_the_scenes_of_the_house_are_well() -> None:
    folder = Path(__file__).resolve().parents[2] / "personas"
    ids = frozenset(path.stem for path in personas.persona_files(folder))
    assert scenes.validate_scenes(folder / "scenes", ids) == []
    assert len(scenes.load_scenes(folder / "scenes")) >= 8
