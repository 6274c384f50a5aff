"""Characters at which the parser stops to look for a token, by what it is inside of; all other text is skipped at the speed of `re`."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from her.format.markers import BRACKETS, Mode, Notation
from her.format.names import wide_names
from her.kinds import KINDS, PLAN, TABLE

Search = Callable[..., re.Match[str] | None]


class Stops(NamedTuple):
    """A search for the next stop, and one that is faster and finds the same in a text in ASCII."""

    any_text: Search
    ascii_text: Search


def _stops(characters: str, in_ascii: str = "") -> Stops:
    search = re.compile(f"[{characters}]").search
    return Stops(search, re.compile(f"[{in_ascii}]").search if in_ascii else search)


_OPENING = re.escape("".join(BRACKETS))
BARE_STOPS: dict[Notation, Stops] = {
    "her": _stops(r"<\n"),
    "asterisk": _stops(r"<\n*"),
    "coser": _stops(rf"<\n*{_OPENING}"),
    "auto": _stops(r"<＜◁\[\n", r"<\[\n"),  # stars and brackets: her.format.dialect
}
"""Stops in bare text, by notation; in `auto` as long as no name is looked for."""
_TAGS_ONLY = _stops("<")
_FOREIGN_TAGS = _stops(r"<＜◁\[", r"<\[")
"""Stops inside a plan in the notation `auto`."""
ESCAPED_TAGS = _stops(r"<＜◁\[&\\")
"""The same inside a plan whose opening mark was escaped."""
_BARE_CHANNEL = re.compile(r"assistant|a(?:s(?:s(?:i(?:s(?:t(?:an?)?)?)?)?)?)?\Z|[<＜◁\[]").search
BARE_CHANNEL = Stops(_BARE_CHANNEL, _BARE_CHANNEL)
"""The same inside a plan of gpt-oss whose marks are stripped."""
_INNER_STOPS: dict[Mode, Stops] = {
    **{
        entry.brackets.opening[0]: _stops("<" + re.escape(entry.brackets.opening + entry.brackets.closing))
        for entry in TABLE
        if entry.brackets
    },
    "*": _stops(r"<*\n"),
}
"""The same inside a bracket or star, by mode."""


@lru_cache(256)
def stops_by_mode(notation: Notation, speaker: str, others: tuple[str, ...]) -> Mapping[Mode, Stops]:
    """Return the stops in each mode of a turn of this speaker; kept, since all turns of a chat have them."""
    bare = BARE_STOPS[notation]
    if notation == "auto":
        names = wide_names(speaker, others)
        bare = Stops(names.stops, names.ascii_stops)
    plan = _FOREIGN_TAGS if notation == "auto" else _TAGS_ONLY
    return {**dict.fromkeys((*KINDS, "cut"), _TAGS_ONLY), **_INNER_STOPS, PLAN: plan, "speech": bare}
