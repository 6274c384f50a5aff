"""A model's text -> what it plans, and the rest, for servers that send the two in fields of their own; no model needed.

It works on whole tokens like `her.format.parser`, so any cutting of a text gives the same two texts, and what may still become
a tag is held back. A server cannot take back what it has sent: so content flows once the turn began with a whole plan,
and before that waits for the end, as a plan's closing tag may still claim it.
"""

import re
from typing import NamedTuple

from her.format.tags import TAG, Tag, ends_plan, follow_inner, is_cut, read_tag, unescape

_LEAD = re.compile(r"\s*(?:\*{0,2}[^\s*:：<`][^\n:：<`]{0,60}[:：]\*{0,2})?\s*")
"""What may stand before a plan that comes first: white space, a name."""
_WRAPPER = re.compile(r"\s*```\w{0,12}\s*")
_FENCE = re.compile(r"(?m)^[^\S\n]*```")
_ENTITY = re.compile(r"&(?:amp;)*(?:(?:lt|grave);|(?:a|am|amp|l|lt|g|gr|gra|grav|grave)?\Z)")
_NOTHING = Tag("", "open", "speech", "")


class Split(NamedTuple):
    """Texts to append: of the plan, and of all else."""

    reasoning: str
    content: str


class PlanSplitter:
    """Splits one message as it streams: `feed` every piece, then `close` once.

    Args:
        before: what the prompt already holds of this message, such as an opened plan; it is not given back.
    """

    def __init__(self, before: str = "") -> None:
        self._tail = ""  # may still become a tag
        self._held: list[str] = []  # visible, unless a plan's closing tag claims it
        self._flows = self._first = self._planning = self._wrapped = self._seam = self._said = False
        self._opener = _NOTHING
        self._inner: set[str] = set()
        self._plan = _Plan()
        self._reasoning: list[str] = []
        self._content: list[str] = []
        if before.strip():
            self._begin_after(before)

    @property
    def planned(self) -> bool:
        """Whether a whole plan has come, or the message went on without one."""
        return self._flows and not self._planning

    def feed(self, text: str) -> Split:
        """Read on."""
        text, self._tail, at = self._tail + text, "", 0
        while at < len(text):
            found = text.find("<", at)
            if found != at:
                found = len(text) if found < 0 else found
                self._say(text[at:found])
                at = found
            elif tag := TAG.match(text, at):
                self._apply(read_tag(tag[0]))
                at = tag.end()
            elif is_cut(text, at):
                self._tail = text[at:]
                break
            else:
                self._say("<")
                at += 1
        return self._taken()

    def close(self) -> Split:
        """What was held back. A plan that nothing closed is a plan to its end; a piece of a tag is dropped."""
        if self._tail == "<":
            self._say("<")
        self._reasoning.append(self._plan.close())
        self._release()
        return self._taken()

    def _taken(self) -> Split:
        split = Split("".join(self._reasoning), "".join(self._content))
        self._reasoning, self._content = [], []
        return split

    def _begin_after(self, before: str) -> None:
        self.feed(before)
        self._held.clear()
        self._flows = not self._planning
        if self._flows:
            self._plan = _Plan()

    def _say(self, text: str) -> None:
        if self._planning:
            self._reasoning.append(self._plan.feed(text))
        else:
            (self._content if self._flows else self._held).append("\n" + text if self._seam else text)
            self._seam, self._said = False, self._said or bool(text.strip())

    def _apply(self, tag: Tag) -> None:
        if self._planning:
            self._within_plan(tag)
        elif tag.kind != "system_thinking":
            self._say(tag.text)
        elif tag.move == "open":
            self._open(tag)
        elif tag.move == "close":
            self._claim(tag)

    def _open(self, tag: Tag) -> None:
        held = "".join(self._held)
        if _WRAPPER.fullmatch(held):
            held, self._wrapped, self._said = "", True, False
            self._held.clear()
        self._first = bool(_LEAD.fullmatch(held))
        self._opener, self._planning = tag, True
        self._inner.clear()

    def _within_plan(self, tag: Tag) -> None:
        if self._opener.name == "|" and tag.move == "drop":
            return
        if ends_plan(tag, self._opener, self._inner):
            self._end(tag)
            return
        self._say(tag.text)
        follow_inner(tag, self._opener, self._inner)

    def _end(self, tag: Tag) -> None:
        """A plan that another's tag closed may go on: what follows waits."""
        self._reasoning.append(self._plan.close())
        self._planning = False
        self._seam = self._said and not self._first  # a line ends there, for names and for halves of tags
        if self._first and tag.name == self._opener.name and not self._wrapped:
            self._release()

    def _claim(self, tag: Tag) -> None:
        """A closing tag that nothing opened: what is held was the plan. What was sent the reader has to take back."""
        if self._flows:
            self._say(tag.text)
            return
        held = TAG.sub("", "".join(self._held))
        self._held.clear()
        self._reasoning += [self._plan.feed(held), self._plan.close()]
        self._flows, self._said = True, False

    def _release(self) -> None:
        self._flows = True
        held = "".join(self._held)
        self._content.append(_FENCE.sub("", held, count=1) if self._wrapped else held)
        self._held.clear()


class _Plan:
    """The texts of the plans, one a line: stripped, and unescaped as the reader does. `pending` may still change."""

    def __init__(self) -> None:
        self.pending = ""
        self._last = ""  # the last character sent
        self._begun = False

    def feed(self, text: str) -> str:
        text = self.pending + text
        found = _ENTITY.search(text)
        sure = len(text[: found.start() if found else None].rstrip())
        self.pending = text[sure:]
        return self._sent(text[:sure])

    def close(self) -> str:
        """The rest of one plan."""
        before = self._last if self._begun else ""  # for the reader, who looks whether a line begins
        rest = unescape(before + self.pending.rstrip())[len(before) :]
        self.pending = ""
        sent = self._sent(rest)
        self._begun = False
        return sent

    def _sent(self, text: str) -> str:
        if self._begun:
            self._last = text[-1:] or self._last
            return text
        text = text.lstrip()
        if not text:
            return ""
        line = "\n" if self._last else ""
        self._begun, self._last = True, text[-1:]
        return line + text
