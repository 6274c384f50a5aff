"""her/characters/personas.py: personas are loaded, saved as they were, validated and counted."""

import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from her.characters import personas
from her.errors import InputError
from her.types import Example, Exchange, Persona
from tests.characters.persona_files import GOOD, write

YOURS = Path(__file__).resolve().parents[2] / "personas"


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    persona = personas.load_persona(write(tmp_path, GOOD))
    assert (persona.id, persona.name, persona.tags) == ("elara", "Elara", ("sea", "wit"))
    assert persona.profile == "Keeps the light."
    assert persona.exchanges[1] == Exchange(reply="Storms pass.", anytime=True)
    assert personas.cast_member(persona).persona == "elara"


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"persona 'none.yaml': cannot be read \(No such file"):
        personas.load_persona(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is not a folder"):
        personas.load_personas(tmp_path / "none")
    with pytest.raises(InputError, match="no persona files"):
        personas.load_personas(tmp_path)


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


@pytest.mark.whole
@given(persona=PERSONAS)
@settings(max_examples=40)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, persona: Persona) -> None:
    path = personas.save_persona(persona, tmp_path_factory.getbasetemp())
    assert personas.load_persona(path) == persona
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)


def test_an_id_cannot_leave_the_folder(tmp_path: Path) -> None:
    persona = personas.load_persona(write(tmp_path, GOOD)).model_copy(update={"id": "../elara"})
    with pytest.raises(InputError, match="cannot name a file"):
        personas.save_persona(persona, tmp_path)


def test_the_personas_of_this_repository_have_no_problems() -> None:
    assert personas.validate(YOURS) == []


def test_there_are_enough_personas_in_both_languages() -> None:
    languages = [persona.language for persona in personas.load_personas(YOURS).values()]
    assert len(languages) >= 14 and languages.count("zh") >= 4


@pytest.mark.parametrize("path", personas.persona_files(YOURS), ids=lambda path: path.stem)
def test_written_exchanges_are_many_and_various(path: Path) -> None:
    counts = personas.report(personas.load_persona(path))
    assert counts.all_kinds >= 24
    assert counts.entropy >= 2.2 and counts.top <= 0.5
