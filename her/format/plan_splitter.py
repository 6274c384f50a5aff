"""Splitter of a model's text into plan and reply, for servers that send the two in fields of their own; needs no model.

Like `her.format.parser` it decides on whole tokens, so any split of the text into chunks gives the same two texts, and text
that may still become a tag is held back. A server cannot take back what it has sent, so the reply is sent at once only after
the message began with a complete plan. Before that it is held to the end, because a plan's closing tag may still come and
make all text before it a plan.
"""

import re
from enum import Enum
from typing import NamedTuple

from her.format.tags import TAG, Tag, ends_plan, follow_inner, is_cut, read_tag, unescape
from her.kinds import BARE, PLAN

_LEAD = re.compile(r"\s*(?:\*{0,2}[^\s*:：<`][^\n:：<`]{0,60}[:：]\*{0,2})?\s*")
"""Text that may stand before a plan which still counts as coming first: white space, a name."""
_WRAPPER = re.compile(r"\s*```\w{0,12}\s*")
_FENCE = re.compile(r"(?m)^[^\S\n]*```")
# An escape, or the beginning of one at the end of the text: neither is sent before it is known whole.
_ENTITY = re.compile(r"&(?:amp;)*(?:(?:lt|grave);|(?:a|am|amp|l|lt|g|gr|gra|grav|grave)?\Z)")
_NO_TAG = Tag("", "open", BARE, "")


class Split(NamedTuple):
    """Texts to append to the two fields: the plan's, and that of all else."""

    reasoning: str
    content: str


class State(Enum):
    """State of the splitter between two tokens."""

    HOLDING = "holding"
    """Outside a plan, nothing of the reply sent: a plan's closing tag may still claim what is held."""
    PLANNING = "planning"
    """Inside a plan, nothing of the reply sent; the plan's text is sent at once."""
    FLOWING = "flowing"
    """Outside a plan, the reply is sent as it comes: a complete plan came first, or the text was claimed as one."""
    PLANNING_AGAIN = "planning again"
    """Inside a further plan after part of the reply was sent; the reply flows on behind it."""


_IN_PLAN = (State.PLANNING, State.PLANNING_AGAIN)


