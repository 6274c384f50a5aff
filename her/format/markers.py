"""The marks of a turn other than tags: names, brackets, stars, fences; and at which characters the parser looks up.

A mode is what the parser stands in: bare text, a tag by its kind, a bracket or star, or what was cut off. A run is the
text since the last token, in the pieces it came in, none of them empty.
"""

import re
from collections.abc import Sequence
from typing import Literal

from her.types import Kind

Notation = Literal["her", "coser", "asterisk", "auto"]
Mode = Literal["bare", "plan", "role_thinking", "role_action", "[", "(", "*", "cut"]

KIND: dict[Mode, Kind] = {
    "bare": "speech",
    "plan": "system_thinking",
    "role_thinking": "role_thinking",
    "role_action": "role_action",
    "[": "role_thinking",
    "(": "role_action",
    "*": "role_action",
    "cut": "speech",
}
"""What a run in this mode becomes."""

TAGS_ONLY = re.compile(r"<").search
BARE = {
    "her": re.compile(r"[<\n]").search,
    "asterisk": re.compile(r"[<\n*]").search,
    "coser": re.compile(r"[<\n*\[(（]").search,
    "auto": re.compile(r"[<\n*\[(（]").search,
}
WITHIN = {
    "[": re.compile(r"[<\[\]]").search,
    "(": re.compile(r"[<()（）]").search,
    "*": re.compile(r"[<*\n]").search,
}

BLANK = re.compile(r"[^\S\n]*")
WRAPPER = re.compile(r"```\w{0,12}\s{0,3}")
HALF_ENTITY = re.compile(r"&(?:amp;)*(?:a|am|amp|l|lt|g|gr|gra|grav|grave)?$")
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SENTENCE_END = frozenset(".!?…。！？~～—\"”’'」』)）]】")


def name_prefixes(name: str) -> list[str]:
    """The ways in which models write a name before a line; the first is ours."""
    return [form.format(name, colon) for form in ("{}{}", "**{}**{}", "**{}{}**") for colon in ":："]


class NameFinder:
    """Finds `Name:` of the speaker or of another at a place in a text.

    Of two spellings that both fit, the longer one counts; so a beginning has to be waited for.
    """

    def __init__(self, speaker: str, others: Sequence[str]) -> None:
        spellings = [spelling for name in (speaker, *others) for spelling in name_prefixes(name)]
        spellings.sort(key=len, reverse=True)
        self.own = frozenset(name_prefixes(speaker))
        self.match = re.compile("|".join(map(re.escape, spellings))).match
        self._longest = len(spellings[0])
        self._beginnings = frozenset(spelling[:size] for spelling in spellings for size in range(1, len(spelling)))

    def may_begin(self, text: str, at: int) -> bool:
        """Whether the text from `at` to its end is the beginning of a spelling."""
        return text[at : at + self._longest] in self._beginnings


def sentence_starts(run: Sequence[str]) -> bool:
    """Whether a sentence may start after this run; a star that stands elsewhere is emphasis."""
    for piece in reversed(run):
        spoken = piece.rstrip()
        if "\n" in piece[len(spoken) :]:
            return True
        if spoken:
            return spoken[-1] in _SENTENCE_END
    return True


def stands_free(bracket: str, run: Sequence[str]) -> bool:
    """Whether a bracket after this run is more than that of `f(x)` or a smiley."""
    before = run[-1][-1] if run else " "
    return bracket == "（" or before == "*" or before.isspace() or not before.isascii() or before in _SENTENCE_END
