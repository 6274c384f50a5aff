"""Shared by the tests of evaluate: cases in both schemas of CoSER, of our own writing."""

import json
from pathlib import Path

SPOKEN = [
    ("Mira Vance", "[He has not slept.] (sets the lamp down) You are early, Doctor."),
    ("Doctor Hale", "[She must not see the letter.] I could not sleep, Miss Vance."),
    ("Environment", "Rain runs down the windows of the lighthouse."),
    ("Mira Vance", "Then you have read it."),
    ("Mira Vance", "[Say it.]"),
    ("Doctor Hale", "(folds the letter) I have."),
]


def case(number=0, *, book="The Lamp at Sorrow Point", old=False, tag="id", spoken=SPOKEN, **changes):
    """Return one test case; `old` spells its keys as the released test set does."""
    names = list(dict.fromkeys(name for name, _ in spoken))
    people = [name for name in names if name != "Environment"]
    want, happens = ("thought", "summary") if old else ("motivation", "experience")
    made = {
        "book": book,
        "i_p": number,
        "i_c": 0,
        "tag": tag,
        "scenario": f"Night {number} in the lighthouse. A letter has come with the last boat.",
        "topic": "the letter",
        "key_characters": [{"name": name, want: f"{name} wants to know what the other knows."} for name in people],
        "dialogues": [{"character": name, "message": message} for name, message in spoken],
        "speaking_characters_w_env": sorted(names, key=lambda name: -sum(name == each for each, _ in spoken)),
        "major_characters": people,
        "character_profiles": {name: f"{name} lives on Sorrow Point." for name in people},
        "plot": {
            "summary": "The Doctor burns the letter in the end.",
            "prominence": 90,
            "chapter": None,
            "i_p": number,
            "key_characters": [
                {"name": name, "description": f"{name}, of the Point.", happens: f"{name} learns the truth."} for name in people
            ],
        },
    }
    return {**made, **changes}


def write_cases(folder: Path, *cases, name="cases.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(list(cases)))
    return path
