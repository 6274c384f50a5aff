"""Write parts as text: the canonical notation (`render`) and CoSER notation (`render_coser`).

Canonical text, for a turn with all four kinds:

    <system_thinking>plan</system_thinking>Name: <role_thinking>..</role_thinking><role_action>..</role_action>speech
"""

from collections.abc import Iterable, Sequence

from her.format.tags import WRITTEN, escape
from her.format.turn_builder import normalise
from her.types import KINDS, Kind, Part


def render(parts: Iterable[Part], speaker: str, kinds: Sequence[Kind] = KINDS) -> str:
    """The canonical text of these kinds; the name is written only before something visible.

    `parse(render(parts, speaker), speaker, notation="her").parts == normalise(parts, speaker)`, whatever the texts hold.
    """
    chosen = normalise([part for part in parts if part.kind in kinds], speaker)
    planned = bool(chosen) and chosen[0].kind == "system_thinking"
    texts = [_tagged(part) for part in chosen]
    if len(texts) > planned:
        texts.insert(int(planned), f"{speaker}: ")
    return "".join(texts)


def _tagged(part: Part) -> str:
    before, after = WRITTEN.get(part.kind, ("", ""))
    return before + escape(part.text) + after


def render_coser(parts: Iterable[Part], speaker: str = "", kinds: Sequence[Kind] = KINDS[1:]) -> str:
    """CoSER notation, `Name: [thought] (action) speech`, for people and exports; the plan is never written.

    Brackets within a thought or action are exchanged for the other sort, so that none ends early. Speech stays as it is.
    """
    written = [_bracketed(part) for part in normalise(parts, speaker) if part.kind in kinds]
    return " ".join(([f"{speaker}:"] if speaker else []) + [text for text in written if text])


def _bracketed(part: Part) -> str:
    match part.kind:
        case "role_thinking":
            return f"[{part.text.translate(str.maketrans('[]', '()'))}]"
        case "role_action":
            return f"({part.text.translate(str.maketrans('()（）', '[][]'))})"
        case "speech":
            return part.text
    return ""
