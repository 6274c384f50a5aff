"""her/backends/teacher_books.py: speakers by typography, conversations, names and profiles."""

import pytest

from her.backends.teacher_books import LONGEST_GAP, book_lines, extract_plots, name_characters, stage_scene, write_profile
from tests.backends.test_teacher import CHINESE, NOVEL, PLAY


@pytest.mark.parametrize(
    ("text", "speakers"), [(PLAY, {"Iago", "Brabantio"}), (NOVEL, {"Iago", "Brabantio"}), (CHINESE, {"宝玉", "黛玉"})]
)
def test_speakers_of_plays_and_novels_are_found(text: str, speakers: set[str]) -> None:
    plots = extract_plots({"text": text})["plots"]
    assert {line["character"] for plot in plots for talk in plot["conversation"] for line in talk["dialogues"]} == speakers


def test_a_gap_or_a_heading_separates_conversations() -> None:
    assert len(extract_plots({"text": PLAY})["plots"]) == 1
    for between in ("\n\n" + "x " * LONGEST_GAP + "\n\n", "\n\nSCENE II.\n\n"):
        assert len(extract_plots({"text": PLAY + between + PLAY})["plots"]) == 2


def test_a_truncated_plot_continues_where_a_speaker_returns() -> None:
    carried = [{"id": "p1", "characters": ["Othello"]}, {"id": "p2", "characters": ["Iago"]}]
    assert extract_plots({"text": PLAY, "carried": carried})["plots"][0]["continues"] == "p2"
    assert extract_plots({"text": PLAY, "carried": carried[:1]})["plots"][0]["continues"] == ""


def test_names_have_one_spelling_and_crowds_none() -> None:
    names = name_characters({"names": ["LADY MACBETH", "Iago", "All", "First Servant"]})["names"]
    assert [name["official"] for name in names] == ["Lady Macbeth", "Iago", "impersonal", "impersonal"]


def test_a_profile_repeats_no_description() -> None:
    question = {
        "book": "Othello",
        "character": "Iago",
        "descriptions": ["An ensign.", "An ensign."],
        "lines": ["Why?", "How?", "Ha."],
    }
    profile = write_profile(question)["profile"]
    assert profile.count("An ensign.") == 1 and "asks rather than tells, 2 times of 3" in profile


def test_drafts_are_kept() -> None:
    characters = [{"name": "Iago", "motivation": "He hates."}, {"name": "Othello", "motivation": ""}]
    scene = stage_scene({"characters": characters, "scenario": "A street.", "dialogues": []})
    assert scene["scenario"] == "A street."
    assert [character["motivation"] for character in scene["characters"]][0] == "He hates."
    assert all(character["motivation"] for character in scene["characters"])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('"Are your doors\n\nlocked?" said Iago. "Why ask?" replied Brabantio. "No."', "Iago Brabantio Iago"),
        ('"Tell me," said Iago, "are you lost?" "No," said Brabantio.', "Iago Brabantio"),
        ("“Are your doors locked?” said Mr. Iago. “Why?” asked the Senator.", "Mr. Iago the Senator"),
        ("‘It isn’t locked,’ said Iago. ‘It is!’ Brabantio cried.", "Iago Brabantio"),
        ("'It isn't locked,' said Iago.\n'It is!' cried Brabantio.", "Iago Brabantio"),
        ("— It isn't locked, said Iago.\n— It is! cried Brabantio.", "Iago Brabantio"),
        ("«It isn't locked,» said Iago. «It is!» cried Brabantio.", "Iago Brabantio"),
        ('宝玉笑道：“你怎么来了？”黛玉说道：「我来看你。」宝玉又問道："好吗"', "宝玉 黛玉 宝玉"),
        ('"It is locked," said Iago. "It is not," he said. "It is!" cried Brabantio.', "Iago Brabantio"),
        ('"It is locked." The gulls cried over the harbour for a long while, and nobody spoke. "It is not."', ""),
        ("".join(f"Lear Now number {number}.\n\nKent Then {number}, King.\n\n" for number in range(5)), "Lear Kent " * 5),
    ],
)
def test_quotations_of_every_style_find_their_speakers_or_are_left(text: str, lines: str) -> None:
    assert " ".join(line.speaker for line in book_lines(text) if line.speaker) == lines.strip()


def test_a_line_of_an_unknown_speaker_ends_a_conversation() -> None:
    wind = "The wind rose and took the words away over the water and beyond the walls of the town, where nobody heard them. " * 2
    stranger = f'{wind}"Who knows?" {wind}'
    plots = extract_plots({"text": NOVEL + stranger + NOVEL})["plots"]
    assert len(plots) == 2 and not any("Who knows" in str(plot) for plot in plots)
