"""Books are cut into pieces at chapters and paragraphs, and no text is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from her.tokens import estimate_text_tokens
from pipelines.synthesize.sources.pieces import pieces

PROSE = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 40


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


@pytest.mark.whole
@pytest.mark.parametrize("text", ["x" * 5_000_000, "x y. " * 1_000_000, "", "   \n ", "短句。" * 100_000], ids=len)
def test_a_line_of_five_megabytes_is_cut_like_any_other(text: str) -> None:
    cut = pieces(text, 8192)
    assert "".join(piece.text for piece in cut) == (text if text.strip() else "")
    assert all(estimate_text_tokens(piece.text) <= 2 * 8192 for piece in cut)
    assert [piece.number for piece in cut] == list(range(len(cut)))


@given(st.text("ab. \nChapter1", max_size=400), st.integers(2, 60))
def test_no_text_is_lost_between_pieces(text: str, size: int) -> None:
    cut = pieces(text, size)
    assert "".join(piece.text for piece in cut) in (text, "") and (bool(cut) or not text.strip())


def test_copyright_lines_are_left_out_of_the_first_piece_only() -> None:
    imprint = "Copyright 1999, all rights reserved, ISBN 1"
    assert imprint not in pieces(f"{imprint}\n{PROSE}", 9999)[0].text
    assert imprint in pieces(f"{PROSE * 9}\n{imprint}", 300)[-1].text
