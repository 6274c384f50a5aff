"""Names before a line, as models write them: in any case, in wrappers, with an emote, with invisible characters around them.

    Mara:   MARA :   *Mara:*   **Mara**：   "Mara":   [Mara]:   【Mara】   ### Mara   Mara (smiling):   {{char}}:   User:

Wrappers have to be closed before or behind the colon. Without a colon a name counts only in brackets or as a heading.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from her.format.mark_table import (
    BARE_CHANNELS,
    HEADED_OTHERS,
    HEADED_OWN,
    OTHER_NAMES,
    OTHER_ROLE_WORDS,
    OWN_NAMES,
    ROLE_WORDS,
    WRAPPER_NAMES,
)

_HIDDEN = "\u200b-\u200f\u2060\ufeff\u00ad"
_S = rf"[ \t\u00a0\u3000{_HIDDEN}]{{0,6}}"
_COLON = "[:：﹕∶]"
_OPEN, _CLOSE = r"[\[【(（〔［「『〖\"“'‘<{《]", r"[\]】)）〕］」』〗\"”'’>}》]"
_EMOTE = r"(?:[(（\[［*]{s}(?P<emote{n}>[^()（）\[\]［］*\n:：]{{1,80}}?){s}[)）\]］*])"
_EMOTE_BEGUN = re.compile(
    rf"{_S}{_CLOSE}{{0,2}}[*_]{{0,3}}{_S}(?:[(（\[［*][^()（）\[\]［］*\n:：]{{0,90}}(?:[)）\]］*]{_S}[*_]{{0,3}}{_S})?)?"
)
_COLON_BEGUN = re.compile(rf"{_S}{_CLOSE}{{0,2}}[*_]{{0,3}}{_S}{_COLON}{_S}[\"”'’\]】)）〕］」』}}*_]{{0,4}}")
_BEFORE = re.compile(rf"[{_HIDDEN}]{{0,6}}(?:#{{1,6}}{_S})?[*_]{{0,3}}{_OPEN}{{0,2}}[*_]{{0,3}}{_S}")
_DECIDED = re.compile(rf"[#\]】］〕{_COLON[1:]}")
"""One of these stands in the line of each spelling, or `_CLOSED` does behind its first two characters."""
_CLOSED = re.compile(r"[*_]")
_LEADING = frozenset("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad#*_[【(（〔［「『〖\"“'‘<{《")
"""What may stand at the beginning of a name's line beside a letter."""
_MOST_BEFORE = 40
"""Characters that `_BEFORE` matches at most, rounded up."""
_ROOM = 110
"""Characters that may stand around a name."""


class NameFound(NamedTuple):
    """A name at the beginning of a line: its end, whether it is the speaker's own, its spelling, and an emote beside it."""

    end: int
    own: bool
    text: str
    emote: str = ""


def folded(text: str) -> str:
    """Return the text in lower case, of the same length."""
    low = text.lower()
    if text.isascii() or (len(low) == len(text) and "Σ" not in text):  # a sigma in lower case depends on its neighbours
        return low
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


