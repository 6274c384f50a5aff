"""Table of the part kinds of a turn: one entry a kind.

The parser, the writers, `her/view.py`, the page and the exports read it. To add a kind, follow the list in docs/format.md.
"""

from typing import Literal, NamedTuple

Kind = Literal["system_thinking", "role_thinking", "role_action", "speech"]
Audience = Literal["nobody", "self", "everyone"]
"""Readers of a part after its turn has ended; `her/view.py` says which viewer counts as which."""
Look = Literal["panel", "direction", "plain"]
"""A panel can be folded and is quoted in exports; a direction is set in italics; plain text is set as it is."""


class Brackets(NamedTuple):
    """Brackets of one kind in CoSER notation.

    Args:
        opening: characters that open it; the first one is written, all are read.
        closing: characters that close it, in the order of `opening`.
        inside: what is written in place of these brackets inside the text, so that no part ends early: one character for
            each of `opening`, then one for each of `closing`.
    """

    opening: str
    closing: str
    inside: str


class PartKind(NamedTuple):
    """All that the code has to know of one kind.

    Args:
        kind: its name; it is the name of its tag as well.
        audience: who reads it after the turn has ended.
        aliases: other tag names that are read as this kind, in lower case. Their sources: docs/format.md.
        brackets: its CoSER brackets; None where it has none.
        pattern: its word in a pattern such as `think-act-speech`; empty leaves the kind out of patterns.
        look: how a page and an export set it.
        css: class of its element on the page.
        label: English name in exports, for panels.
    """

    kind: Kind
    audience: Audience
    aliases: tuple[str, ...]
    look: Look
    css: str
    brackets: Brackets | None = None
    pattern: str = ""
    label: str = ""


TABLE: tuple[PartKind, ...] = (
    PartKind(
        kind="system_thinking",
        audience="nobody",
        aliases=(
            *(
                "system_think",
                "sys_thinking",
                "think",
                "thinking",
                "thought",
                "thoughts",
                "seed:think",
                "mm:think",
                "antml:thinking",
            ),
            *(
                "reasoning",
                "reason",
                "analysis",
                "scratchpad",
                "scratch_pad",
                "reflection",
                "planning",
                "plan",
                "thought_process",
            ),
            *(
                "thinking_process",
                "chain_of_thought",
                "cot",
                "internal_reasoning",
                "antthinking",
                "deliberation",
            ),
        ),
        look="panel",
        css="reasoning",
        label="model reasoning",
    ),
    PartKind(
        kind="role_thinking",
        audience="self",
        aliases=(
            *("role_think", "long_role_thinking", "inner_thought", "inner_thoughts", "internal_thought", "internal_thoughts"),
            *("inner_monologue", "internal_monologue", "inner_voice", "monologue", "character_thought", "character_thoughts"),
            *("private_thought", "private_thoughts", "mind"),
        ),
        look="panel",
        css="thought",
        brackets=Brackets("[", "]", "()"),
        pattern="think",
        label="inner thought",
    ),
    PartKind(
        kind="role_action",
        audience="everyone",
        aliases=("action", "actions", "act", "gesture"),
        look="direction",
        css="act",
        brackets=Brackets("(（", ")）", "[[]]"),
        pattern="act",
    ),
    PartKind(
        kind="speech",
        audience="everyone",
        aliases=("role_speech", "dialogue", "spoken", "say"),
        look="plain",
        css="speech",
        pattern="speech",
    ),
)

PLAN: Kind = "system_thinking"
"""The kind that comes first and once, and is in no history."""
BARE: Kind = "speech"
"""The kind that is written without a tag."""
STARRED: Kind = "role_action"
"""The kind that `*text*` is read as."""
KINDS: tuple[Kind, ...] = tuple(entry.kind for entry in TABLE)
REPLY_KINDS: tuple[Kind, ...] = tuple(entry.kind for entry in TABLE if entry.audience != "nobody")
"""All kinds but the plan, in the order of the table."""
UNSPOKEN_KINDS: tuple[Kind, ...] = tuple(kind for kind in REPLY_KINDS if kind != BARE)
"""Kinds of a reply that nobody hears."""
VISIBLE_KINDS: tuple[Kind, ...] = tuple(entry.kind for entry in TABLE if entry.audience == "everyone")
"""Kinds that every character hears or sees."""
PANEL_KINDS: tuple[Kind, ...] = tuple(entry.kind for entry in TABLE if entry.look == "panel")
BY_KIND: dict[Kind, PartKind] = {entry.kind: entry for entry in TABLE}
