"""The defects of the published HER data code that samples, splits and exports must not have (D2 to D9, D12, D14, D15)."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from her.characters.coser import BookScene, load_book
from her.characters.her_dataset import read_rows
from her.errors import InputError
from her.training_data import samples as module
from her.training_data import splits
from her.training_data.audit import Audit, EstimatedEncoder
from her.training_data.samples import samples, with_plans, with_turns
from her.types import ENVIRONMENT, CastMember, Part, Sample, Scenario, Transcript, Turn
from pipelines.synthesize.outputs.exports import trl_table

LINES = [
    (ENVIRONMENT, "Rain on the  glass.\n\nThe lamp gutters."),
    ("Mara", "[Not tonight.] Hold the ladder."),
    ("Mara", "(shields the flame) Hold it, I said."),
    ("Tom", "[She is afraid.] (grips the rail) Aye."),
    ("Ann", "Who is there?"),
    ("Mara", "Only the wind."),
    ("Tom", "Aye."),
]
"""Two turns of Mara's in a row, as in a hundred places of the test set; Ann is not major."""


def book(folder: Path, name: str = "The Lamp", plot: int = 9, lines: list[tuple[str, str]] = LINES) -> list[BookScene]:
    """A book whose only plot stands at position 0 and is number 9."""
    dialogues = [{"character": who, "message": text, "i_p": plot, "i_c": 0} for who, text in lines]
    talk = {"scenario": "Night at the lighthouse.", "major_characters": ["Mara", "Tom"], "dialogues": dialogues}
    content = {"plots": [{"conversation": [talk]}], "character_datasets": {"Mara": {"profile": "A keeper of few words."}}}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content), "utf-8")
    return list(load_book(path).scenes)


@pytest.fixture
def talk(tmp_path: Path) -> Transcript:
    """The scene with a plan for every turn of a character, told apart by its number."""
    transcript = book(tmp_path)[0].transcript()
    turns = [turn for turn in transcript.turns if turn.speaker != ENVIRONMENT]
    return with_plans(transcript, {turn.id: f"Plan {number} for {turn.speaker}." for number, turn in enumerate(turns)})


def made(transcript: Transcript) -> list[Sample]:
    rows = list(samples(transcript))
    assert all(isinstance(row, Sample) for row in rows)
    return [row for row in rows if isinstance(row, Sample)]


def target(sample: Sample) -> str:
    return sample.messages[-1].content


def everything(sample: Sample) -> str:
    return "\n".join(message.content for message in sample.messages[:-1])


def test_d2_plans_are_joined_by_id_not_position(talk: Transcript) -> None:
    of = {turn.id: turn.text("system_thinking") for turn in talk.turns}
    for sample in made(talk):
        plans = [of[own] for own in (sample.turn, *sample.merged)]
        assert plans == target(sample)[len("<system_thinking>") :].partition("</system_thinking>")[0].split("\n\n")
    assert [len(sample.merged) for sample in made(talk)] == [1, 0, 0, 0, 0]  # both ids of the merged turn are kept
    shuffled = talk.model_copy(update={"turns": talk.turns[::-1]})
    again = with_plans(shuffled, {talk.turns[3].id: "For this one."})
    assert [turn.id for turn in again.turns if "For this one." in turn.text("system_thinking")] == [talk.turns[3].id]
    with pytest.raises(InputError, match="has no turn '3'"):
        with_plans(talk, {"3": "A position is no id."})


def test_d3_every_character_is_trained_not_only_major_ones(talk: Transcript) -> None:
    assert Counter(sample.speaker for sample in made(talk)) == {"Mara": 2, "Tom": 2, "Ann": 1}


def test_d4_the_prompt_keeps_profile_scene_and_the_books_name(talk: Transcript, tmp_path: Path) -> None:
    system = made(talk)[0].messages[0].content
    for said in ("You are Mara", "A keeper of few words.", "Night at the lighthouse."):
        assert said in system
    assert made(talk)[0].source == "The Lamp"
    row = {"trace_id_book_chapter": "x_1_0_0", "conversation": [{"dialogues": [{"character": "Mara", "message": "Aye."}]}]}
    named = {**row, "character_datasets": {"Mara": {"book_name": "The Lamp", "character_profile": "A keeper."}}}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(named), "utf-8")
    (scene,) = read_rows(path, lambda where, reason: None)
    assert scene.transcript().scenario.source == "The Lamp"


def test_d5_others_turns_are_the_enhanced_ones(talk: Transcript) -> None:
    tom = talk.turns[3]
    parts = (*tom.parts[:1], Part(kind="role_action", text="grips the rail with both hands"), *tom.parts[3:])
    changed = with_turns(talk, {tom.id: tom.model_copy(update={"parts": parts})})
    for sample in made(changed)[2:]:
        assert "grips the rail with both hands" in everything(sample)
        assert "grips the rail<" not in everything(sample)


