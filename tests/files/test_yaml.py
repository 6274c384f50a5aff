"""her/files/yaml.py: one sentence for every mistake, and files that stay readable; the file is a persona."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.characters import personas
from her.errors import InputError
from her.files.yaml import MAX_BYTES, YamlFile
from her.types import Persona
from tests.characters.persona_files import GOOD, write


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


def test_several_problems_are_counted_and_all_listed(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "voice:\nsource:\ncolor: x\n")
    with pytest.raises(InputError, match=r"field 'voice' is empty.*\(and 2 more\)$"):
        personas.load_persona(tmp_path / "elara.yaml")
    assert len(personas.validate(tmp_path)) == 3


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


def test_a_saved_file_reads_well(tmp_path: Path) -> None:
    long = "She keeps the lamp, the log and her own counsel, " * 4
    persona = personas.load_persona(write(tmp_path, GOOD)).model_copy(update={"profile": long.strip(), "voice": "Low.\nDry."})
    text = personas.save_persona(persona, tmp_path).read_text("utf-8")
    assert "tags: [sea, wit]\n" in text
    assert "profile: >-\n  She keeps" in text
    assert "voice: |-\n  Low.\n  Dry.\n" in text
    assert "    plan: I need to portray Elara as wary.\n" in text
    assert list(tmp_path.iterdir()) == [tmp_path / "elara.yaml"]
