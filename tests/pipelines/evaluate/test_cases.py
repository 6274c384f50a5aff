"""Test the cases: both schemas, every gap that CoSER's files have, and what each protocol lets the actors know."""

import pytest

from her.errors import InputError
from pipelines.evaluate.cases import read_cases
from pipelines.evaluate.protocols import PROTOCOLS, protocol_named
from tests.pipelines.evaluate.cases import SPOKEN, case, write_cases

CORRECTED, HEAD, PAPER = (PROTOCOLS[name] for name in ("corrected", "coser-head", "coser-paper"))


def only(tmp_path, *cases):
    return read_cases([write_cases(tmp_path, *cases)])[0]


@pytest.mark.parametrize(("old", "paper", "head"), [(False, True, True), (True, True, False)])
def test_motivations_of_both_schemas_by_protocol(tmp_path, old, paper, head):
    found = only(tmp_path, case(old=old))
    assert found.key == "The Lamp at Sorrow Point-0-0" and found.scene.split == "id"
    for protocol, shown in ((CORRECTED, True), (PAPER, paper), (HEAD, head)):
        assert all(bool(member.motivation) == shown for member in found.cast(protocol)), protocol.name


def test_who_begins(tmp_path):
    spoken = [("Environment", "Rain."), *SPOKEN]
    found = only(tmp_path, case(spoken=spoken))
    assert found.first(CORRECTED) == "Environment" and found.first(PAPER) == "Mira Vance"


GAPS = {
    "no tag, no index": {"tag": None, "i_p": None},
    "no plot": {"plot": None},
    "no profiles": {"character_profiles": {}},
    "no profile nor description": {"character_profiles": {}, "plot": {"summary": "x", "key_characters": []}},
    "no key characters": {"key_characters": []},
    "no list of speakers": {"speaking_characters_w_env": None},
    "no major characters": {"major_characters": []},
    "environment not listed": {"speaking_characters_w_env": ["Mira Vance", "Doctor Hale"]},
    "a listed stranger": {"speaking_characters_w_env": ["Nobody", "Mira Vance"]},
    "a key character who never speaks": {"key_characters": [{"name": "Ann", "thought": "Ann waits."}]},
    "a message that is a thought only": {"dialogues": [{"character": "Mira Vance", "message": "[Only this.]"}]},
    "one speaker": {"dialogues": [{"character": "Mira Vance", "message": f"Line {n}."} for n in range(25)]},
    "an empty message": {
        "dialogues": [{"character": "Mira Vance", "message": ""}, {"character": "Mira Vance", "message": "So."}]
    },
    "a name with a full stop": {"dialogues": [{"character": "Tom Hale Jr.", "message": "Here."}]},
    "names inside names": {"dialogues": [{"character": "Jane", "message": "a"}, {"character": "Jane Bennet", "message": "b"}]},
    "Chinese": {"dialogues": [{"character": "林黛玉", "message": "[他又来了]（转身）你来做什么？"}]},
}


@pytest.mark.parametrize("gap", GAPS.values(), ids=GAPS)
def test_a_case_with_a_gap_is_played_all_the_same(tmp_path, gap):
    found = only(tmp_path, {**case(), **gap})
    names = {member.name for member in found.scene.cast}
    for protocol in PROTOCOLS.values():
        assert found.first(protocol) in {*names, "Environment"} and found.major and set(found.speakers) <= names
        assert len(found.cast(protocol)) == len(names)


def test_a_scene_without_a_character_is_no_case(tmp_path):
    silent = case(1, spoken=[("Environment", "Rain.")])
    assert [each.scene.plot for each in read_cases([write_cases(tmp_path, silent, case(2))])] == [2]
    with pytest.raises(InputError, match="no case has a character"):
        read_cases([write_cases(tmp_path, silent)])


def test_the_same_case_in_two_files_is_refused(tmp_path):
    write_cases(tmp_path, case(3), name="a.json")
    write_cases(tmp_path, case(3), name="b.json")
    with pytest.raises(InputError, match=r"'The Lamp at Sorrow Point-3-0' stands in 'b\.json' and in another file"):
        read_cases([tmp_path])


def test_a_limit_spreads_over_the_files(tmp_path):
    path = write_cases(tmp_path, *(case(number) for number in range(10)))
    assert [each.scene.plot for each in read_cases([path], 3)] == [0, 3, 6]
    assert len(read_cases([path], 99)) == 10


def test_an_empty_folder_and_an_unknown_protocol_are_named(tmp_path):
    with pytest.raises(InputError, match="no JSON file at"):
        read_cases([tmp_path])
    with pytest.raises(InputError, match="no protocol 'coser'; choose one of corrected, coser-paper, coser-head, her"):
        protocol_named("coser")