def test_d6_merged_messages_keep_start_and_white_space(talk: Transcript) -> None:
    for sample in made(talk):
        assert sample.messages[1].content.startswith("===Conversation Start===\n\n")
        assert "Rain on the  glass.\n\nThe lamp gutters." in sample.messages[1].content
    merged = made(talk)[-1].messages[1].content
    assert merged.count("Mara: ") == 1
    assert "Mara: Hold the ladder.<role_action>shields the flame</role_action>Hold it, I said." in merged
    changed = with_turns(
        talk, {talk.turns[4].id: talk.turns[4].model_copy(update={"parts": (Part(kind="speech", text="New."),)})}
    )
    last = [row for row in samples(changed) if isinstance(row, Sample)][-1]
    assert "Ann: New.\n\nMara: Only the wind." in last.messages[-2].content


@pytest.mark.parametrize("name", ["Tess of the D'Urbervilles", "Tess_of_the_D_Urbervilles", "TESS OF THE D’URBERVILLES"])
def test_d7_test_cases_are_found_by_plot_number_and_any_spelling(tmp_path: Path, name: str) -> None:
    dialogues = [{"character": "Ann", "message": "Who is there?"}]
    case = {"book": "Tess of the D’Urbervilles", "i_p": 9, "i_c": 0, "tag": "id", "dialogues": dialogues}
    (tmp_path / "test_set.json").write_text(json.dumps([case]), "utf-8")
    held = splits.read_held_out(tmp_path / "test_set.json")
    assert held.why(book(tmp_path, name)[0]).startswith("it is case")
    assert held.why(book(tmp_path, name, plot=0)[0]) == ""


def test_d8_every_sample_has_a_plan_and_ends_with_its_target(talk: Transcript) -> None:
    for sample in made(talk):
        assert target(sample).startswith("<system_thinking>Plan ")
        assert sample.messages[-1].role == "assistant"
        assert [message.role for message in sample.messages[:2]] == ["system", "user"]
        assert sample.trained == (len(sample.messages) - 1,)
    bare = talk.model_copy(update={"turns": tuple(turn.model_copy(update={"parts": turn.parts[1:]}) for turn in talk.turns)})
    assert {row.reason for row in samples(bare) if not isinstance(row, Sample)} >= {"no_plan"}


def test_d9_there_is_one_way_and_it_is_the_same_each_time(talk: Transcript) -> None:
    assert made(talk) == made(talk)
    for sample in made(talk):
        assert "Plan " not in "".join(message.content for message in sample.messages[1:-1])
    audit = Audit("sft", EstimatedEncoder())
    audit.add(made(talk)[-1])
    assert audit.report().problems == ()


@pytest.mark.parametrize("turn_id", ["setting_setting_7", "the_setting_of_the_sun", "a/b c", "灯_1"])
def test_d12_ids_are_never_rewritten(talk: Transcript, turn_id: str) -> None:
    named = talk.model_copy(update={"id": f"setting_{turn_id}", "turns": (talk.turns[1].model_copy(update={"id": turn_id}),)})
    (sample,) = made(with_plans(named, {turn_id: "A plan."}))
    assert (sample.turn, sample.transcript) == (turn_id, f"setting_{turn_id}")
    assert trl_table([sample]).to_pylist()[0]["turn"] == turn_id


@pytest.mark.parametrize("by", ["conversation", "book"])
def test_d14_no_conversation_is_in_two_splits(tmp_path: Path, by: Any) -> None:
    told = [
        book(tmp_path, f"Book {number % 7}", number, [*LINES, ("Ann", f"This is night number {number}, and no other.")])[0]
        for number in range(40)
    ]
    conversations = [splits.conversation(scene.transcript(), 6) for scene in told]
    found = splits.split(conversations, splits.SHARES, by)
    assert splits.leaks(conversations, found) == []
    rows = [
        (found.of[sample.transcript], sample.transcript)
        for scene in told
        for sample in samples(scene.transcript(), plans=False)
        if isinstance(sample, Sample)
    ]
    of = {transcript: {split for split, other in rows if other == transcript} for _, transcript in rows}
    assert all(len(names) == 1 for names in of.values())


def test_d15_nothing_is_looked_for_by_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list searched for a value compares it with every other; ids are looked up."""

    def compared(self: Any, other: object) -> bool:
        raise AssertionError("two values were compared")

    aye = (Part(kind="speech", text="Aye."),)
    turns = tuple(Turn(speaker=("Mara", "Tom")[number % 2], parts=aye) for number in range(50))
    talk = Transcript(scenario=Scenario(source="b"), cast=(CastMember(name="Mara"), CastMember(name="Tom")), turns=turns)
    conversations = [splits.SplitUnit(id=f"c{number}", book="b", turns=1) for number in range(500)]
    for value in (Turn, Sample, Transcript, splits.SplitUnit):
        monkeypatch.setattr(value, "__eq__", compared)
    rows = list(samples(with_plans(talk, {turn.id: "A plan." for turn in turns})))
    assert len(rows) == 50
    assert splits.leaks(conversations, splits.split(conversations, splits.SHARES)) == []


def test_d15_a_reason_is_never_trained(talk: Transcript) -> None:
    """A text that could not be read or judged is named and left out, never a sample."""
    silent = talk.model_copy(
        update={"turns": (*talk.turns, Turn(speaker="Ann", parts=(Part(kind="role_thinking", text="Hm."),)))}
    )
    rows = list(samples(silent))
    assert [row.reason for row in rows if not isinstance(row, Sample)] == ["unspoken"]
    assert set(module.REASONS) >= {"unspoken", "no_plan"}
