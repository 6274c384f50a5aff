"""The words of the format: every tag, alias and marker; found in text, known when cut short, escaped and unescaped.

Tag literals live here, in her/format/render.py and in prompt files, nowhere else. Each word has exactly one `<`, its first
character, and none is the beginning of another: so a word can be recognised the moment it is whole.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from her.types import Kind

Move = Literal["open", "close", "end", "drop"]
"""`close` ends a plan even when nothing opened it; `end` only one that a marker opened; `drop` means nothing."""

NAMES: dict[str, Kind] = {
    **dict.fromkeys(("system_thinking", "system_think", "sys_thinking"), "system_thinking"),
    **dict.fromkeys(("think", "thinking", "thought", "thoughts", "seed:think"), "system_thinking"),
    **dict.fromkeys(("role_thinking", "role_think", "long_role_thinking"), "role_thinking"),
    **dict.fromkeys(("inner_thought", "inner_thoughts"), "role_thinking"),
    **dict.fromkeys(("role_action", "action"), "role_action"),
    **dict.fromkeys(("role_speech", "speech"), "speech"),
}
"""What may stand between `<` and `>`, in lower case. Sources: HER and its drafts, reasoning models (ui.md 5.1)."""

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
"""Control tokens that some servers leave in the text, in lower case."""

WRITTEN: dict[Kind, tuple[str, str]] = {
    kind: (f"<{kind}>", f"</{kind}>") for kind in ("system_thinking", "role_thinking", "role_action")
}
"""The canonical opening and closing tag of each kind; speech has none."""

_CANONICAL = {tag for pair in WRITTEN.values() for tag in pair}
_GAP = r"[ \t]{0,3}"
TAG = re.compile(rf"(?ai:<{_GAP}(?:/{_GAP})?(?:{'|'.join(map(re.escape, NAMES))}){_GAP}>|{'|'.join(map(re.escape, MARKERS))})")
_SPELLINGS = [f"<{slash}{name}>" for slash in ("", "/") for name in NAMES] + list(MARKERS)
_BEGINNINGS = frozenset(word[:size] for word in _SPELLINGS for size in range(1, len(word)))
_LONGEST = max(map(len, _SPELLINGS)) + 9


class Tag(NamedTuple):
    """A word of the format as it stood in the text. `name` is in lower case, `|` for every marker."""

    text: str
    move: Move
    kind: Kind
    name: str

    @property
    def alias(self) -> bool:
        """Whether the strict writer would have written something else."""
        return self.text not in _CANONICAL


@lru_cache(1024)
def read_tag(text: str) -> Tag:
    """The word that `TAG` matched."""
    if move := MARKERS.get(text.lower()):
        return Tag(text, move, "system_thinking", "|")
    name = text.strip("<>/ \t").lower()
    return Tag(text, "close" if "/" in text else "open", NAMES[name], name)


def ends_plan(tag: Tag, opener: Tag, inner: set[str]) -> bool:
    """Whether a tag ends the plan that `opener` began: only a closing one does, its own, or another's not opened within it.

    Args:
        inner: names of the plan tags opened within the plan; `follow_inner` keeps it.
    """
    closes = tag.kind == "system_thinking" and tag.move == "close" and tag.name not in inner
    return closes or (opener.name == "|" and tag.move == "end")


def follow_inner(tag: Tag, opener: Tag, inner: set[str]) -> None:
    """Note a plan tag that is opened or closed within the plan."""
    if tag.kind == "system_thinking" and tag.move == "close":
        inner.discard(tag.name)
    elif tag.kind == "system_thinking" and tag.move == "open" and tag.name != opener.name:
        inner.add(tag.name)


def is_cut(text: str, at: int = 0) -> bool:
    """Whether the text from `at` to its end may be the beginning of a word (then at least `<`)."""
    if len(text) - at > _LONGEST:
        return False
    return text[at:].replace(" ", "").replace("\t", "").lower() in _BEGINNINGS


_ANGLE = re.compile(r"<|&(?:amp;)*lt;")
_ESCAPED_ANGLE = re.compile(r"&(?:amp;)*lt;")
_FENCE = re.compile(r"(?m)^([^\S\n]*)(`|&(?:amp;)*grave;)(?=``)")


def escape(text: str) -> str:
    """The text of one part with nothing in it that the reader takes for structure; `unescape` gives it back.

    Only a `<` before a word of the format (or, at the very end, before the beginning of one) and a code fence that
    nothing closes are rewritten; what looks like such an escape already gets one more `amp;`.
    """
    if "<" not in text and "&" not in text and "`" not in text:
        return text
    text = _ANGLE.sub(lambda found: _deeper(found[0], "&lt;") if _tag_at(found) else found[0], text)
    fences = [found for found in _FENCE.finditer(text) if found[2] == "`"]
    loose = fences[-1].start() if len(fences) % 2 else -1

    def rewrite(found: re.Match[str]) -> str:
        if found[2] == "`" and found.start() != loose:
            return found[0]
        return found[1] + _deeper(found[2], "&grave;")

    return _FENCE.sub(rewrite, text)


def unescape(text: str) -> str:
    """Undo `escape`, one level, on the text of one whole part."""
    if "&" not in text:
        return text
    text = _FENCE.sub(lambda found: found[1] + _shallower(found[2], "`"), text)
    return _ESCAPED_ANGLE.sub(lambda found: _shallower(found[0], "<") if _tag_at(found) else found[0], text)


def _deeper(found: str, entity: str) -> str:
    return "&amp;" + found[1:] if found[0] == "&" else entity


def _shallower(found: str, char: str) -> str:
    if found.startswith("&amp;"):
        return "&" + found[5:]
    return char


def _tag_at(found: re.Match[str]) -> bool:
    """Whether a word of the format would stand here, were the match a bare `<`."""
    rest = "<" + found.string[found.end() : found.end() + _LONGEST]
    return bool(TAG.match(rest)) or (len(rest) > 1 and len(rest) <= _LONGEST and is_cut(rest))
