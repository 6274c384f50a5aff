"""Raw books to scenes: whatever a book looks like, what a model takes out of it is held against its text."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.characters.coser import load_book
from her.files.atomic import replacing
from her.types import Sampling
from pipelines.synthesize.checks.anchors import NEAR, SearchedText, likeness
from pipelines.synthesize.options import SceneOptions
from pipelines.synthesize.sources.books import Piece, RawBook, decode, file_name, pieces, read_books, tokens
from pipelines.synthesize.sources.plots import FoundPlot, carried, found_plots, joined
from pipelines.synthesize.sources.scenes import book_to_scenes
from pipelines.synthesize.stages.answers import Plot
from pipelines.synthesize.work import Notes
from tests.teaching import TeachingServer, ledger_of, models_of, teaching

PROSE = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 40
OPTIONS = SceneOptions(chunk_tokens=600, least_turns=4)


def read(*paths: Path) -> tuple[list[RawBook], list[str]]:
    skipped: list[str] = []
    return list(read_books(paths, lambda where, reason: skipped.append(f"{where}: {reason}"))), skipped


def test_books_are_read_whatever_they_look_like(tmp_path: Path) -> None:
    lines = [
        {"title": "A/B: Book", "author": "X", "content": PROSE},
        {"title": "Empty", "content": ""},
        {"title": "No content"},
        {"title": "a/b: Book", "content": PROSE},
        {"title": "A/B: Book", "content": PROSE},
        {"content": f"{PROSE}\x00\ufeff"},
        ["a list"],
    ]
    file = tmp_path / "books.jsonl"
    file.write_bytes(
        b"\n".join(json.dumps(line).encode() for line in lines) + b"\nnot json\n\n" + b'{"title": "NUL\x00", "content": "x"}'
    )
    books, skipped = read(tmp_path)
    assert [book.title for book in books] == ["A-B_ Book", "a-b_ Book", "books 6"]
    assert all("\x00" not in book.content and "\ufeff" not in book.content for book in books)
    assert [reason.split(": ", 1)[1][:24] for reason in skipped] == [
        "fewer than 200 letters o",
        "no 'content'",
        "the title 'A/B: Book' st",
        "list instead of an objec",
        "not JSON (Expecting valu",
        "fewer than 200 letters o",
    ]
    assert all("line" in reason for reason in skipped)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("A/B: C\\D", "A-B_ C-D"),
        ("../..", "-"),
        (". \n", "untitled"),
        ("\x00\ud800", "untitled"),
        ("x" * 300, "x" * 100),
        ("红楼梦" * 100, "红楼梦" * 20),
        ("📖" * 100, "📖" * 45),
    ],
)
def test_a_title_of_any_length_and_script_names_a_file(tmp_path: Path, title: str, name: str) -> None:
    assert file_name(title) == name
    with replacing(tmp_path / f"{file_name(title)}.json") as file:
        file.write("{}")
    assert (tmp_path / f"{name}.json").is_file()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("déjà vu".encode(), "déjà vu"),
        (b"\xef\xbb\xbfmark", "mark"),
        ("déjà\nвсё".encode() + b"\nd\xe9j\xe0", "déjà\nвсё\ndéjà"),
        ("tout".encode("utf-16"), "tout"),
        (b"\x93quoted\x94", "“quoted”"),
    ],
)
def test_mixed_encodings_are_told_apart_line_by_line(raw: bytes, text: str) -> None:
    assert decode(raw) == text


def chapters(count: int, heading: str = "Chapter {}") -> str:
    return "\n\n".join(f"{heading.format(number)}\n\n{PROSE}" for number in range(1, count + 1))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (chapters(6), "Chapter 1"),
        (chapters(5), ""),
        (chapters(7, "CHAPTER {}. The Storm"), "CHAPTER 1. The Storm"),
        (
            "\n\n".join(f"{roman}\n{PROSE}" for roman in ("Book I", "Book II", "Book IV", "Part One", "Part Two", "Act III")),
            "Book I",
        ),
        ("\n\n".join(f"第{n}回 甄士隐\n{'满纸荒唐言一把辛酸泪' * 300}" for n in "一二三四五六"), "第一回 甄士隐"),
        ("\n\n".join(f"Part of me wished it\n{PROSE}" for _ in range(9)), ""),
    ],
    ids=["six", "five are too few", "titles", "roman and words", "chinese", "a sentence is no heading"],
)
def test_chapters_count_when_there_are_more_than_five(text: str, first: str) -> None:
    cut = pieces(text, 1000)
    assert cut[0].chapter == first and "".join(piece.text for piece in cut) == text


@pytest.mark.parametrize("text", ["x" * 5_000_000, "x y. " * 1_000_000, "", "   \n ", "短句。" * 100_000], ids=len)
def test_a_line_of_five_megabytes_is_cut_like_any_other(text: str) -> None:
    cut = pieces(text, 8192)
    assert "".join(piece.text for piece in cut) == (text if text.strip() else "")
    assert all(tokens(piece.text) <= 2 * 8192 for piece in cut)
    assert [piece.number for piece in cut] == list(range(len(cut)))


@given(st.text("ab. \nChapter1", max_size=400), st.integers(2, 60))
def test_no_text_is_lost_between_pieces(text: str, size: int) -> None:
    cut = pieces(text, size)
    assert "".join(piece.text for piece in cut) in (text, "") and (bool(cut) or not text.strip())


def test_copyright_lines_are_left_out_of_the_first_piece_only() -> None:
    imprint = "Copyright 1999, all rights reserved, ISBN 1"
    assert imprint not in pieces(f"{imprint}\n{PROSE}", 9999)[0].text
    assert imprint in pieces(f"{PROSE * 9}\n{imprint}", 300)[-1].text


TEXT = (
    "The night is late. ‘Who goes there?’ cried Bernardo in the dark. Nay, answer me: stand, and unfold yourself. "
    "The bell beats one."
)


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("“Who goes there?” cried Bernardo in the dark.", "Who goes there?’ cried Bernardo in the dark"),
        ("who goes THERE cried bernardo", "Who goes there?’ cried Bernardo"),
        ("Nay answer me, stand and unfold yourselves", "Nay, answer me: stand, and unfold yourself."),
        ("Nothing of the kind was ever said by anybody", ""),
        ("", ""),
    ],
)
def test_sentences_are_found_exactly_or_nearly(sentence: str, found: str) -> None:
    place = SearchedText(TEXT).nearest(sentence)
    assert (TEXT[place.start : place.end].strip() if place else "") == found
    assert place is None or NEAR <= place.ratio <= 1


@pytest.mark.parametrize(("end", "found"), [("as it was", True), ("and all of it is another text altogether " * 40, False)])
def test_sentences_without_an_end_are_compared_by_their_beginnings(end: str, found: bool) -> None:
    """50,000 characters without a full stop against as many that are not quite the same."""
    text = " ".join(f"word{number % 97} and{number}" for number in range(5_000))
    place = SearchedText(text).nearest(end if not found else f"so {text[:40_000]} {end}")
    assert (place == (0, len(text), place.ratio)) if place and found else (place is None and not found)


@given(st.text(max_size=60), st.text(max_size=20))
def test_a_quotation_of_the_text_is_always_found(text: str, more: str) -> None:
    whole = f"{more} {text} {more}"
    place = SearchedText(whole).exactly(text)
    assert place is not None or not any(char.isalnum() for char in text) or "".join(text.split()) != text
    assert 0 <= likeness(text, more) <= 1


def plot(**changes: Any) -> Plot:
    talk = {"scenario": "On the wall at night.", "dialogues": [{"character": "A", "message": "Who goes there?"}]}
    right = {
        "first_sentence": "The night is late.",
        "last_sentence": "The bell beats one.",
        "summary": "Guards meet.",
        "conversation": [talk],
    }
    return Plot.model_validate({**right, **changes})


@pytest.mark.parametrize(
    ("changes", "kept", "told"),
    [
        ({}, 1, ""),
        ({"first_sentence": "Not there at all, ever.", "last_sentence": "Nor is this one, I fear."}, 1, ""),
        ({"first_sentence": "Nope never.", "last_sentence": "Nor this.", "conversation": []}, 0, "neither its first and last"),
        (
            {"conversation": [{"dialogues": [{"character": "A", "message": "Invented from top to toe."}]}]},
            1,
            "0 of 1 lines",
        ),
        ({"conversation": [{"dialogues": [{"character": "environment", "message": "Night."}]}]}, 1, "nobody speaks"),
        ({"key_characters": [{"name": "A"}, {"name": " A "}, {"name": "  B  C"}]}, 1, "'A' stands twice"),
    ],
)
def test_what_is_not_in_the_text_is_left_out_with_its_reason(changes: dict[str, Any], kept: int, told: str) -> None:
    skipped: list[str] = []
    found = found_plots([plot(**changes)], Piece(0, "I", TEXT), OPTIONS, "here", lambda where, why: skipped.append(why))
    assert len(found) == kept and any(told in why for why in skipped or [""])
    if kept:
        assert found[0].text and found[0].text in TEXT and found[0].chapter == "I"


def found(name: str, summary: str, *, open: bool = False, continues: str = "", said: str = "Who?") -> FoundPlot:
    talk = {"scenario": f"{summary} {name}", "dialogues": [{"character": "A", "message": said}]}
    return FoundPlot(name, 0, "", said, plot(summary=summary, continues=continues, conversation=[talk]), open)


GUARDS = "The guards meet on the wall at night and speak of the ghost"


@pytest.mark.parametrize(
    ("later", "plots"),
    [
        (found("q", "Something quite different is told now", continues="p", said="Me!"), ["p"]),
        (found("q", f"{GUARDS} again", said="Me!"), ["p"]),
        (found("q", "In Paris a tailor counts his buttons in the rain", said="Me!"), ["p", "q"]),
        (found("q", "In Paris a tailor counts his buttons in the rain", continues="p7", said="Me!"), ["p", "q"]),
    ],
    ids=["named", "alike", "unlike", "names nobody"],
)
def test_a_plot_cut_between_pieces_is_joined(later: FoundPlot, plots: list[str]) -> None:
    first = found("p", GUARDS, open=True)
    assert carried([first])[0]["id"] == "p"
    both = joined([first], [later])
    assert [each.id for each in both] == plots and not both[0].open
    if len(plots) == 1:
        lines = [line.message for talk in both[0].plot.conversation for line in talk.dialogues]
        assert lines == ["Who?", "Me!"] and both[0].text == "Who?\nMe!"
    assert carried(both) == []


PLAY = "\n\n".join(
    f"{heading}\n\n" + "\n\n".join(f"{who}. {said} {heading.lower()} {at}" for at, (who, said) in enumerate(lines * 3))
    for heading, lines in (
        ("ACT I", [("IAGO", "Are your doors locked in"), ("BRABANTIO", "Why, wherefore ask you this of")]),
        ("ACT II", [("CASSIO", "I have lost my reputation in"), ("IAGO", "As I am an honest man, thought you wounded in")]),
    )
)
BOOK = RawBook("Othello", "Shakespeare", f"{PLAY}\n\n{PROSE[:300]}", "en")


async def made(folder: Path, spoil: Any = None, **script: Any) -> tuple[dict[str, Any], Notes, TeachingServer]:
    notes = Notes()
    with teaching(spoil, **script) as server, ledger_of(folder) as ledger:
        async with models_of(server, ledger) as models:
            book = await book_to_scenes(BOOK, models, Sampling(), OPTIONS.model_copy(update={"held_out": 0.5}), notes)
    (folder / "Othello.json").write_text(json.dumps(book))
    return book, notes, server


async def test_a_book_becomes_a_file_in_the_coser_schema(tmp_path: Path) -> None:
    book, notes, _ = await made(tmp_path)
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
    """The published tool keeps the failures of the last piece only."""

    def spoil(task: str, asked: dict[str, Any], right: str) -> str:
        return "no JSON here" if task == "extract_plots" else right

    book, notes, _ = await made(tmp_path, spoil)
    count = len(pieces(BOOK.content, OPTIONS.chunk_tokens))
    assert len(book["fail_to_parse_responses"]) == len(notes.skipped) == count >= 1
    assert all(each["reason"] and each["i_chunk"] == at for at, each in enumerate(book["fail_to_parse_responses"]))
    assert book["plots"] == []


async def test_one_name_a_character_and_none_for_a_voice(tmp_path: Path) -> None:
    def spoil(task: str, asked: dict[str, Any], right: str) -> str:
        if task != "name_characters":
            return right
        names = {"Iago": "Honest Iago", "Brabantio": "impersonal"}
        return json.dumps({"names": [{"name": name, "official": names.get(name, name)} for name in asked["names"]]})

    book, _, _ = await made(tmp_path, spoil)
    speakers = [{line["character"] for line in plot["conversation"][0]["dialogues"]} for plot in book["plots"]]
    assert speakers == [{"Honest Iago", "Brabantio"}, {"Cassio", "Honest Iago"}]


@pytest.mark.parametrize(
    ("task", "answer", "told"),
    [
        ("stage_scene", {"scenario": "Elsewhere.", "characters": [{"name": "Hamlet"}]}, "the answer is about other characters"),
        ("write_profile", {"profile": "I'm sorry, I cannot help with that."}, "the model refused"),
        ("name_characters", {"names": "none"}, "names stay as they are"),
    ],
)
async def test_a_bad_answer_leaves_the_draft_and_is_noted(tmp_path: Path, task: str, answer: Any, told: str) -> None:
    book, notes, _ = await made(tmp_path, lambda asked, _, right: json.dumps(answer) if asked == task else right)
    assert any(told in entry.reason for entry in notes.skipped)
    assert [plot["conversation"][0]["scenario"] for plot in book["plots"]] != ["Elsewhere."] * 2
    assert "sorry" not in json.dumps(book)
