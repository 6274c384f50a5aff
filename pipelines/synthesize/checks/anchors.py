"""Find where a sentence or a line of dialogue stands in a text: exactly, or the most similar sentence. No model is asked."""

import difflib
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from functools import cached_property
from typing import NamedTuple

from her.words import runs, words

# Unlike words.SENTENCE this takes closing quotation marks in, so that a found sentence is quoted whole.
_SENTENCE = re.compile(r"[^.!?。！？…\n]+(?:[.!?。！？…]+[\"”’'」』)）]*)?")
SIMILAR = 0.6
"""Minimum difflib ratio of two sentences that are taken for the same (CoSER's value, docs/protocols.md)."""
COMPARED = 1_000
"""Characters of two sentences that are compared, from their start. A book without full stops is one sentence, and difflib
takes minutes for two of 50,000 characters."""
CANDIDATES = 5
"""Sentences with most words in common that are compared by difflib, which is slow."""


class TextSpan(NamedTuple):
    """A span of a text in characters, `start` to `end` (exclusive); `ratio` is 1 when letters and digits are equal."""

    start: int
    end: int
    ratio: float


class SearchedText:
    """A text that is searched many times; its indexes are built on first use."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _letters(self) -> tuple[str, list[int]]:
        """The letters and digits of the text in lower case, and the position of each in the text."""
        letters: list[str] = []
        places: list[int] = []
        # NFKC may turn one character into several (a ligature), so positions cannot be computed from the letters alone.
        for place, char in enumerate(self.text):
            for letter in unicodedata.normalize("NFKC", char).lower():
                if letter.isalnum():
                    letters.append(letter)
                    places.append(place)
        return "".join(letters), places

    @cached_property
    def _sentences(self) -> list[tuple[int, int, Counter[str]]]:
        return [(match.start(), match.end(), Counter(words(match[0]))) for match in _SENTENCE.finditer(self.text)]

    def exactly(self, quote: str, start: int = 0) -> TextSpan | None:
        """Return the first span at or after `start` with the letters and digits of `quote`, whatever its case and punctuation."""
        wanted = "".join(char for char in unicodedata.normalize("NFKC", quote).lower() if char.isalnum())
        letters, places = self._letters
        if not wanted:
            return None
        found_at = letters.find(wanted, bisect_left(places, start))
        if found_at < 0:
            return None
        return TextSpan(places[found_at], places[found_at + len(wanted) - 1] + 1, 1.0)

    def nearest(self, sentence: str, start: int = 0, least: float = SIMILAR) -> TextSpan | None:
        """Return the exact span of `sentence` at or after `start`, else the most similar sentence with ratio >= `least`."""
        if exact := self.exactly(sentence, start):
            return exact
        wanted = Counter(words(sentence))
        size = sum(wanted.values())
        if not size:
            return None
        # The Dice coefficient of the words is cheap, so it selects the few sentences that difflib compares.
        likely = sorted(
            (-(2 * sum((wanted & counts).values()) / (size + sum(counts.values()))), first, last)
            for first, last, counts in self._sentences
            if first >= start and counts
        )[:CANDIDATES]
        best = TextSpan(0, 0, 0.0)
        for _, first, last in likely:
            candidate = self.text[first:last].strip().lower()[:COMPARED]
            ratio = difflib.SequenceMatcher(None, sentence.lower()[:COMPARED], candidate, autojunk=False).ratio()
            if ratio > best.ratio:
                best = TextSpan(first, last, ratio)
        return best if best.ratio >= least else None

    def spoken(self, speech: str, start: int = 0) -> TextSpan | None:
        """Return the span of a line of dialogue at or after `start`: the whole line, else its last run of five words found."""
        if exact := self.exactly(speech, start):
            return exact
        spoken = words(speech)
        # From the end, because callers ask where the line ends.
        for at in range(len(spoken) - 5, -1, -1):
            if place := self.exactly("".join(spoken[at : at + 5]), start):
                return place._replace(ratio=5 / len(spoken))
        return None

    def holds(self, speech: str) -> bool:
        """Return whether a line of dialogue comes from this text: exactly, or by at least 60 % of its runs of four words."""
        if self.exactly(speech):
            return True
        spoken = list(runs(words(speech), 4))
        if not spoken:
            return False
        return sum(run in self._runs for run in spoken) >= len(spoken) * SIMILAR

    @cached_property
    def _runs(self) -> frozenset[tuple[str, ...]]:
        return frozenset(runs(words(self.text), 4))
