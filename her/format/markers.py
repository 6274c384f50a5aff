"""Marks of a turn other than tags: names, brackets, stars, fences.

A mode is what the parser is inside of: a part kind, an opening bracket, a star, or "cut" (text after another speaker's name).
A run is the text since the last token, as the list of the pieces it came in; no piece is empty.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from her.kinds import BARE, KINDS, STARRED, TABLE, Kind

Notation = Literal["her", "coser", "asterisk", "auto"]
Mode = str

BRACKETS: dict[str, str] = {
    char: entry.brackets.opening[0] for entry in TABLE if entry.brackets for char in entry.brackets.opening
}
"""Mode of each opening bracket; full-width brackets have the mode of the half-width ones."""
KIND_OF_MODE: dict[Mode, Kind] = {
    **{kind: kind for kind in KINDS},
    **{entry.brackets.opening[0]: entry.kind for entry in TABLE if entry.brackets},
    "*": STARRED,
    "cut": BARE,
}
"""Kind that a run in this mode becomes."""

BLANK = re.compile(r"[^\S\n]*")
BLANK_LINES = re.compile(r"\s*")
# Up to 12 letters name a language ("```xml"); three blanks bound how long the parser has to wait for a tag behind it.
WRAPPER = re.compile(r"```\w{0,12}\s{0,3}")
PLAIN_FENCES = frozenset(
    (
        "",
        "markdown",
        "md",
        "text",
        "txt",
        "plaintext",
        "plain",
        "xml",
        "html",
        "roleplay",
        "rp",
        "dialogue",
        "story",
        "chat",
        "output",
    )
)
"""Languages of a code fence around a whole reply that are not a program's; the fence is taken off then."""
# The text may end inside an escape such as `&amp;lt;`; what is shown while it streams must not flicker.
HALF_ENTITY = re.compile(r"&(?:amp;)*(?:a|am|amp|l|lt|g|gr|gra|grav|grave)?$")
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SENTENCE_END = frozenset(".!?…。！？~～—\"”’'」』)）]】")


def name_prefixes(name: str) -> list[str]:
    """Return the spellings of a name before a line, as models write them; the first is the canonical one."""
    return [form.format(name, colon) for form in ("{}{}", "**{}**{}", "**{}{}**") for colon in ":："]


class NameFinder:
    """Finder of `Name:` at a given position, for the speaker and for the others.

    The longest spelling that fits counts: a name may be the beginning of another one, so a match at the end of the text
    may still grow and the parser has to wait (`may_begin`).
    """

    def __init__(self, speaker: str, others: Sequence[str]) -> None:
        spellings = [spelling for name in (speaker, *others) for spelling in name_prefixes(name)]
        # `|` in a pattern takes the first alternative that fits, so the longest spellings come first.
        spellings.sort(key=len, reverse=True)
        self.own = frozenset(name_prefixes(speaker))
        self.match = re.compile("|".join(map(re.escape, spellings))).match
        self._longest = len(spellings[0])
        self._beginnings = frozenset(spelling[:size] for spelling in spellings for size in range(1, len(spelling)))

    def may_begin(self, text: str, at: int) -> bool:
        """Return whether the text from `at` to its end is the beginning of a longer spelling."""
        return text[at : at + self._longest] in self._beginnings


@lru_cache(256)
def name_finder(speaker: str, others: tuple[str, ...]) -> NameFinder:
    """Return the finder of these names; kept, since all turns of a scene have them and a pattern takes a millisecond."""
    return NameFinder(speaker, others)


def sentence_starts(run: Sequence[str]) -> bool:
    """Return whether a sentence may start after this run; a star anywhere else is emphasis, not an action."""
    for piece in reversed(run):
        words = piece.rstrip()
        if "\n" in piece[len(words) :]:
            return True
        if words:
            return words[-1] in _SENTENCE_END
    return True


def stands_free(bracket: str, run: Sequence[str]) -> bool:
    """Return whether a bracket after this run opens a part, and is not that of `f(x)` or of a smiley such as `:(`."""
    before = run[-1][-1] if run else " "
    full_width = not bracket.isascii()
    return full_width or before == "*" or before.isspace() or not before.isascii() or before in _SENTENCE_END
