"""her/characters/her_dataset.py: rows of the released HER dataset become scenes."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.characters import coser as scenarios
from her.characters.coser import BookScene
from her.characters.her_dataset import read_rows
from her.errors import InputError
from her.types import ENVIRONMENT

LINES: list[Any] = [
    {"character": ENVIRONMENT, "message": "Rain [hard rain] beats.", "origin_id": [0]},
    {
        "character": "Mara",
        "message": "[No.] (turns) Hold on.",
        "standard_format": "<role_thinking>No.</role_thinking><role_action>turns</role_action>Hold on.",
        "enhanced_standard_format": "<role_thinking>Not tonight.</role_thinking><role_action>turns</role_action>On (please).",
        "sys_thinking": "Draft.",
        "sys_thinking_revised": "Mara must hold the flame.",
        "origin_id": [1, 2],
    },
    {
        "character": "Tom",
        "message": "[Cold.] Aye.",
        "standard_format": "<role_thinking>Cold.</role_thinking>Aye.",
        "origin_id": [3],
    },
]
ROW: dict[str, Any] = {
    "text": "It rained.",
    "summary": "The light goes out.",
    "chapter": "Chapter 1",
    "i_p": 4,
    "key_characters": [{"name": "Tom", "description": "The boy."}],
    "trace_id_book_chapter": "The_Lamp_Chapter 1_3_0",
    "conversation": [
        {
            "scenario": "Night.",
            "scenario_enriched": "Night, at the lighthouse.",
            "topic": "The lamp",
            "i_c": 0,
            "key_characters": [{"name": "Tom", "motivation": "To sleep."}],
            "major_characters": ["Mara"],
            "dialogues": LINES,
        }
    ],
    "character_datasets": {
        "Mara": {
            "book_name": "The Lamp",
            "character_profile": "A keeper.",
            "character_profile_enriched": "A keeper of few words.",
            "background": "The light goes out.",
            "motivation": "To keep it burning.",
            "description": "The keeper.",
            "experience": "She loses the lamp.",
        },
        "Tom": {"book_name": "The Lamp", "character_profile": "", "background": "Came by boat."},
    },
}


def read(folder: Path, *rows: Any) -> tuple[list[BookScene], list[str]]:
    path = folder / "HER_dataset_full_info.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    skipped: list[str] = []
    return list(read_rows(path, lambda where, reason: skipped.append(f"{where}: {reason}"))), skipped


def test_a_row_is_a_scene_in_its_latest_spelling(tmp_path: Path) -> None:
    (scene,), skipped = read(tmp_path, ROW)
    assert skipped == []
    assert (scene.book, scene.plot, scene.conversation, scene.passage) == ("The Lamp", 4, 0, "It rained.")
    assert scene.scenario.setting == "Night, at the lighthouse."
    mara, tom = scene.cast
    assert (mara.profile, mara.motivation) == ("The keeper.\n\nA keeper of few words.", "To keep it burning.")
    assert (tom.profile, tom.motivation, tom.background) == ("The boy.", "To sleep.", "Came by boat.")
    assert scene.experiences == {"Mara": "She loses the lamp."}


def test_the_plots_summary_is_no_background(tmp_path: Path) -> None:
    assert read(tmp_path, ROW)[0][0].cast[0].background == ""


def test_turns_have_plans_and_tags(tmp_path: Path) -> None:
    environment, mara, tom = read(tmp_path, ROW)[0][0].turns
    assert environment.text("speech") == "Rain [hard rain] beats."
    assert [(part.kind, part.text) for part in mara.parts] == [
        ("system_thinking", "Mara must hold the flame."),
        ("role_thinking", "Not tonight."),
        ("role_action", "turns"),
        ("speech", "On (please)."),
    ]
    assert [(part.kind, part.text) for part in tom.parts] == [("role_thinking", "Cold."), ("speech", "Aye.")]


def test_ids_are_those_of_the_books_lines(tmp_path: Path) -> None:
    scene = read(tmp_path, ROW)[0][0]
    assert scene.id == scenarios.stable_id("The Lamp", 4, 0)
    ids = [scenarios.stable_id(scene.id, number) for number in range(4)]
    assert [(turn.id, *turn.merged) for turn in scene.turns] == [(ids[0],), (ids[1], ids[2]), (ids[3],)]
    claimed = {**ROW, "conversation": [{**ROW["conversation"][0], "dialogues": [LINES[1], LINES[1]]}]}
    one, two = read(tmp_path, claimed)[0][0].turns
    assert one.id != two.id


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "line 2: not JSON"),
        ("3", "line 2: int instead of an object"),
        (ROW, "line 2: plot 4, conversation 0 of The Lamp appears twice"),
        ({**ROW, "i_p": 5, "conversation": []}, "line 2: plot 5 of The Lamp: no conversation"),
        ({**ROW, "i_p": 5, "conversation": None}, "no conversation"),
        ({**ROW, "i_p": 5, "conversation": [{"dialogues": [{"character": "Mara"}]}]}, "Mara says nothing"),
        ({**ROW, "character_datasets": None, "i_p": 5, "conversation": [{}]}, "no dialogues"),
    ],
)
def test_what_is_left_out_is_named(tmp_path: Path, row: Any, reason: str) -> None:
    scenes, skipped = read(tmp_path, ROW, row, {**ROW, "i_p": 9})
    assert [scene.plot for scene in scenes] == [4, 9]
    assert reason in "; ".join(skipped)


def test_the_trace_id_names_the_book_only_where_nobody_does(tmp_path: Path) -> None:
    nameless = {**ROW, "character_datasets": {}}
    assert read(tmp_path, nameless)[0][0].book == "The_Lamp"
    assert read(tmp_path, {**nameless, "trace_id_book_chapter": ""})[0][0].book == "HER_dataset_full_info"


def test_chats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1 is a chat.*full_info or clean"):
        read(tmp_path, {"messages": []})
    with pytest.raises(InputError, match="cannot be read"):
        list(read_rows(tmp_path / "none.jsonl", lambda where, reason: None))
