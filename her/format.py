"""Text <-> parts, the door of the format: the reader (`parse`, `Parser`), the strict writer (`render`), `DEFECTS`.

Canonical text, for a turn with all four kinds:

    <system_thinking>plan</system_thinking>Name: <role_thinking>..</role_thinking><role_action>..</role_action>speech
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from her import brackets
from her.draft import DEFECTS, normalise
from her.notations import LONE_SURROGATE, Notation
from her.parser import Parser
from her.tags import WRITTEN, escape
from her.types import KINDS, Kind, Part, Turn

__all__ = [
    "DEFECTS",
    "Notation",
    "Parser",
    "normalise",
    "parse",
    "pattern",
    "pattern_entropy",
    "plain_turn",
    "render",
    "render_coser",
]

_SHORT: dict[Kind, str] = {"role_thinking": "think", "role_action": "act", "speech": "speech"}


def parse(
    text: str,
    speaker: str,
    others: Iterable[str] = (),
    notation: Notation = "auto",
    reasoning: str = "",
    turn_id: str | None = None,
) -> Turn:
    """Read a whole turn: `Parser`, fed once. Never raises for any `text`; `raw` is the text."""
    others = tuple(others)
    if notation == "coser" and not reasoning and (turn := brackets.read(text, speaker, others, turn_id)):
        return turn
    parser = Parser(speaker, others, notation)
    parser.feed_reasoning(reasoning)
    parser.feed(text)
    return parser.close(turn_id)


def plain_turn(speaker: str, text: str) -> Turn:
    """What a person typed, as one speech part: tags, brackets and stars in it are text."""
    text = LONE_SURROGATE.sub("\ufffd", text)
    spoken = text.strip()
    return Turn(speaker=speaker, parts=(Part(kind="speech", text=spoken),) if spoken else (), raw=text)


def pattern(parts: Iterable[Part]) -> str:
    """The order of the visible kinds, such as `think-act-speech` (her.md 1.5); the plan is left out."""
    return "-".join(name for name, _ in groupby(_SHORT[part.kind] for part in parts if part.kind in _SHORT))


def pattern_entropy(patterns: Iterable[str]) -> float:
    """Shannon entropy of the patterns in bits; 0 for none."""
    counts = Counter(patterns).values()
    total = sum(counts)
    return math.fsum(count / total * math.log2(total / count) for count in counts)


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
