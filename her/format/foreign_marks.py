"""Tokens of the notation `auto`: those of `her.format.tags` in every spelling, and the marks of `her.format.mark_table`.

Every token begins with one of `<`, `＜`, `[`, `◁`. A token is known when its last character has come; `is_cut` says whether more
text may still complete one.
"""

import re
from functools import cache, lru_cache

from her.format.mark_table import MARKS, PLAN_ELEMENT, WRAPPER_NAMES, Mark
from her.format.tags import GAP, MARKERS, NAMES, Tag, word_or_beginning
from her.kinds import BARE, PLAN

_NAMES = [*NAMES, *WRAPPER_NAMES, PLAN_ELEMENT]


def _tag(mark: Mark, text: str, closes: bool) -> Tag:
    """Return the token that one side of a mark is."""
    if mark.role == "plan":
        return Tag(text, "close" if closes else "open", PLAN, mark.opening.strip("[]◁▷<|>").lower() if mark.closing else "|")
    return Tag(text, "wrap" if mark.role == "wrapper" else mark.role, BARE, text)


_ATTRIBUTES = r"(?:[ \t][^<>＜＞\n]{0,200})?"
_ANGLE = re.compile(rf"[<＜]{GAP}(?:[/／]{GAP})?([A-Za-z][\w:]*){_ATTRIBUTES}/?{GAP}[>＞]", re.ASCII)
_PIPE = re.compile(r"<[|｜][^|｜<>\n]{1,40}[|｜]>")
# A token with more behind its pipes, such as `<|channel|>analysis`, by what stands before it; the others by their first two
# characters. Markers of gpt-oss and Command come in both cases.
_KNOWN = frozenset(_NAMES)


