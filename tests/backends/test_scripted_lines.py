"""her/backends/scripted_lines.py: tokens, slots, and which line a sentence finds."""

from pathlib import Path

import pytest

from her.backends.scripted_lines import Lines, split_tokens
from her.characters.personas import load_personas
from her.format import parse
from her.types import Exchange
from tests.backends.test_scripted import ANN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("You're baking BREADS?", ["you", "are", "bak", "bread"]),
        ("Hi!", ["hello"]),
        ("你好ann", ["你", "好", "你好", "ann"]),
        ("１２ ＡＢ", ["12", "ab"]),
        ("!?", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert split_tokens(text) == expected


@pytest.mark.parametrize("name", ["{place}", "[x] (y)", "<role_action>x</role_action>", "{0} {visitor} %s", "A: B", "\\g<1>"])
def test_a_visitors_name_is_text_and_never_structure(name: str) -> None:
    persona = ANN.model_copy(
        update={"exchanges": (Exchange(cues=("hello",), reply="(nods) Hello, {visitor}, in {place}.", plan="p"),)}
    )
    line = Lines(persona.exchanges, "Ann").all[0]
    text = line.written("Ann", {"visitor": name, "place": "the mill", "name": "Ann"})
    parts = parse(text, "Ann", notation="her").parts
    assert [part.kind for part in parts] == ["system_thinking", "role_action", "speech"]
    assert parts[2].text == f"Hello, {name}, in the mill."


def test_a_hundred_thousand_characters_are_read_from_their_end() -> None:
    lines = Lines(ANN.exchanges, "Ann")
    assert lines.find_fitting("word " * 20_000 + ". are you afraid?")[0].cues[0] == "are you afraid?"


@pytest.mark.whole
def test_cues_of_the_personas_find_their_own_lines() -> None:
    cues = hits = 0
    for persona in load_personas(Path(__file__).resolve().parents[2] / "personas").values():
        lines = Lines(persona.exchanges, persona.name)
        for line in lines.all:
            for cue in line.cues:
                best = lines.find_fitting(cue, (persona.name,))
                cues, hits = cues + 1, hits + bool(best and cue in best[0].cues)
    assert hits / cues >= 0.99
