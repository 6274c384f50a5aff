"""Tokens of the format: every tag, alias and marker; how to find them in text, escape them and unescape them.

Tag literals stand here, in her/format/render.py and in prompt files, nowhere else. Each token has exactly one `<`, as its
first character, and no token is the beginning of another one: a token is known as soon as its last character has come.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

from her.kinds import BARE, KINDS, PLAN, TABLE, Kind

Move = Literal["open", "close", "end", "drop", "wrap", "turn_end", "turn_start"]
"""`close` ends a plan even when nothing opened it; `end` ends only a plan that a marker opened; `drop` has no effect. The last
three are moves of `her.format.foreign_marks` only: wrappers are taken off, the others end the turn."""

NAMES: dict[str, Kind] = {name: entry.kind for entry in TABLE for name in (entry.kind, *entry.aliases)}
"""Kind of each tag name, in lower case: what stands between `<` or `</` and `>`."""

MARKERS: dict[str, Move] = {
    "<|channel|>analysis": "open",  # gpt-oss
    "<|message|>": "drop",
    "<|end|>": "end",
    "<|return|>": "end",
    "<|start|>assistant": "drop",
    "<|channel|>final": "end",
    "<|channel>thought": "open",  # Gemma
    "<channel|>": "close",
    "<|start_thinking|>": "open",  # Command
    "<|end_thinking|>": "close",
    "<|start_response|>": "drop",
    "<|end_response|>": "drop",
    "<|think|>": "open",
    "<|content|>": "close",
}
"""Control tokens of plans that some servers leave in the text, in lower case."""

WRITTEN: dict[Kind, tuple[str, str]] = {kind: (f"<{kind}>", f"</{kind}>") for kind in KINDS if kind != BARE}
"""Canonical opening and closing tag of each kind that has one."""

_CANONICAL = {tag for pair in WRITTEN.values() for tag in pair}
GAP = r"[ \t]{0,3}"
"""Blanks that may stand beside the name in a tag."""
TAG = re.compile(rf"(?ai:<{GAP}(?:/{GAP})?(?:{'|'.join(map(re.escape, NAMES))}){GAP}>|{'|'.join(map(re.escape, MARKERS))})")
_SPELLINGS = [f"<{slash}{name}>" for slash in ("", "/") for name in NAMES] + list(MARKERS)
_BEGINNINGS = frozenset(word[:size] for word in _SPELLINGS for size in range(1, len(word)))
# The longest token with all its blanks: three gaps of up to three each (`GAP`).
_LONGEST = max(map(len, _SPELLINGS)) + 9


class Tag(NamedTuple):
    """A token as it stands in the text. `name` is in lower case, and `|` for every marker."""

    text: str
    move: Move
    kind: Kind
    name: str

    @property
    def alias(self) -> bool:
        """True when the token is not written as `render` writes it."""
        return self.text not in _CANONICAL


@lru_cache(1024)
def read_tag(text: str) -> Tag:
    """Return the token that `TAG` matched."""
    if move := MARKERS.get(text.lower()):
        return Tag(text, move, PLAN, "|")
    name = text.strip("<>/ \t").lower()
    return Tag(text, "close" if "/" in text else "open", NAMES[name], name)


def any_word(words: Iterable[str], cut: str | None = None) -> str:
    """Return a pattern that matches where one of the words stands, the longest first.

    It is a tree of letters, so that a place without a word is given up at the first letter that fits none.

    Args:
        cut: pattern of what may stand in place of the rest of a word; None for nothing.
    """
    tree: dict[str, Any] = {}
    for word in words:
        node = tree
        for char in word:
            node = node.setdefault(char, {})
        node[""] = {}
    return _branches(tree, cut)


def word_or_beginning(words: Iterable[str]) -> str:
    """Return a pattern that matches where one of the words stands, or at the end of the text the beginning of one."""
    return any_word(words, cut=r"\Z")


def _branches(node: dict[str, Any], cut: str | None) -> str:
    branches = [re.escape(char) + _branches(after, cut) for char, after in node.items() if char]
    ends = "" if "" in node else cut
    if ends is not None:
        branches.append(ends)
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


@cache
def tag_begins() -> re.Pattern[str]:
    """Return the pattern of the places where a token of `TAG` begins, or may begin at the end of the text."""
    names, markers = word_or_beginning(NAMES), word_or_beginning(marker.removeprefix("<") for marker in MARKERS)
    return re.compile(rf"<(?i:{GAP}(?:/{GAP})?(?:{names}(?=[ \t>]|\Z)|\Z)|{markers})")


def find_tag(text: str, at: int) -> str:
    """Return the token that begins at this place; empty without one."""
    match = TAG.match(text, at)
    return match[0] if match else ""


def ends_plan(tag: Tag, opener: Tag, inner: set[str]) -> bool:
    """Return whether a tag ends the plan that `opener` began.

    The plan's closing tag does, and so does the closing tag of another alias, unless that alias was opened inside the plan:
    models open `<think>` and close `</system_thinking>`, but they quote whole pairs as well.

    Args:
        inner: names of the plan tags opened inside the plan; `follow_inner` keeps the set up to date.
    """
    closes = tag.kind == PLAN and tag.move == "close" and tag.name not in inner
    return closes or (opener.name == "|" and tag.move == "end")


def follow_inner(tag: Tag, opener: Tag, inner: set[str]) -> None:
    """Update `inner` for a plan tag that is opened or closed inside the plan."""
    if tag.kind == PLAN and tag.move == "close":
        inner.discard(tag.name)
    elif tag.kind == PLAN and tag.move == "open" and tag.name != opener.name:
        inner.add(tag.name)


def is_cut(text: str, at: int = 0) -> bool:
    """Return whether the text from `at` to its end may be the beginning of a token; it is at least `<` then."""
    if len(text) - at > _LONGEST:
        return False
    return text[at:].replace(" ", "").replace("\t", "").lower() in _BEGINNINGS


_ANGLE = re.compile(r"<|&(?:amp;)*lt;")
_ESCAPED_ANGLE = re.compile(r"&(?:amp;)*lt;")
_FENCE = re.compile(r"(?m)^([^\S\n]*)(`|&(?:amp;)*grave;)(?=``)")


def escape(text: str) -> str:
    """Return the text of one part without anything that the parser would take for structure; `unescape` undoes it.

    Two things are rewritten: a `<` that begins a token (or, at the end of the text, the beginning of a token) and a code
    fence that nothing closes. A text that looks like such an escape already gets one more `amp;`, so that escaping is a
    bijection (docs/format.md).
    """
    if "<" not in text and "&" not in text and "`" not in text:
        return text
    text = _ANGLE.sub(lambda match: _deeper(match[0], "&lt;") if _begins_token(match) else match[0], text)
    fences = [match for match in _FENCE.finditer(text) if match[2] == "`"]
    # Fences pair up in order, so of an odd number the last one stays open.
    unclosed = fences[-1].start() if len(fences) % 2 else -1

    def rewrite(match: re.Match[str]) -> str:
        if match[2] == "`" and match.start() != unclosed:
            return match[0]
        return match[1] + _deeper(match[2], "&grave;")

    return _FENCE.sub(rewrite, text)


def unescape(text: str) -> str:
    """Undo `escape` once, on the whole text of one part."""
    if "&" not in text:
        return text
    text = _FENCE.sub(lambda match: match[1] + _shallower(match[2], "`"), text)
    return _ESCAPED_ANGLE.sub(lambda match: _shallower(match[0], "<") if _begins_token(match) else match[0], text)


def _deeper(token: str, entity: str) -> str:
    """Escape a character as its entity, or an entity by one more `amp;`."""
    return "&amp;" + token[1:] if token[0] == "&" else entity


def _shallower(entity: str, char: str) -> str:
    """Undo `_deeper`."""
    if entity.startswith("&amp;"):
        return "&" + entity[5:]
    return char


def _begins_token(match: re.Match[str]) -> bool:
    """Return whether a token, or at the end of the text its beginning, would stand here if the match were a bare `<`."""
    rest = "<" + match.string[match.end() : match.end() + _LONGEST]
    return bool(TAG.match(rest)) or (len(rest) > 1 and len(rest) <= _LONGEST and is_cut(rest))
