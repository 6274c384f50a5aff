"""Characters at which the parser stops to look for a token, by what it is inside of; `re` skips all other text."""

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache

from her.format.foreign_marks import foreign_tables
from her.format.markers import BRACKETS, Mode, Notation
from her.format.names import wide_names
from her.format.tags import tag_begins
from her.kinds import BARE, KINDS, PLAN, TABLE

Search = Callable[..., re.Match[str] | None]


class StopSearch:
    """Search for the next stop, by a pattern, and by one that is faster and finds the same in a text in ASCII."""

    __slots__ = ("any_text", "ascii_text")

    def __init__(self, pattern: str, in_ascii: str = "") -> None:
        self.any_text: Search = re.compile(pattern).search
        self.ascii_text: Search = re.compile(in_ascii or pattern).search


_OPENING = re.escape("".join(BRACKETS))
BARE_STOPS: dict[Notation, StopSearch] = {
    "her": StopSearch(r"[<\n]"),
    "asterisk": StopSearch(r"[<\n*]"),
    "coser": StopSearch(rf"[<\n*{_OPENING}]"),
    "auto": StopSearch(r"[<＜◁\[\n]", r"[<\[\n]"),  # stars and brackets: her.format.dialect
}
"""Stops in bare text, by notation; in `auto` as long as no name is looked for."""
_TAGS_ONLY = StopSearch("<")
_FOREIGN_TAGS = StopSearch(r"[<＜◁\[]", r"[<\[]")
"""Stops inside a plan in the notation `auto`."""
ESCAPED_TAGS = StopSearch(r"[<＜◁\[&\\]")
"""The same inside a plan whose opening mark was escaped."""
BARE_CHANNEL = StopSearch(r"assistant|a(?:s(?:s(?:i(?:s(?:t(?:an?)?)?)?)?)?)?\Z|[<＜◁\[]")
"""The same inside a plan of gpt-oss whose marks are stripped."""
_INNER_STOPS: dict[Mode, StopSearch] = {
    **{
        entry.brackets.opening[0]: StopSearch(f"[<{re.escape(entry.brackets.opening + entry.brackets.closing)}]")
        for entry in TABLE
        if entry.brackets
    },
    "*": StopSearch(r"[<*\n]"),
}
"""The same inside a bracket or star, by mode."""


@lru_cache(256)
def stops_by_mode(notation: Notation, speaker: str, others: tuple[str, ...], named: bool = False) -> Mapping[Mode, StopSearch]:
    """Return the stops in each mode of a turn of this speaker; kept, since all turns of a chat have them.

    Args:
        named: whether tags count that stand in no table, so that each `<` is a stop.
    """
    bare = BARE_STOPS[notation]
    inside, plan = _TAGS_ONLY, _TAGS_ONLY
    if notation == "auto":
        names = wide_names(speaker, others)
        bare, plan = StopSearch(names.stops, names.ascii_stops), _FOREIGN_TAGS
    if not named:
        inside, plan = _tokens(notation == "auto")
    return {**dict.fromkeys((*KINDS, "cut"), inside), **_INNER_STOPS, PLAN: plan, BARE: bare}


@cache
def _tokens(wide: bool) -> tuple[StopSearch, StopSearch]:
    """Return the stops inside a role tag and inside a plan: only places where a token of the table may begin."""
    if not wide:
        return (StopSearch(tag_begins().pattern),) * 2
    tables = foreign_tables()
    return StopSearch(tables.inside), StopSearch(tables.anywhere, tables.in_ascii)