class PlanSplitter:
    """Splitter of one message while it streams: call `feed` for every piece, then `close` once.

    Args:
        before: text of this message that stands in the prompt already, such as an opened plan; it is not returned again.
    """

    def __init__(self, before: str = "") -> None:
        self._state = State.HOLDING
        self._tail = ""  # text that may still become a tag
        self._held: list[str] = []  # the reply so far, in the states before FLOWING
        self._opener = _NO_TAG  # the tag that opened the plan in hand
        self._inner: set[str] = set()  # names of plan tags opened inside that plan
        self._first = False  # nothing but a name stood before that plan
        self._wrapped = False  # the message stands in a code fence, whose marks are not part of the reply
        self._seam = False  # a plan was cut out of the reply here; a line break takes its place
        self._plan = _PlanText()
        self._reasoning: list[str] = []
        self._content: list[str] = []
        if before.strip():
            self._skip(before)

    @property
    def planned(self) -> bool:
        """True outside a plan once the plan is complete, or the prompt held the beginning of the reply."""
        return self._state is State.FLOWING

    def feed(self, text: str) -> Split:
        """Take the next piece of text and return what can be sent."""
        text, self._tail, at = self._tail + text, "", 0
        while at < len(text):
            angle = text.find("<", at)
            if angle != at:
                angle = len(text) if angle < 0 else angle
                self._add(text[at:angle])
                at = angle
            elif match := TAG.match(text, at):
                self._apply(read_tag(match[0]))
                at = match.end()
            elif is_cut(text, at):
                self._tail = text[at:]
                break
            else:
                self._add("<")
                at += 1
        return self._take()

    def close(self) -> Split:
        """Return what was held back.

        A plan that nothing closed is a plan to the end of the text; a piece of a tag is dropped.
        """
        if self._tail == "<":
            self._add("<")
        self._reasoning.append(self._plan.close())
        if self._state not in _IN_PLAN:
            self._state = State.FLOWING
        self._send_held()
        return self._take()

    def _take(self) -> Split:
        split = Split("".join(self._reasoning), "".join(self._content))
        self._reasoning, self._content = [], []
        return split

    def _skip(self, before: str) -> None:
        """Read the text that the prompt holds already, and forget what would be sent of it."""
        self.feed(before)
        self._held.clear()
        if self._state is State.PLANNING_AGAIN:
            self._state = State.PLANNING
        elif self._state is not State.PLANNING:
            self._state = State.FLOWING
            self._plan = _PlanText()

    def _add(self, text: str) -> None:
        if self._state in _IN_PLAN:
            self._reasoning.append(self._plan.feed(text))
        else:
            reply = self._content if self._state is State.FLOWING else self._held
            reply.append("\n" + text if self._seam else text)
            self._seam = False

    def _apply(self, tag: Tag) -> None:
        if self._state in _IN_PLAN:
            self._inside_plan(tag)
        elif tag.kind != PLAN:
            self._add(tag.text)
        elif tag.move == "open":
            self._open(tag)
        elif tag.move == "close":
            self._claim(tag)

    def _open(self, tag: Tag) -> None:
        held = "".join(self._held)
        if _WRAPPER.fullmatch(held):
            held, self._wrapped = "", True
            self._held.clear()
        self._first = bool(_LEAD.fullmatch(held))
        self._opener = tag
        self._state = State.PLANNING_AGAIN if self._state is State.FLOWING else State.PLANNING
        self._inner.clear()

    def _inside_plan(self, tag: Tag) -> None:
        if self._opener.name == "|" and tag.move == "drop":
            return
        if ends_plan(tag, self._opener, self._inner):
            self._end(tag)
            return
        self._add(tag.text)
        follow_inner(tag, self._opener, self._inner)

    def _end(self, tag: Tag) -> None:
        """End the plan; hold what follows where another closing tag may still come."""
        self._reasoning.append(self._plan.close())
        # A line must end where the plan stood: a name behind it, or two halves of a tag around it, would read differently.
        self._seam = not self._first
        if self._state is State.PLANNING_AGAIN or self._first and tag.name == self._opener.name and not self._wrapped:
            self._state = State.FLOWING
        else:
            # Closed by another alias: the plan may have quoted it. In a fence: its closing mark has to be found first.
            self._state = State.HOLDING
        if self._state is State.FLOWING:
            self._send_held()

    def _claim(self, tag: Tag) -> None:
        """Handle a closing tag that nothing opened: what is held was the plan.

        After part of the reply was sent, the tag is sent as text; the reader of the two fields finds it there.
        """
        if self._state is State.FLOWING:
            self._add(tag.text)
            return
        held = TAG.sub("", "".join(self._held))
        self._held.clear()
        self._reasoning += [self._plan.feed(held), self._plan.close()]
        self._state = State.FLOWING

    def _send_held(self) -> None:
        held = "".join(self._held)
        self._content.append(_FENCE.sub("", held, count=1) if self._wrapped else held)
        self._held.clear()


class _PlanText:
    """Text of the plans, one a line, stripped and unescaped as the parser does; `pending` may still change."""

    def __init__(self) -> None:
        self.pending = ""
        self._last = ""  # the last character sent
        self._begun = False  # something of the current plan has been sent

    def feed(self, text: str) -> str:
        """Take more of the current plan and return what is certain: no blanks at the end, no escape."""
        text = self.pending + text
        entity = _ENTITY.search(text)
        certain = len(text[: entity.start() if entity else None].rstrip())
        self.pending = text[certain:]
        return self._sent(text[:certain])

    def close(self) -> str:
        """End the current plan and return the rest of it."""
        # `unescape` looks whether a fence begins a line, so it has to see the character before.
        before = self._last if self._begun else ""
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
