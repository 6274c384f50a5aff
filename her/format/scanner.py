"""The scanner finds the tokens of a turn in text that comes in pieces, and gives each to `her.format.turn_state`.

It decides on whole tokens only: text that may still become a token is held back until more text or the end comes. Each step gets
the text in hand and a position in it, and returns the position where the next step begins. A step that needs more text to decide
returns ~position instead (negative for every position >= 0): the text from there on is held back, and scanned again together
with the next piece. At the end of the turn (`final`) no step waits.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from her.format import markers as marks
from her.format.foreign_marks import (
    ESCAPED_END,
    ESCAPED_LONGEST,
    find_foreign,
    foreign_begins,
    is_cut_foreign,
    read_foreign,
    whole_tokens,
)
from her.format.mark_table import BARE_FINAL
from her.format.markers import Notation, stands_free
from her.format.names import wide_names
from her.format.reply_start import find_start
from her.format.stops import stops_by_mode
from her.format.tags import Tag, find_tag, is_cut, read_tag, tag_begins
from her.format.turn_state import TurnState
from her.kinds import BARE, PLAN

_NEVER = 1 << 60
"""A position behind every text: nothing more is read."""


class Guess(NamedTuple):
    """Assumptions of the scanner; where the end of the text shows that one is wrong, the text is read again without it.

    Args:
        fences: whether tags in code fences are literal.
        wraps: whether a fence around the whole reply is taken off.
        wrapper: name in angle brackets that is taken off; None while none is known, and an unknown pair may begin a plan.
        plan_ends: positions at which a plan that no mark closes ends, because the character's own line begins there.
    """

    fences: bool = True
    wraps: bool = True
    wrapper: str | None = None
    plan_ends: tuple[int, ...] = ()


class Scanner:
    """Scanner of one turn; `scan` reads what has come.

    Attributes:
        held: text that may still become a token.
        unknown: name of the unknown pair that the plan in hand stands in.
        outer: the reply began with a fence, which is a wrapper if nothing follows it.
        wrapped: the whole reply stands in a code fence, which is not closed yet.
    """

    def __init__(self, state: TurnState, others: tuple[str, ...], notation: Notation, guess: Guess) -> None:
        self.held = ""
        self.unknown = ""
        self.outer = self.wrapped = False
        self._state = state
        self._others, self._notation = others, notation
        self._guess = guess
        self._base = 0  # position of the text in hand within all that came
        self._wide = notation == "auto"
        self._names = marks.name_finder(state.speaker, others)
        self._wide_names = wide_names(state.speaker, others) if self._wide else None
        self._find: Callable[[str, int], str] = find_foreign if self._wide else find_tag
        self._read: Callable[[str], Tag] = read_foreign if self._wide else read_tag
        self._cut: Callable[[str, int], bool] = is_cut_foreign if self._wide else is_cut
        self._whole = whole_tokens() if self._wide else {}
        self._may_begin = foreign_begins().match if self._wide else tag_begins().match
        self._firsts = "<＜[◁" if self._wide else "<"
        self._any_angle = bool(guess.wrapper)  # tags count that stand in no table

    def scan(self, more: str, fed: int, final: bool = False) -> None:
        """Read the text held back and what came behind it; `fed` is the length of all that came."""
        text = self.held + more
        at, self.held, self._base = 0, "", fed - len(text)
        state = self._state
        while at < len(text):
            at = self._begin_line(text, at, final) if state.line_start else self._step(text, at, final)
            if at < 0:
                self.held = text[~at:]
                return

    def _step(self, text: str, at: int, final: bool) -> int:
        """Read the text up to the next stop, and the stop."""
        state, place = self._state, at
        search = state.stops.any_text
        while stop := search(text, place):
            place = stop.start()
            char = text[place]
            if char not in self._firsts or self._any_angle:
                break
            # Most tokens are written exactly as in the table; 30 characters are more than the longest has.
            end = text.find(">", place, place + 30) if char == "<" else -1
            if end > 0 and (tag := self._whole.get(text[place : end + 1])):
                if place > at:
                    state.run.append(text[at:place])
                state.draft.at = self._base + place
                return self._apply(tag, end + 1)
            if begun := self._may_begin(text, place):
                if end < 0 and char == "<" and not final and begun.end() == len(text):  # the beginning of a token
                    if place > at:
                        state.run.append(text[at:place])
                    return ~place
                break
            place += 1
        if stop is None:
            return self._literal(text[at:], len(text))
        if place > at:
            state.run.append(text[at:place])
        state.draft.at = self._base + place
        return self._read_stop(text, place, final)

    def _read_stop(self, text: str, at: int, final: bool) -> int:
        match text[at]:
            case "<":
                return self._angle(text, at, final)
            case "\n":
                return self._newline(at)
            case char if self._wide:
                return self._wide_stop(char, text, at, final)
            case "*":
                return self._star(text, at, final)
            case bracket:
                return self._bracket(bracket, at)

    def _wide_stop(self, char: str, text: str, at: int, final: bool) -> int:
        """Read a stop that only the notation `auto` has."""
        if char in "&\\":
            if match := ESCAPED_END.match(text, at):
                self._state.close_part(Tag(match[0], "close", PLAN, match[1].lower()))
                return match.end()
            return self._wait_or_literal(char, at, not final and len(text) - at < ESCAPED_LONGEST and "\n" not in text[at:])
        if char == "a":
            rest = text[at : at + len(BARE_FINAL[1])]
            if word := next((word for word in BARE_FINAL if rest.startswith(word)), ""):
                self._state.close_part(Tag(word, "close", PLAN, "|"))
                return at + len(word)
            return self._wait_or_literal(char, at, not final and any(word.startswith(rest) for word in BARE_FINAL))
        return self._angle(text, at, final)

    def _wait_or_literal(self, char: str, at: int, waits: bool) -> int:
        return ~at if waits else self._literal(char, at + 1)

    def _literal(self, text: str, after: int) -> int:
        self._state.run.append(text)
        return after

    def _newline(self, at: int) -> int:
        if self._state.mode == "*":  # no action runs over a line's end; the newline is then read as one of bare text
            self._state.drop_star()
            return at
        self._state.line_start, self._state.after_name = True, False
        return self._literal("\n", at + 1)

    # Beginnings of lines

    def _begin_line(self, text: str, at: int, final: bool) -> int:
        """Read the start of a bare run or line: white space, a fence, a name, or none of these."""
        state = self._state
        if text[at].isspace():
            if not state.after_name:  # all blank lines in one step
                blank = marks.BLANK_LINES.match(text, at)
                assert blank is not None
                return self._literal(blank[0], blank.end())
            if text[at] == "\n":
                return self._newline(at)
            if (blank := marks.BLANK.match(text, at)) and blank.end() > at:
                return blank.end()
        state.draft.at = self._base + at
        if state.opening and text[at] != "\n" and (after := self._open_reply(text, at, final)) != at:
            return after
        after = self._backtick(text, at, final) if text[at] == "`" else self._name(text, at, final)
        if after == at:
            state.line_start = state.after_name = False
        return after

    def _open_reply(self, text: str, at: int, final: bool) -> int:
        state = self._state
        if not state.fresh() or state.draft.plans:
            state.opening = False
            return at
        found = find_start(text, at, final, unknown=self._guess.wrapper is None)
        if found is None or found == "wait":
            return at if found is None else ~at
        if found.unknown:
            self.unknown, self._any_angle = found.unknown, True
            state.use_stops(stops_by_mode("auto", state.speaker, self._others, named=True))
        state.open_start(found.tag, found.stops)
        return found.end

    def _name(self, text: str, at: int, final: bool) -> int:
        if self._wide_names is not None:
            found = self._wide_names.look(text, at, final, self._state.fresh)
            if found is None or isinstance(found, int):
                return at if found is None else ~at
            self._state.take_name(found)
            return found.end
        # Hold back "Iag", which may become "Iago:", and "Iago:" where another name is "Iago: the Elder".
        if not final and self._names.may_begin(text, at):
            return ~at
        match = self._names.match(text, at)
        if match is None:
            return at
        (self._state.own_name if match[0] in self._names.own else self._state.other_name)(match[0])
        return match.end()

    # Fences

    def _backtick(self, text: str, at: int, final: bool) -> int:
        if not text.startswith("```", at):
            # Hold back one or two backticks at the end of a chunk: a third one makes them a fence.
            return ~at if not final and text[at:] in ("`", "``") else at
        state = self._state
        if self.wrapped:
            self._unwrap_fence()
            return at + 3
        if (head := marks.WRAPPER.match(text, at)) and state.fresh():
            wraps = self._wraps_reply(text, head, final)
            if wraps is None:
                return ~at
            if wraps:
                self.wrapped = True
                state.draft.defect("fenced", head[0].strip())
                return head.end()
        state.line_start = state.after_name = False
        if self._guess.fences:
            state.fence = 0 if state.fence is None else None
        return self._literal("```", at + 3)

    def _wraps_reply(self, text: str, head: re.Match[str], final: bool) -> bool | None:
        """Return whether a fence stands around the whole reply; None when the text has to go on before it is known."""
        end = head.end()
        if self._wide and self._guess.wraps:
            if not final and end == len(text):
                return None
            if "\n" in head[0] and head[0].strip("` \t\n").lower() in marks.PLAIN_FENCES:
                self.outer = True
                return True
        if end < len(text) and (token := self._find(text, end)) and self._read(token).move == "open":
            return True
        # Hold back the fence until the next token is whole: an opening tag makes it a wrapper.
        return None if not final and (end == len(text) or self._cut(text, end)) else False

    def _unwrap_fence(self) -> None:
        state = self._state
        self.wrapped = False
        state.line_start = False
        state.end_run()
        state.draft.wrapped_by = len(state.draft.visible)
        state.enter(state.mode)
        state.line_start = False

    # Stars and brackets, in notations other than `auto`

    def _star(self, text: str, at: int, final: bool) -> int:
        # Hold back a star at the end of a chunk: the next character tells an opening, a closing and a double star apart.
        if at + 1 == len(text) and not final:
            return ~at
        self._state.star(text[at + 1 : at + 2])
        return at + 1

    def _bracket(self, char: str, at: int) -> int:
        state = self._state
        if state.mode != BARE:
            state.inner_bracket(char)
        elif state.fence is None and (self._notation == "coser" or stands_free(char, state.run)):
            state.open_bracket(char)
        else:
            state.run.append(char)
        return at + 1

    # Tags

    def _angle(self, text: str, at: int, final: bool) -> int:
        if token := self._find(text, at):
            return self._apply(self._read(token), at + len(token))
        if (self.unknown or self._guess.wrapper) and (after := self._named(text, at, final)) != at:
            return after
        if not self._cut(text, at):
            return self._literal(text[at], at + 1)
        # Hold back "<role_act": it may become a tag. No token is the beginning of another, so a whole one never waits.
        if not final:
            return ~at
        state = self._state
        if len(text) - at > 1 and text[at] != "[" and state.fence is None and state.mode != "cut":
            state.draft.defect("cut_tag", text[at:])
            return len(text)
        return self._literal(text[at:], len(text))

    def _named(self, text: str, at: int, final: bool) -> int:
        """Read a tag of the unknown pair, or of the wrapper; return `at` where none stands."""
        state = self._state
        closing = f"</{self.unknown}>" if self.unknown and state.mode == PLAN else ""
        name = self._guess.wrapper
        tags = [tag for tag in (closing, *((f"<{name}>", f"</{name}>") if name else ())) if tag]
        rest = text[at : at + max(map(len, tags), default=0)].lower()
        found = next((tag for tag in tags if rest.startswith(tag)), "")
        if not found:
            waits = not final and at + len(rest) == len(text) and any(tag.startswith(rest) for tag in tags)
            return ~at if waits else at
        if found == closing:
            state.close_part(Tag(closing, "close", PLAN, self.unknown))
        else:
            state.line_start = state.mode == BARE
        return at + len(found)

    def _apply(self, tag: Tag, after: int) -> int:
        state = self._state
        state.apply(tag, self._base + after)
        return after if state.ended is None else _NEVER
