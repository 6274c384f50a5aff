"""Where words stand in a text: exactly when letters and digits agree, else the nearest sentence. No model is asked."""

import difflib
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from functools import cached_property
from typing import NamedTuple

_SENTENCE = re.compile(r"[^.!?。！？…\n]+(?:[.!?。！？…]+[\"”’'」』)）]*)?")
_WORD = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")
NEAR = 0.6
"""Least difflib ratio of a sentence that is taken for another (CoSER, benchmarks.md 6.3)."""
COMPARED = 1_000
"""Characters of two sentences that are compared, their beginnings; a book without full stops is one sentence, and difflib
takes minutes for two of 50,000."""


class TextSpan(NamedTuple):
    """A stretch of a text, in characters; `ratio` is 1 when letters and digits agree."""

    start: int
    end: int
    ratio: float


def words(text: str) -> list[str]:
    """The words of a text in lower case, quotation marks and accents of no account; a Chinese character is a word."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("'", ""))


class SearchedText:
    """A text in which places are looked for, many times."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _letters(self) -> tuple[str, list[int]]:
        """The letters and digits of the text in lower case, and where each stands."""
        letters: list[str] = []
        places: list[int] = []
        for place, char in enumerate(self.text):
            for letter in unicodedata.normalize("NFKC", char).lower():
                if letter.isalnum():
                    letters.append(letter)
                    places.append(place)
        return "".join(letters), places

    @cached_property
    def _sentences(self) -> list[tuple[int, int, Counter[str]]]:
        return [(found.start(), found.end(), Counter(words(found[0]))) for found in _SENTENCE.finditer(self.text)]

    def exactly(self, quote: str, start: int = 0) -> TextSpan | None:
        """The first place at or after `start` with the letters and digits of `quote`."""
        wanted = "".join(char for char in unicodedata.normalize("NFKC", quote).lower() if char.isalnum())
        letters, places = self._letters
        if not wanted:
            return None
        found = letters.find(wanted, bisect_left(places, start))
        if found < 0:
            return None
        return TextSpan(places[found], places[found + len(wanted) - 1] + 1, 1.0)

    def nearest(self, sentence: str, start: int = 0, least: float = NEAR) -> TextSpan | None:
        """Where `sentence` stands, at or after `start`; the most alike sentence when it stands nowhere exactly."""
        if exact := self.exactly(sentence, start):
            return exact
        wanted = Counter(words(sentence))
        size = sum(wanted.values())
        if not size:
            return None
        likely = sorted(
            (-(2 * sum((wanted & counts).values()) / (size + sum(counts.values()))), first, last)
            for first, last, counts in self._sentences
            if first >= start and counts
        )[:5]
        best = TextSpan(0, 0, 0.0)
        for _, first, last in likely:
            have = self.text[first:last].strip().lower()[:COMPARED]
            ratio = difflib.SequenceMatcher(None, sentence.lower()[:COMPARED], have, autojunk=False).ratio()
            if ratio > best.ratio:
                best = TextSpan(first, last, ratio)
        return best if best.ratio >= least else None

    def spoken(self, speech: str, start: int = 0) -> TextSpan | None:
        """Where a line of dialogue ends, at or after `start`: all of it, else its last run of five words that stands there."""
        if exact := self.exactly(speech, start):
            return exact
        said = words(speech)
        for at in range(len(said) - 5, -1, -1):
            if place := self.exactly("".join(said[at : at + 5]), start):
                return place._replace(ratio=5 / len(said))
        return None

    def holds(self, speech: str) -> bool:
        """Whether a line of dialogue comes from this text: exactly, or most runs of four of its words do."""
        if self.exactly(speech):
            return True
        said = words(speech)
        runs = list(zip(*(said[shift:] for shift in range(4)), strict=False))
        if not runs:
            return False
        return sum(run in self._runs for run in runs) >= len(runs) * NEAR

    @cached_property
    def _runs(self) -> frozenset[tuple[str, ...]]:
        there = words(self.text)
        return frozenset(zip(*(there[shift:] for shift in range(4)), strict=False))


def likeness(one: str, other: str, size: int = 3) -> float:
    """Jaccard likeness of the runs of `size` words of two texts; of their words when one is too short."""
    sets = []
    for text in (one, other):
        there = words(text)
        sets.append({tuple(there[at : at + size]) for at in range(max(1, len(there) - size + 1))} if there else set())
    union = sets[0] | sets[1]
    return len(sets[0] & sets[1]) / len(union) if union else 0.0
