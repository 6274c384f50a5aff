"""Choice of the files of a folder that hold scenes, and of one of two files with the same scenes."""

import json
from pathlib import Path

import pytest

from her.characters.coser import stable_id
from her.errors import InputError
from her.training_data.samples import samples
from her.types import Sample
from pipelines.synthesize.outputs.exports import trl_table
from pipelines.synthesize.sources.finished_books import finished_files, read_scenes
from tests.characters.test_her_dataset import ROW
from tests.pipelines.synthesize.books import lines, write_book


def listed(*paths: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the files to read, and what was skipped."""
    skipped: list[tuple[str, str]] = []
    files = finished_files(paths, lambda where, reason: skipped.append((where, reason)))
    return [path.name for path in files], skipped


def test_books_and_the_released_dataset_are_read_together(tmp_path: Path) -> None:
    write_book(tmp_path, "Lamp")
    for name in ("full_info", "clean", "sft_multi_turn"):
        (tmp_path / f"HER_dataset_{name}.jsonl").write_text(json.dumps(ROW) + "\n", "utf-8")
    files, skipped = listed(tmp_path)
    assert files == ["HER_dataset_full_info.jsonl", "Lamp.json"]
    assert [where for where, _ in skipped] == ["HER_dataset_clean.jsonl", "HER_dataset_sft_multi_turn.jsonl"]
    assert len(list(read_scenes([tmp_path / name for name in files], lambda where, reason: None))) == 3
    assert listed(tmp_path / "HER_dataset_clean.jsonl")[0] == ["HER_dataset_clean.jsonl"]


def test_of_one_book_twice_the_larger_file_is_read(tmp_path: Path) -> None:
    write_book(tmp_path, "Tess of the D’Urbervilles", plots=1)
    write_book(tmp_path, "Tess_of_the_D'Urbervilles", plots=3)
    files, skipped = listed(tmp_path)
    assert files == ["Tess_of_the_D'Urbervilles.json"]
    assert skipped == [("Tess of the D’Urbervilles.json", "the same book as the larger 'Tess_of_the_D'Urbervilles.json'")]


def test_a_scene_in_two_files_is_read_once(tmp_path: Path) -> None:
    case = {"book": "The Lamp", "i_p": 1, "i_c": 0, "dialogues": lines("x", 1)}
    for name in ("test_set", "copy"):
        (tmp_path / f"{name}.json").write_text(json.dumps([case]), "utf-8")
    skipped: list[str] = []
    scenes = list(read_scenes(sorted(tmp_path.glob("*.json")), lambda where, reason: skipped.append(f"{where}: {reason}")))
    assert len(scenes) == 1
    assert skipped[-1] == "test_set.json: plot 1, conversation 0 of The Lamp was in an earlier file"


def test_a_path_without_scenes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of scenes"):
        listed(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        listed(tmp_path / "none")


def test_neighbouring_lines_of_one_speaker_are_one_turn_with_both_ids(tmp_path: Path) -> None:
    said = [("Ann", "[Now.] Go."), ("Ann", "(points) There."), ("Bo", "Where?")]
    case = {"book": "The Lamp", "i_p": 1, "i_c": 0, "dialogues": [{"character": who, "message": text} for who, text in said]}
    (tmp_path / "case.json").write_text(json.dumps([case]), "utf-8")
    (scene,) = read_scenes([tmp_path / "case.json"], lambda where, reason: None)
    ids = [stable_id(scene.id, number) for number in range(3)]
    assert [(turn.id, *turn.merged) for turn in scene.turns] == [(ids[0], ids[1]), (ids[2],)]
    ann, bo = (row for row in samples(scene.transcript(), plans=False) if isinstance(row, Sample))
    assert ann.messages[-1].content == (
        "Ann: <role_thinking>Now.</role_thinking>Go.<role_action>points</role_action>There."
    ) and bo.messages[1].content.endswith("Ann: Go.<role_action>points</role_action>There.")
    assert trl_table([ann, bo]).column("merged").to_pylist() == [[ids[1]], []]


def test_a_profile_is_as_of_the_beginning_of_its_scene(tmp_path: Path) -> None:
    keeper, burns = "Ann keeps the lamp of the harbour.", "Ann burns the wooden boats of the smugglers in the winter storm."
    ending = "Ultimately, the harbour drives her away."
    told = ["The harbour needs a keeper.", "In a winter storm Ann burns the wooden boats of the smugglers."]
    plots = [{"i_p": at, "summary": text, "conversation": [{"dialogues": lines("x", at)}]} for at, text in enumerate(told)]
    content = {"plots": plots, "character_datasets": {"Ann": {"profile": f"{keeper} {burns} {ending}"}}}
    for plot in plots:
        plot["conversation"][0]["major_characters"] = ["Ann"]  # type: ignore[index]
    (tmp_path / "lamp.json").write_text(json.dumps(content), "utf-8")
    skipped: list[str] = []

    def profiles(hold_back: bool) -> list[str]:
        scenes = read_scenes([tmp_path / "lamp.json"], lambda where, reason: skipped.append(reason), hold_back)
        return [scene.transcript().member("Ann").profile for scene in scenes]

    assert profiles(False) == [f"{keeper} {burns} {ending}"] * 2
    assert not any("later" in reason for reason in skipped)
    assert profiles(True) == [keeper, f"{keeper} {burns}"]
    assert skipped[-1] == "3 sentences of profiles that tell of later than their scene (books_to_scenes.hold_back)"
