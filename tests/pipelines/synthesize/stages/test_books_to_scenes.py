"""A raw book becomes a file in the CoSER schema; an unusable answer leaves the draft and is recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from her.characters.coser import load_book
from her.types import Sampling
from pipelines.synthesize.notes import Notes
from pipelines.synthesize.option_groups import SceneOptions, StageOptions
from pipelines.synthesize.sources.pieces import pieces
from pipelines.synthesize.sources.raw_books import RawBook
from pipelines.synthesize.stages.books_to_scenes import book_to_scenes
from tests.teaching import TeachingServer, callers_of, context_of, ledger_of, teaching

PROSE = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 40
OPTIONS = SceneOptions(chunk_tokens=600, least_turns=4, held_out=0.5)
PLAY = "\n\n".join(
    f"{heading}\n\n" + "\n\n".join(f"{who}. {said} {heading.lower()} {at}" for at, (who, said) in enumerate(lines * 3))
    for heading, lines in (
        ("ACT I", [("IAGO", "Are your doors locked in"), ("BRABANTIO", "Why, wherefore ask you this of")]),
        ("ACT II", [("CASSIO", "I have lost my reputation in"), ("IAGO", "As I am an honest man, thought you wounded in")]),
    )
)
BOOK = RawBook("Othello", "Shakespeare", f"{PLAY}\n\n{PROSE[:300]}", "en")


async def converted(folder: Path, spoil: Any = None, **script: Any) -> tuple[dict[str, Any], Notes, TeachingServer]:
    with teaching(spoil, **script) as server, ledger_of(folder) as ledger:
        async with callers_of(server, ledger) as callers:
            context = context_of(callers, StageOptions(sampling=Sampling(), scenes=OPTIONS))
            book = await book_to_scenes(BOOK, context)
    (folder / "Othello.json").write_text(json.dumps(book))
    return book, context.notes, server


async def test_a_book_becomes_a_file_in_the_coser_schema(tmp_path: Path) -> None:
    book, notes, _ = await converted(tmp_path)
    assert set(book) == {"plots", "character_datasets", "split_plot_index", "fail_to_parse_responses"}
    assert [len(each["conversation"]) for each in book["plots"]] == [1, 1] and not notes.skipped
    assert book["split_plot_index"] == 1
    people = book["character_datasets"]
    assert people["Iago"]["profile"] and people["Brabantio"]["profile"] and not people["Cassio"]["profile"]  # held out
    assert "reputation" not in json.dumps(people["Iago"]["profile"])
    scenes = load_book(tmp_path / "Othello.json").scenes
    assert [scene.turns[0].speaker for scene in scenes] == ["Iago", "Cassio"]
    assert scenes[0].turns[0].text("speech") == "Are your doors locked in act i 0"
    assert scenes[0].passage in BOOK.content and scenes[0].scenario.setting


async def test_every_piece_that_gives_nothing_is_recorded(tmp_path: Path) -> None:
    """CoSER's tool keeps the failures of the last piece only."""

    def spoil(task: str, payload: dict[str, Any], valid: str) -> str:
        return "no JSON here" if task == "extract_plots" else valid

    book, notes, _ = await converted(tmp_path, spoil)
    count = len(pieces(BOOK.content, OPTIONS.chunk_tokens))
    assert len(book["fail_to_parse_responses"]) == len(notes.skipped) == count >= 1
    assert all(each["reason"] and each["i_chunk"] == at for at, each in enumerate(book["fail_to_parse_responses"]))
    assert book["plots"] == []


async def test_one_name_a_character_and_none_for_a_voice(tmp_path: Path) -> None:
    def spoil(task: str, payload: dict[str, Any], valid: str) -> str:
        if task != "name_characters":
            return valid
        names = {"Iago": "Honest Iago", "Brabantio": "impersonal"}
        return json.dumps({"names": [{"name": name, "official": names.get(name, name)} for name in payload["names"]]})

    book, _, _ = await converted(tmp_path, spoil)
    speakers = [{line["character"] for line in plot["conversation"][0]["dialogues"]} for plot in book["plots"]]
    assert speakers == [{"Honest Iago", "Brabantio"}, {"Cassio", "Honest Iago"}]


@pytest.mark.parametrize(
    ("task", "answer", "reason"),
    [
        ("stage_scene", {"scenario": "Elsewhere.", "characters": [{"name": "Hamlet"}]}, "the answer is about other characters"),
        ("write_profile", {"profile": "I'm sorry, I cannot help with that."}, "the model refused"),
        ("name_characters", {"names": "none"}, "names are not unified"),
    ],
)
async def test_a_bad_answer_leaves_the_draft_and_is_noted(tmp_path: Path, task: str, answer: Any, reason: str) -> None:
    book, notes, _ = await converted(tmp_path, lambda asked, _, valid: json.dumps(answer) if asked == task else valid)
    assert any(reason in entry.reason for entry in notes.skipped)
    assert [plot["conversation"][0]["scenario"] for plot in book["plots"]] != ["Elsewhere."] * 2
    assert "sorry" not in json.dumps(book)
