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
    return Rendering(parts, speaker).text(kinds)


class Rendering:
    """The canonical texts of one turn for several readers; what they have in common is made once.

    Attributes:
        parts: the parts in their canonical form.
    """

    def __init__(self, parts: Iterable[Part], speaker: str) -> None:
        self.parts = normalise(parts, speaker)
        self._name = speaker
        self._texts = [(part.kind, _tagged(part)) for part in self.parts]

    def text(self, kinds: Sequence[Kind] = KINDS) -> str:
        """Return the text of the parts of these kinds, as `render` does."""
        chosen = [text for text in self._texts if text[0] in kinds]
        before = ""
        for kind, _ in chosen:
            if kind == before:  # what stood between them is left out, so they become one part
                return Rendering([part for part in self.parts if part.kind in kinds], self._name).text(kinds)
            before = kind
        planned = bool(chosen) and chosen[0][0] == PLAN
        texts = [text for _, text in chosen]
        if len(texts) > planned:  # more than the plan
            texts.insert(int(planned), f"{self._name}: ")
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
