"""Cut a raw book into pieces for a model: whole chapters where these are marked and fit, else paragraphs.

Sizes and the rule of more than five chapters are those of CoSER's data construction (docs/protocols.md, Synthesis).
"""

import re
from typing import NamedTuple

from her.tokens import estimate_text_tokens

LEAST_CHAPTERS, LEAST_CHAPTER = 6, 2_000
"""Headings count as chapters when there are so many; a chapter of fewer characters is joined to the next."""
LONGEST_HEADING = 60
IMPRINT_WORDS = 50
"""A line of fewer words that mentions copyright twice is part of the imprint."""
_NUMBERS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|"
    "twenty|thirty|forty|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|last"
)
_HEADING = re.compile(
    rf"^[ \t#*_]*(?:(?:chapter|part|book|act|scene|canto|volume|letter)[ \t]+(?:the )?(?:\d{{1,3}}|[ivxlcdm]{{1,7}}|{_NUMBERS})\b"
    r".{0,40}|(?:prologue|epilogue|preface)\b.{0,30}|第[零〇一二三四五六七八九十百千\d]{1,5}[章回卷节幕场].{0,40}|[楔引]子.{0,20})"
    r"[ \t*_]*$",
    re.I | re.M,
)
_COPYRIGHT = re.compile(r"copyright|all rights reserved|isbn|published by|publisher|printed in|edition|©", re.I)
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"[.!?。！？…][\"”’」』]?\s*"), re.compile(r"\s"))
"""Places to cut, the best first: paragraph, line, sentence, word."""


class Piece(NamedTuple):
    """A part of a book for one question: its number from 0, the heading of its first chapter, its text."""

    number: int
    chapter: str
    text: str


def pieces(content: str, size: int) -> list[Piece]:
    """Cut the whole book into pieces of about `size` tokens, at most `2 * size`.

    Joined together they are the book, except that the imprint (copyright lines) is removed from the first piece.
    """
    cut: list[Piece] = []
    heading, text = "", ""
    for title, chapter in _chapters(content) or [("", content)]:
        heading = heading if text else title
        text += chapter
        # From half a piece on no chapter is added: chapters of up to 1.5 pieces then stay whole.
        if estimate_text_tokens(text) >= size // 2:
            cut += [Piece(0, heading, part) for part in _cut(text, size)]
            text = ""
    if text.strip():
        cut += [Piece(0, heading, part) for part in _cut(text, size)]
    numbered = [piece._replace(number=number) for number, piece in enumerate(cut)]
    return [numbered[0]._replace(text=_without_imprint(numbered[0].text)), *numbered[1:]] if numbered else []


def _chapters(content: str) -> list[tuple[str, str]]:
    """Heading and text of every chapter and of the text before the first; empty when five or fewer are marked."""
    marks = [mark for mark in _HEADING.finditer(content) if len(mark[0].strip()) <= LONGEST_HEADING]
    if len(marks) < LEAST_CHAPTERS:
        return []
    bounds = [0, *(mark.start() for mark in marks), len(content)]
    titles = ["", *(" ".join(mark[0].strip(" \t#*_\n").split()) for mark in marks)]
    merged: list[tuple[str, str]] = []
    for title, start, end in zip(titles, bounds, bounds[1:], strict=False):
        if merged and len(merged[-1][1]) < LEAST_CHAPTER:
            earlier, text = merged[-1]
            # A chapter that is nothing but its heading is a line of a table of contents: the next heading is the better name.
            kept = title if len(text.strip()) <= len(earlier) + 2 else earlier
            merged[-1] = (kept or title, text + content[start:end])
        else:
            merged.append((title, content[start:end]))
    return [(title, text) for title, text in merged if text]


def _cut(text: str, size: int) -> list[str]:
    """Return the text in parts of about `size` tokens; a text of at most twice that stays whole."""
    if estimate_text_tokens(text) <= 2 * size:
        return [text]
    step = max(1, round(len(text) * size / estimate_text_tokens(text)))
    cuts, start = [], 0
    # Up to 1.5 steps stay together, so that the last part is never a short rest.
    while len(text) - start > 1.5 * step:
        end = _break(text, start + step * 4 // 5, start + step)
        cuts.append(text[start:end])
        start = end
    return [*cuts, text[start:]]


def _break(text: str, low: int, high: int) -> int:
    """Return the last good place to cut between two positions; `high` where there is none."""
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return ends[-1]
    return high


def _without_imprint(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if len(line.split()) >= IMPRINT_WORDS or len(_COPYRIGHT.findall(line)) < 2)
