"""The file of a playtest: what is read, and what each fault is told."""

from pathlib import Path

import pytest

from her.characters.personas import load_personas
from her.characters.scenes import load_scenes
from her.errors import InputError
from her.feedback.playtest import Playtest, check_places, load_playtest
from her.files.yaml import MAX_BYTES

EXAMPLE = Path(__file__).parents[2] / "personas" / "playtests" / "evening.yaml"
GOAL = "goal: {en: Talk., zh: 聊聊。}"
MISSION = f"{{id: one, persona: falstaff, {GOAL}}}"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "evening.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_example_loads_and_names_what_is_there() -> None:
    playtest = load_playtest(EXAMPLE)
    check_places(playtest, load_personas(), load_scenes())
    assert playtest.consent is not None and playtest.consent.version == "2026-11"
    assert [playtest.every(mission.id) for mission in playtest.missions] == [4, 3, 0]
    assert [arm.thinking for arm in playtest.comparisons.arms] == ["full", "full", "no_plan"]
    assert playtest.comparisons.arms[1].sampling.temperature == 1.1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: Plain", Playtest(name="Plain")),
        (f"name: x\nmissions: [{MISSION}]", {"people": 1, "least_turns": 4, "rate": (), "every": None, "plays": ""}),
        (f"name: x\nmissions: [{{id: one, scene: fog, as: Watson, {GOAL}}}]", {"plays": "Watson", "scene": "fog", "persona": ""}),
    ],
    ids=["without missions", "defaults of a mission", "a character of a scene"],
)
def test_what_is_read(tmp_path: Path, text: str, expected: Playtest | dict[str, object]) -> None:
    playtest = load_playtest(written(tmp_path, text))
    if isinstance(expected, Playtest):
        assert playtest == expected
    else:
        assert {name: getattr(playtest.missions[0], name) for name in expected} == expected


FAULTS = {
    "misspelt key": ("name: x\nmisions: []", "unknown key 'misions' (line 2); did you mean 'missions'?"),
    "misspelt key of a mission": (
        f"name: x\nmissions:\n  - id: one\n    persona: a\n    least_turn: 3\n    {GOAL}",
        "unknown key 'missions.1.least_turn' (line 5); did you mean 'least_turns'?",
    ),
    "the name in the program for `as`": (
        f"name: x\nmissions:\n  - id: one\n    scene: a\n    plays: Watson\n    {GOAL}",
        "unknown key 'missions.1.plays' (line 5)",
    ),
    "no name": ("missions: []", "field 'name' is missing"),
    "no language": ("name: x\nconsent: {version: v1, en: Yes.}", "field 'consent.zh' is missing"),
    "version that is a number": ("name: x\nconsent: {version: 1, en: a, zh: b}", "field 'consent.version' is 1, a number"),
    "version with blanks": ("name: x\nconsent: {version: one two, en: a, zh: b}", "'consent.version' (line 2) is 'one two'"),
    "no place": (f"name: x\nmissions: [{{id: one, {GOAL}}}]", "names neither a persona nor a scene"),
    "as beside a persona": (f"name: x\nmissions: [{{id: one, persona: a, as: b, {GOAL}}}]", "has 'as' beside a persona"),
    "two of one id": (f"name: x\nmissions: [{MISSION}, {MISSION}]", "two missions with the id 'one'"),
    "unknown dimension": (
        f"name: x\nmissions: [{{id: one, persona: a, rate: [beauty], {GOAL}}}]",
        "field 'missions.1.rate.1' (line 2) is 'beauty', which is no dimension of the rubric; write in_character,",
    ),
    "dimension twice": (f"name: x\nmissions: [{{id: one, persona: a, rate: [voice, voice], {GOAL}}}]", "'voice' twice"),
    "no people": (f"name: x\nmissions: [{{id: one, persona: a, people: 0, {GOAL}}}]", "'missions.1.people' is 0 (line 2)"),
    "people in quotes": (
        f"name: x\nmissions: [{{id: one, persona: a, people: '3', {GOAL}}}]",
        "field 'missions.1.people' is '3'",
    ),
    "octal number": (f"name: x\nmissions: [{{id: one, persona: a, people: 012, {GOAL}}}]", "'012'"),
    "time for a number": (f"name: x\nmissions: [{{id: one, persona: a, people: 1:30, {GOAL}}}]", "'1:30'"),
    "half a turn": (f"name: x\nmissions: [{{id: one, persona: a, least_turns: 1.5, {GOAL}}}]", "'missions.1.least_turns' is 1.5"),
    "endless goal": (f"name: x\nmissions: [{{id: one, persona: a, goal: {{en: {'a' * 1001}, zh: b}}}}]", "at most 1000 char"),
    "one arm": ("name: x\ncomparisons: {arms: [{name: a}]}", "has one arm; a comparison needs two"),
    "arms of one name": ("name: x\ncomparisons: {arms: [{name: a}, {name: a}]}", "two arms with the name 'a'"),
    "comparisons without arms": ("name: x\ncomparisons: {every: 4}", "names no arms"),
    "a mission's comparisons without arms": (
        f"name: x\nmissions: [{{id: one, persona: a, every: 2, {GOAL}}}]",
        "asks for comparisons but names no arms",
    ),
    "all are catch pairs": ("name: x\ncomparisons: {every: 0, catch: 1.0}", "field 'comparisons.catch' is 1.0 (line 2)"),
    "not a share": ("name: x\ncomparisons: {every: 0, repeat: .nan}", "'.nan'"),
    "unknown thinking": (
        "name: x\ncomparisons: {arms: [{name: a, thinking: none}, {name: b}]}",
        "field 'comparisons.arms.1.thinking' is 'none' (line 2); write 'full', 'no_plan' or 'no_thoughts'",
    ),
    "hot": ("name: x\ncomparisons: {arms: [{name: a, sampling: {temperature: 9}}, {name: b}]}", "sampling.temperature' is 9"),
    "alias": ("name: &a x\nconsent: {version: *a, en: a, zh: b}", "uses the alias '*a'"),
    "tag": ("name: !!python/object/apply:os.system [ls]", "field 'name' is a list"),
    "empty": ("", "holds no mapping"),
    "too large": ("name: " + "x" * MAX_BYTES, "at most"),
}


@pytest.mark.parametrize(("text", "sentence"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_named_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        load_playtest(written(tmp_path, text))
    assert sentence in str(caught.value) and str(caught.value).startswith("playtest 'evening.yaml'")
    assert str(tmp_path) not in str(caught.value)


def test_a_mission_whose_persona_is_missing_names_the_nearest(tmp_path: Path) -> None:
    playtest = load_playtest(written(tmp_path, f"name: x\nmissions: [{MISSION}]"))
    with pytest.raises(InputError, match="'one' names the persona 'falstaff'; did you mean 'falstaf'"):
        check_places(playtest, ["falstaf", "ahab"], [])
