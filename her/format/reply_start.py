"""Marks that count at the very start of a reply only, in the notation `auto`: escaped ones, gpt-oss without its marks, and any
unknown pair of tags, each around a plan.
"""

from typing import Literal, NamedTuple

from her.format.foreign_marks import ESCAPED, ESCAPED_LONGEST, UNKNOWN, UNKNOWN_BEGUN, find_foreign, is_cut_foreign
from her.format.mark_table import BARE_CHANNELS, HTML_NAMES
from her.format.stops import BARE_CHANNEL, ESCAPED_TAGS, StopSearch
from her.format.tags import Tag
from her.kinds import PLAN

_BEHIND_CHANNEL = frozenset("\"'“‘<*(")
"""What may be glued to a channel's name beside a letter: `analysis is hard.` is speech, `analysisWe need` is a plan."""


class PlanStart(NamedTuple):
    """A mark that begins a plan: its token, its end, the stops inside where they are special, the name of an unknown pair."""

    tag: Tag
    end: int
    stops: StopSearch | None = None
    unknown: str = ""


def find_start(text: str, at: int, final: bool, unknown: bool) -> PlanStart | Literal["wait"] | None:
    """Look for such a mark at this position; "wait" when only more text decides.

    Args:
        final: the text ends here; no more comes.
        unknown: whether pairs of any name are looked for.
    """
    match text[at]:
        case "&" | "\\":
            return _escaped(text, at, final)
        case "a" | "c":
            return _channel(text, at, final)
        case "<" if unknown:
            return _unknown_pair(text, at, final)
    return None


def _escaped(text: str, at: int, final: bool) -> PlanStart | Literal["wait"] | None:
    if match := ESCAPED.match(text, at):
        return PlanStart(Tag(match[0], "open", PLAN, match[1].lower()), match.end(), ESCAPED_TAGS)
    return "wait" if not final and len(text) - at < ESCAPED_LONGEST and text.find("\n", at) < 0 else None


def _channel(text: str, at: int, final: bool) -> PlanStart | Literal["wait"] | None:
    for word in BARE_CHANNELS:
        end = at + len(word)
        rest = text[at:end]
        if rest == word and end < len(text):
            glued = text[end].isalnum() or text[end] in _BEHIND_CHANNEL
            return PlanStart(Tag(word, "open", PLAN, "|"), end, BARE_CHANNEL) if glued else None
        if end >= len(text) and word.startswith(rest):
            return None if final else "wait"
    return None


def _unknown_pair(text: str, at: int, final: bool) -> PlanStart | Literal["wait"] | None:
    if find_foreign(text, at):
        return None
    if is_cut_foreign(text, at):  # what is known may still come, or `<role_>` in place of `<role_action>`
        return None if final else "wait"
    match = UNKNOWN.match(text, at)
    if match is None:
        return "wait" if not final and UNKNOWN_BEGUN.match(text, at) else None
    name = match[1].lower()
    return None if name in HTML_NAMES else PlanStart(Tag(match[0], "open", PLAN, name), match.end(), None, name)