class WideNames:
    """Finder of names at the beginning of a line. `look` returns None for none, and -1 when more text has to come."""

    def __init__(self, speaker: str, others: Sequence[str]) -> None:
        own = tuple(dict.fromkeys([folded(speaker), *OWN_NAMES]))
        rest = [folded(name) for name in others]
        rest += [name for name in OTHER_NAMES if name not in (folded(speaker), *rest)]
        self._own = frozenset(name for name in own if name == folded(speaker) or name not in rest) | frozenset(HEADED_OWN)
        self._names = sorted({*self._own - set(HEADED_OWN), *rest}, key=len, reverse=True)
        self._headed = (*HEADED_OWN, *HEADED_OTHERS)
        self._patterns = _patterns(tuple(self._names), self._headed)
        self._words = (*ROLE_WORDS, *OTHER_ROLE_WORDS)
        everything = (*self._names, *self._headed, *self._words)
        self._firsts = frozenset(name[0] for name in (*self._names, *self._words) if name)
        self._pairs = frozenset(name[:2] for name in (*self._names, *self._words) if name)
        self._odd = frozenset(name[0] for name in everything if name and not name[0].isalnum())
        # What may stand behind one leading character; names behind `#` alone are looked for there.
        seconds = {name[1] for name in everything if len(name) > 1 and name[0] in _LEADING}
        headed = {name[0] for name in self._headed if name not in WRAPPER_NAMES}
        self._behind = self._firsts | seconds | headed | _LEADING | frozenset(" \t\u00a0\u3000")
        plain = f"{folded(speaker)}:"
        # The canonical spelling needs no pattern, unless a longer name begins with it.
        self._canonical = plain if not any(name.startswith(plain) for name in everything) else "\n"
        self._exact = f"{speaker}:" if self._canonical == plain else "\n"
        self._longest = max(map(len, everything))
        self._beginnings = frozenset(name[:size] for name in everything for size in range(1, len(name) + 1))
        self._any = re.compile("|".join(sorted(map(re.escape, everything), key=len, reverse=True)))
        self.stops = _line_stops("<＜◁[", everything)
        self.ascii_stops = _line_stops("<[", everything)

    def look(self, text: str, at: int, final: bool, fresh: Callable[[], bool]) -> "NameFound | int | None":
        """Look for a name at this position.

        Args:
            final: the text ends here; no more comes.
            fresh: says whether nothing visible has come yet: then a word of a chat template alone on its line counts as well.
        """
        char = text[at]
        if char.isalnum():
            # Two letters decide about most lines; a name of one letter has only one.
            if char not in self._firsts and folded(char) not in self._firsts:
                return None
            if at + 1 < len(text) and (pair := folded(text[at : at + 2])) not in self._pairs and pair[0] not in self._pairs:
                return None
            if text.startswith(self._exact, at):
                end = at + len(self._exact)
                return NameFound(end, True, self._exact)
        elif char not in _LEADING or (char != "#" and at + 1 < len(text) and folded(text[at + 1]) not in self._behind):
            return None
        window = text[at : at + self._longest + _ROOM]
        fold = folded(window)
        start = 0
        if not char.isalnum():
            start = before.end() if (before := _BEFORE.match(fold)) else 0
            first = fold[start : start + 1]
            if first and first not in self._firsts and fold[0] not in self._firsts and "#" not in fold[:start]:
                return None
        elif fold.startswith(self._canonical):
            end = at + len(self._canonical)
            return NameFound(end, True, text[at:end])
        line = fold.find("\n")
        grows = not final and line < 0 and at + len(window) == len(text)
        # Every spelling has a name behind such marks: most lines are decided here.
        if not self._any.match(fold, start) and self._odd.isdisjoint(fold[:start]):
            return -1 if grows and self._may_grow(fold, start) else None
        if fold.startswith(self._words) and fresh() and (found := self._role_word(fold, window, at)):
            return found
        # A longer name may still be coming: "Iago:" may be the beginning of "Iago: the Elder:".
        if grows and self._may_grow(fold, start):
            return -1
        line = len(fold) if line < 0 else line
        if not _DECIDED.search(fold, 0, line) and not _CLOSED.search(fold, 2, line):
            return None
        match = self._patterns.match(fold)
        if match is None:
            return None
        name = match["n1"] or match["n2"] or match["n3"] or match["n4"] or match["n5"]
        emote = next((match.span(group) for group in ("emote1", "emote2", "emote3", "emote4") if match[group]), None)
        said = window[emote[0] : emote[1]].strip() if emote else ""
        return NameFound(at + match.end(), name in self._own, window[: match.end()], said)

    def _role_word(self, fold: str, window: str, at: int) -> NameFound | None:
        for word in self._words:
            if fold.startswith(word) and fold[len(word) : len(word) + 1] == "\n":
                return NameFound(at + len(word), word in ROLE_WORDS, window[: len(word)])
        return None

    def _may_grow(self, fold: str, start: int) -> bool:
        """Return whether the text, which goes to the end of what has come, may be the beginning of a name or of a longer one."""
        if start == len(fold):
            return True
        # A name such as `{{char}}` may begin inside what was taken for marks before it.
        for begin in (0, start) if self._odd.isdisjoint(fold[:start]) else range(start + 1):
            rest = fold[begin:]
            if rest in self._beginnings:
                return True
            if (name := self._any.match(rest)) and (
                _EMOTE_BEGUN.fullmatch(rest, name.end()) or self._closes(rest, name.end(), begin)
            ):
                return True
        return False

    def _closes(self, rest: str, at: int, start: int) -> bool:
        """Return whether a wrapper may still close behind the colon."""
        return start > 0 and _COLON_BEGUN.fullmatch(rest, at) is not None


