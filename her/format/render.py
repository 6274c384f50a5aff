"""Write parts as text: the canonical notation (`render`) and CoSER notation (`render_coser`).

Canonical text of a turn with all four kinds:

    <system_thinking>plan</system_thinking>Name: <role_thinking>..</role_thinking><role_action>..</role_action>speech
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial

from her.format.tags import WRITTEN, escape, unescape
from her.format.turn_builder import normalise
from her.kinds import BY_KIND, KINDS, PLAN, REPLY_KINDS, Kind
from her.types import Part


def render(parts: Iterable[Part], speaker: str, kinds: Sequence[Kind] = KINDS) -> str:
    """Return the canonical text of the parts of these kinds; the name stands only before a part that is not the plan.

    For any texts, `parse(render(parts, speaker), speaker, notation="her").parts == normalise(parts, speaker)`.
    """
    chosen = normalise([part for part in parts if part.kind in kinds], speaker)
    planned = bool(chosen) and chosen[0].kind == PLAN
    texts = [_tagged(part) for part in chosen]
    if len(texts) > planned:  # more than the plan
        texts.insert(int(planned), f"{speaker}: ")
    return "".join(texts)


def _tagged(part: Part) -> str:
    before, after = WRITTEN.get(part.kind, ("", ""))
    return before + escape(part.text) + after


def render_coser(parts: Iterable[Part], speaker: str = "", kinds: Sequence[Kind] = REPLY_KINDS) -> str:
    """Return the parts in CoSER notation, `Name: [thought] (action) speech`, for people and exports; never the plan.

    Brackets inside a thought or action become brackets of another sort, so that no part ends early. Speech stays as it is.
    """
    texts = [_bracketed(part) for part in normalise(parts, speaker) if part.kind in kinds and part.kind in REPLY_KINDS]
    return " ".join(([f"{speaker}:"] if speaker else []) + texts)


def _bracketed(part: Part) -> str:
    pair = BY_KIND[part.kind].brackets
    if pair is None:
        return part.text
    inner = part.text.translate(str.maketrans(pair.opening + pair.closing, pair.inside))
    return f"{pair.opening[0]}{inner}{pair.closing[0]}"


def coser_notation(text: str) -> str:
    """Return text in the canonical notation, such as a message of `her.view`, with thoughts and actions in CoSER's brackets."""
    for kind in REPLY_KINDS:
        if kind in WRITTEN:
            opening, closing = map(re.escape, WRITTEN[kind])
            text = re.sub(f"(\\s?){opening}(.*?){closing}(\\s?)", partial(_rebracketed, kind), text, flags=re.DOTALL)
    return text


def _rebracketed(kind: Kind, found: re.Match[str]) -> str:
    bracketed = _bracketed(Part(kind=kind, text=unescape(found[2])))
    before = found[1] or (" " if found.start() else "")
    after = found[3] or (" " if found.end() < len(found.string) else "")
    return f"{before}{bracketed}{after}"
