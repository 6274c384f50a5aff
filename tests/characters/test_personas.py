"""her/characters/personas.py and her/files/yaml.py: one sentence for every mistake; files survive a round trip."""

import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from her.characters import personas
from her.errors import InputError
from her.files.yaml import MAX_BYTES, YamlFile
from her.types import Example, Exchange, Persona

GOOD = """\
name: Elara
language: en
colour: "#5b3a29"
tags: [sea, wit]
profile: |
  Keeps the light.
greetings:
  - "[A sail?] (lifts the lamp) Who goes there?"
exchanges:
  - cues: [hello, good evening]
    plan: I need to portray Elara as wary.
    reply: "[He is wet through.] (opens the door) Come in, {visitor}."
  - anytime: true
    reply: Storms pass.
"""
YOURS = Path(__file__).resolve().parents[2] / "personas"


def write(folder: Path, text: str | bytes, name: str = "elara.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    persona = personas.load_persona(write(tmp_path, GOOD))
    assert (persona.id, persona.name, persona.tags) == ("elara", "Elara", ("sea", "wit"))
    assert persona.profile == "Keeps the light."
    assert persona.exchanges[1] == Exchange(reply="Storms pass.", anytime=True)
    assert personas.cast_member(persona).persona == "elara"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    assert personas.load_persona(write(tmp_path, b"\xef\xbb\xbf" + GOOD.encode())).name == "Elara"


SLIPS = [
    ('greeting: ""\n', "persona 'elara.yaml': field 'greeting' is empty (line 15); write one line or delete it"),
    ("motivation:\n", "field 'motivation' is empty (line 15); write one line or delete it"),
    ("voice: '  '\n", "field 'voice' is empty (line 15)"),
    ("greting: [hello]\n", "unknown key 'greting' (line 15); did you mean 'greetings'?"),
    ("zzz: hello\n", "unknown key 'zzz' (line 15); the keys here are name, source, language"),
    ("id: other\n", "unknown key 'id' (line 15); it is taken from the file's name, delete it"),
    ("name: Other\n", "key 'name' appears twice, on lines 1 and 15; keep one of them"),
    ("source: 1813\n", "field 'source' is '1813', which YAML does not read as text (line 15); put it in quotes"),
    ("source: 1813-01-28\n", "field 'source' is '1813-01-28', which YAML does not read as text (line 15); put it in quotes"),
    ("source: !!python/object/apply:os.system [ls]\n", "field 'source' is a list (line 15); write a text"),
    ("source: !!python/name:os.system x\n", "which YAML does not read as text (line 15)"),
    ("voice: [low, warm]\n", "field 'voice' is a list (line 15); write a text"),
    ("examples: none\n", "field 'examples' is 'none' (line 15); write a list (lines that begin with '- ')"),
    ("examples: [hello]\n", "field 'examples.1' is 'hello' (line 15); write a mapping (lines 'key: text')"),
    (
        "examples: [{visitor: a, reply: b, cue: c}]\n",
        "unknown key 'examples.1.cue' (line 15); the keys here are visitor, reply, plan",
    ),
    ("examples: [{visitor: a}]\n", "field 'examples.1.reply' is missing (line 15); write it"),
    ("source: no\n", "field 'source' is a bare yes, no, true or false (read as false) (line 15); put it in quotes"),
    ('source: "a\\0b"\n', "field 'source' holds the control character U+0000 (line 15); delete it"),
    ('source: "a\\ud800b"\n', "line 15"),
    ("12: twelve\n", "line 15 has a key that is not a word; put it in quotes or delete it"),
    ("? [a, b]\n: c\n", "line 15 has a key that is not a word"),
    ("<<: {voice: low}\n", "line 15 has a key that is not a word"),
    ("voice: &v low\nsource: *v\n", "line 16 uses the alias '*v'; write the text out"),
    ("voice: " + "[" * 40 + "]" * 40 + "\n", "nested more than 16 deep at line 15"),
    ("voice: Name: Elara\n", "not YAML at line 15, column 12"),
    ("voice: 'open\n", "not YAML at line 16"),
    ("---\nname: Two\n", "not YAML at line 15"),
]


@pytest.mark.parametrize(("line", "sentence"), SLIPS, ids=[slip[0][:24].strip() for slip in SLIPS])
def test_a_slip_is_named(tmp_path: Path, line: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        personas.load_persona(write(tmp_path, GOOD + line))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("persona 'elara.yaml'")
    assert "\n" not in str(caught.value)


CHANGED = [
    ("language: en", "language: fr", "field 'language' is 'fr' (line 2); write 'en' or 'zh'"),
    ('"#5b3a29"', "brown", "field 'colour' is 'brown' (line 3); write # and six hexadecimal digits, such as '#7a4e2d'"),
    ("name: Elara\n", "", "field 'name' is missing; write it"),
    ("anytime: true", "anytime: always", "field 'exchanges.2.anytime' is 'always' (line 13); write true or false"),
    (
        "good evening",
        "yes",
        "field 'exchanges.1.cues.2' is a bare yes, no, true or false (read as true) (line 10)",
    ),
    (
        "- anytime: true\n    reply",
        "- reply",
        "field 'exchanges.2' (line 13) has neither cues nor 'anytime: true'",
    ),
    ("cues: [hello", "cue: [hello", "unknown key 'exchanges.1.cue' (line 10); did you mean 'cues'?"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), CHANGED, ids=[row[1][:20] or "without name" for row in CHANGED])
def test_a_wrong_value_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        personas.load_persona(write(tmp_path, GOOD.replace(old, new)))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no mapping"),
        (b"- a\n- b\n", "holds no mapping"),
        (b"just words", "holds no mapping"),
        (b"name: \xff\xfe", "byte 6 is not UTF-8; save the file as UTF-8"),
        (b"\x00\x01", "not YAML"),
        (b"name: " + b"a" * MAX_BYTES, "512,006 bytes; at most 512,000 are read"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        personas.load_persona(write(tmp_path, content))


def test_aliases_cannot_grow(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(InputError, match="uses the alias"):
        personas.load_persona(write(tmp_path, bomb))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"persona 'none.yaml': cannot be read \(No such file"):
        personas.load_persona(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is not a folder"):
        personas.load_personas(tmp_path / "none")
    with pytest.raises(InputError, match="no persona files"):
        personas.load_personas(tmp_path)


def test_several_problems_are_counted_and_all_listed(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "voice:\nsource:\ncolor: x\n")
    with pytest.raises(InputError, match=r"field 'voice' is empty.*\(and 2 more\)$"):
        personas.load_persona(tmp_path / "elara.yaml")
    assert len(personas.validate(tmp_path)) == 3


DOUBTS = [
    ('"#5b3a29"', '"#c0a080"', "gives white letters a contrast of 2.4; choose a darker one (at least 4.5)"),
    ("{visitor}", "{user}", "field 'exchanges.1.reply' has the slot '{user}', which has no value"),
    ("as wary", "as {mood}", "field 'exchanges.1.plan' has the slot '{mood}', which has no value"),
    ("[A sail?] (lifts", "[A sail? (lifts", "field 'greetings.1' has the defect"),
    ("Storms pass.", "(shrugs", "field 'exchanges.2.reply' has the defect missing_close"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), DOUBTS, ids=[row[1] for row in DOUBTS])
def test_validate_reads_notation_and_colour(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    write(tmp_path, GOOD.replace(old, new))
    problems = personas.validate(tmp_path)
    assert problems and all(problem.startswith("persona 'elara.yaml': ") for problem in problems)
    assert any(sentence in problem for problem in problems), problems


def test_validate_is_silent_when_all_is_well_and_names_a_shared_name(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert personas.validate(tmp_path) == []
    write(tmp_path, GOOD, "twin.yaml")
    assert personas.validate(tmp_path) == [
        "persona 'twin.yaml': the name 'Elara' is taken by 'elara.yaml'; no two personas share one",
    ]


def test_the_report_counts(tmp_path: Path) -> None:
    counts = personas.report(personas.load_persona(write(tmp_path, GOOD)))
    assert (counts.exchanges, counts.all_kinds, counts.anytime, counts.patterns) == (2, 1, 1, 2)
    assert counts.entropy == pytest.approx(1.0)
    assert counts.top == 0.5
    assert str(counts).startswith("elara: 2 exchanges, 1 with all four kinds")


@pytest.mark.parametrize(("colour", "ratio"), [("#000000", 21.0), ("#ffffff", 1.0), ("#767676", 4.54)])
def test_contrast(colour: str, ratio: float) -> None:
    assert personas.contrast_with_white(colour) == pytest.approx(ratio, abs=0.01)


ALPHABET = string.ascii_letters + string.digits + " \n'\"#:-[](){}&*!|>%@`~,.?<>=茶馆，。“”é—🙂\t"
TEXTS = st.text(ALPHABET, min_size=1, max_size=200).map(str.strip).filter(bool)
EXCHANGES = st.builds(
    Exchange, reply=TEXTS, plan=TEXTS, cues=st.lists(TEXTS, min_size=1, max_size=3).map(tuple), anytime=st.booleans()
)
PERSONAS = st.builds(
    Persona,
    id=st.just("someone"),
    name=TEXTS,
    source=TEXTS,
    language=st.sampled_from(["en", "zh"]),
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    profile=TEXTS,
    greetings=st.lists(TEXTS, max_size=2).map(tuple),
    examples=st.lists(st.builds(Example, visitor=TEXTS, reply=TEXTS), max_size=2).map(tuple),
    exchanges=st.lists(EXCHANGES, max_size=3).map(tuple),
)


@given(persona=PERSONAS)
@settings(max_examples=40)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, persona: Persona) -> None:
    path = personas.save_persona(persona, tmp_path_factory.getbasetemp())
    assert personas.load_persona(path) == persona
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


def test_a_saved_file_reads_well(tmp_path: Path) -> None:
    long = "She keeps the lamp, the log and her own counsel, " * 4
    persona = personas.load_persona(write(tmp_path, GOOD)).model_copy(update={"profile": long.strip(), "voice": "Low.\nDry."})
    text = personas.save_persona(persona, tmp_path).read_text("utf-8")
    assert "tags: [sea, wit]\n" in text
    assert "profile: >-\n  She keeps" in text
    assert "voice: |-\n  Low.\n  Dry.\n" in text
    assert "    plan: I need to portray Elara as wary.\n" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "elara.yaml"]


def test_an_id_cannot_leave_the_folder(tmp_path: Path) -> None:
    persona = personas.load_persona(write(tmp_path, GOOD)).model_copy(update={"id": "../elara"})
    with pytest.raises(InputError, match="cannot name a file"):
        personas.save_persona(persona, tmp_path)


@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))))
def test_no_content_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), content, "any.yaml")
    try:
        file = YamlFile(path, "persona")
        file.require(file.build(Persona, id="any"))
    except InputError as error:
        assert str(error).startswith("persona 'any.yaml'")


@pytest.mark.parametrize("name", ["my hero.yaml", "a+b.yaml", "what?.yaml"])
def test_a_file_whose_name_is_no_id_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="the file's name is the id; use letters"):
        personas.load_persona(write(tmp_path, GOOD, name))
    assert len(personas.validate(tmp_path)) == 1


def test_the_personas_of_the_house_are_well() -> None:
    assert personas.validate(YOURS) == []


def test_there_are_enough_personas_in_both_languages() -> None:
    languages = [persona.language for persona in personas.load_personas(YOURS).values()]
    assert len(languages) >= 14 and languages.count("zh") >= 4


@pytest.mark.parametrize("path", personas.persona_files(YOURS), ids=lambda path: path.stem)
def test_written_exchanges_are_many_and_various(path: Path) -> None:
    counts = personas.report(personas.load_persona(path))
    assert counts.all_kinds >= 24
    assert counts.entropy >= 2.2 and counts.top <= 0.5