def _line_stops(tokens: str, names: Sequence[str]) -> str:
    """Return the pattern of the stops of the notation `auto` in bare text: where a token may begin, and ends of lines.

    The end of a line is a stop only where the next one may begin with a name, a fence or a mark of a reply's start, or where
    this cannot be seen yet; `look` decides. Two letters of a name are compared, so that most lines are skipped by `re`.
    """
    words = sorted({re.escape(name[:2]) for name in (*names, *BARE_CHANNELS)})
    firsts = re.escape("".join(sorted({name[0] for name in (*names, *BARE_CHANNELS) if name})))
    leading = re.escape("".join(sorted(_LEADING))) + r"\s"
    line = rf"[^\S\n]*+(?:[\n`<&\\#]|\Z|[{leading}]{{0,{_MOST_BEFORE}}}(?:\Z|(?i:{'|'.join(words)})|(?i:[{firsts}])\Z))"
    return rf"[\n{re.escape(tokens)}](?:(?<!\n)|(?={line}))"


@lru_cache(256)
def wide_names(speaker: str, others: tuple[str, ...]) -> WideNames:
    """Return the finder of these names; kept, since all turns of a chat have them."""
    return WideNames(speaker, others)


@lru_cache(512)
def _patterns(names: tuple[str, ...], headed: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of all spellings, on folded text."""
    any_name = "|".join(map(re.escape, names))
    after = "|".join(map(re.escape, headed))
    emote = [_EMOTE.format(s=_S, n=number) for number in range(1, 5)]
    head = rf"[{_HIDDEN}]{{0,6}}"
    spellings = (
        # Mara (smiling):   **Mara**:   **Mara:**
        rf"{head}(?:#{{1,6}}{_S})?(?P<w1>[*_]{{0,3}}){_S}(?P<n1>{any_name}){_S}"
        rf"(?:(?P=w1){_S}{emote[0]}?{_S}{_COLON}|{emote[1]}?{_S}{_COLON}{_S}(?P=w1))",
        # [Mara]:   "Mara":   "Mara:"   【Mara（笑）】
        rf"{head}(?P<w2>[*_]{{0,3}}){_OPEN}{{1,2}}(?P<v2>[*_]{{0,3}}){_S}(?P<n2>{any_name}){_S}(?P=v2){_S}{emote[2]}?{_S}"
        rf"(?:{_CLOSE}{{1,2}}{_S}(?P=w2){_S}{emote[3]}?{_S}{_COLON}{_S}(?P=w2)|{_COLON}{_S}{_CLOSE}{{1,2}}(?P=w2))",
        # 【Mara】 and [Mara] without a colon
        rf"{head}(?P<w3>[*_]{{0,3}})[\[【［〔]{_S}(?P<n3>{any_name}){_S}[\]】］〕](?P=w3)",
        # ### Mara   **Mara** on a line of their own
        rf"{head}(?:#{{1,6}}{_S}(?P<w4>[*_]{{0,3}})|(?P<x4>[*_]{{2,3}}))(?P<n4>{any_name})(?:(?P=x4)|(?P=w4)){_S}{_COLON}?{_S}(?=\n)",
        # ### Instruction:
        rf"{head}#{{1,6}}{_S}(?P<n5>{after})(?!\w){_S}{_COLON}?",
    )
    return re.compile("|".join(f"(?:{spelling})" for spelling in spellings))