class _Tables:
    """The tokens that do not stand in `_NAMES`, and how they are looked up; made at the first use.

    A token with more behind its pipes, such as `<|channel|>analysis`, is found by what stands before it; the others by their
    first two characters. `anywhere`, `in_ascii` and `inside` (no role) are patterns, see `_begins`.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, Tag] = {
            **{text: Tag(text, move, PLAN, "|") for text, move in MARKERS.items()},
            **{mark.opening: _tag(mark, mark.opening, False) for mark in MARKS},
            **{mark.closing: _tag(mark, mark.closing, True) for mark in MARKS if mark.closing},
        }
        self.behind_pipes: dict[str, list[str]] = {}
        self.by_start: dict[str, list[str]] = {}
        for text in sorted(self.tokens, key=len, reverse=True):
            match = _PIPE.match(text)
            if match is None:
                self.by_start.setdefault(text[:2].lower(), []).append(text)
            elif match.end() < len(text):
                self.behind_pipes.setdefault(match[0].lower(), []).append(text[match.end() :])
        spellings = [f"<{slash}{name}{end}" for slash in ("", "/") for name in _NAMES for end in (">", "/>")] + [
            text.lower() for text in self.tokens
        ]
        self.beginnings = frozenset(word[:size] for word in spellings for size in range(1, len(word)))
        self.longest = max(map(len, spellings)) + 9
        self.anywhere, self.in_ascii, self.inside = self._begins("<＜◁["), self._begins("<["), self._begins("<")

    def _begins(self, firsts: str) -> str:
        """Return the pattern of the places where a token begins, or may begin at the end of the text, in lower case."""
        names = word_or_beginning(_NAMES)
        others = {
            first: word_or_beginning(text[1:].lower() for text in self.tokens if text[0] == first)
            for first in firsts
            if first in "<◁["
        }
        branches = [rf"(?<=[<＜]){GAP}(?:[/／]{GAP})?(?:{names}(?=[ \t/>＞]|\Z)|\Z)"]
        branches += [f"(?<={re.escape(first)}){tree}" for first, tree in others.items()]
        return f"[{re.escape(firsts)}](?i:{'|'.join(branches)})"


@cache
def foreign_tables() -> _Tables:
    """Return the tables of all tokens; made once, in 50 ms."""
    return _Tables()


def find_foreign(text: str, at: int) -> str:
    """Return the token of the notation `auto` that begins at this place; empty without one."""
    if text[at] in "<＜":
        if match := _ANGLE.match(text, at):
            if match[1].lower() in _KNOWN:
                return match[0]
        elif match := _PIPE.match(text, at):
            for behind in foreign_tables().behind_pipes.get(match[0].lower(), ()):
                if text[match.end() : match.end() + len(behind)].lower() == behind:
                    return match[0] + behind
            return match[0] if match[0] in foreign_tables().tokens or match[0].lower() in MARKERS else ""
    for token in foreign_tables().by_start.get(text[at : at + 2].lower(), ()):
        if text.startswith(token, at) or (token in MARKERS and text[at : at + len(token)].lower() == token):
            return text[at : at + len(token)]
    return ""


@cache
def foreign_begins() -> re.Pattern[str]:
    """Return the pattern of the places where a token begins, or may begin at the end of the text."""
    return re.compile(foreign_tables().anywhere)


@cache
def whole_tokens() -> dict[str, Tag]:
    """Return the tokens that end at their first `>` and are written exactly so; most are, and a dict finds them at once."""
    words = [f"<{slash}{name}>" for slash in ("", "/") for name in _NAMES] + list(foreign_tables().tokens)
    whole = [word for word in words if word[0] == "<" and word.find(">") == len(word) - 1]
    return {word: read_foreign(word) for word in whole if find_foreign(word, 0) == word}


_OPEN_ATTRIBUTES = re.compile(
    rf"[<＜]{GAP}(?:[/／]{GAP})?(?ai:{'|'.join(map(re.escape, _NAMES))})[ \t][^<>＜＞\n]{{0,201}}/?{GAP}\Z"
)
_WIDE = str.maketrans("＜＞／", "<>/")
UNKNOWN = re.compile(r"<([A-Za-z][\w:.-]{0,40})(?:[ \t][^<>\n]{0,200})?>")
"""An opening tag of any name; a plan at the very start of a reply, see `HTML_NAMES`."""
UNKNOWN_BEGUN = re.compile(r"<(?:[A-Za-z][\w:.-]{0,40}(?:[ \t][^<>\n]{0,200})?)?\Z")
_ESCAPED_OPEN, _ESCAPED_CLOSE = r"(?:&(?:amp;){0,3}lt;|\\<)", r"(?:&(?:amp;){0,3}gt;|\\?>)"
_PLAN_NAMES = "|".join(re.escape(name) for name, kind in NAMES.items() if kind == PLAN)
ESCAPED = re.compile(rf"{_ESCAPED_OPEN}(?i:({_PLAN_NAMES})){_ESCAPED_CLOSE}")
ESCAPED_END = re.compile(rf"{_ESCAPED_OPEN}/(?i:({_PLAN_NAMES})){_ESCAPED_CLOSE}")
ESCAPED_LONGEST = 80
"""Characters of the longest escaped mark, rounded up."""


@lru_cache(2048)
def read_foreign(text: str) -> Tag:
    """Return the token that `FOREIGN` matched."""
    if tag := foreign_tables().tokens.get(text) or foreign_tables().tokens.get(text.lower()):
        return tag
    bare = text.translate(_WIDE).strip("<> \t")
    closes, empty = bare.startswith("/"), bare.endswith("/")
    name, _, attributes = bare.strip("/ \t").partition(" ")
    name = name.split("\t")[0].lower()
    if name == PLAN_ELEMENT:
        return Tag(text, "close" if closes else "open", PLAN, name if closes or "reasoning" in attributes else "details?")
    if empty:
        return Tag(text, "drop", PLAN, name)
    if name in WRAPPER_NAMES:
        return Tag(text, "wrap", BARE, ("/" if closes else "") + name)
    return Tag(text, "close" if closes else "open", NAMES[name], name)


def is_cut_foreign(text: str, at: int) -> bool:
    """Return whether the text from `at` to its end may be the beginning of a token."""
    size = len(text) - at
    if size > 240:
        return False
    rest, tables = text[at:], foreign_tables()
    if size <= tables.longest:
        bare = rest.lower() if rest.isascii() else rest.translate(_WIDE).lower()
        if bare in tables.beginnings:
            return True
        if " " not in bare and "\t" not in bare:
            return False
        if bare.replace(" ", "").replace("\t", "") in tables.beginnings:
            return True
    return _OPEN_ATTRIBUTES.match(rest) is not None


def without_end(text: str) -> str:
    """Return the text of a turn without the token that ended it, so that it can be continued."""
    bare = text.rstrip()
    ends = [token for token, tag in foreign_tables().tokens.items() if tag.move in ("turn_end", "turn_start", "end")]
    ending = next((token for token in ends if bare.endswith(token)), "")
    return bare[: -len(ending)] if ending else text
