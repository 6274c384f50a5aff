"""Incremental parser from a model's text to a turn; it accepts any text and reports departures as defects.

The parser decides on whole tokens only: text that may still become a token is held back until more text or the end comes.
So any split of a text into chunks gives the same turn (a law that the tests check). The time is linear in the text.
Tags: `her.format.tags`; other marks: `her.format.markers`; the turn's parts and defects: `her.format.turn_builder`.
"""

import re
from collections.abc import Callable, Iterable
from typing import get_args

from her.errors import InputError
from her.format import foreign_marks as foreign
from her.format import markers as marks
from her.format.mark_table import BARE_CHANNELS, BARE_FINAL, HTML_NAMES
from her.format.markers import Mode, Notation, sentence_starts, stands_free
from her.format.names import NameFound, wide_names
from her.format.tags import Tag, ends_plan, find_tag, follow_inner, is_cut, read_tag, unescape
from her.format.turn_builder import TurnDraft
from her.kinds import BARE, PLAN, STARRED, Kind
from her.types import Defect, Part, Turn, new_id

Stops = Callable[..., re.Match[str] | None]


class Parser:
    """Parser of one turn while it streams.

    Args:
        speaker: whose turn it is; their `Name:` prefixes are removed.
        others: names whose line ends the turn.
        notation: "her" (brackets and stars are literal), "coser" (`[thought] (action) speech` and stars),
            "asterisk" (`*action*`), or "auto": what models write, in every spelling and dialect of `her.format.mark_table`;
            the first role tag, bracket or starred action decides.
        fences: whether tags in code fences are literal.
        wraps: whether a fence around the whole reply is taken off; `wrapper` is a name in angle brackets that is taken off.

    Raises:
        InputError: the notation is unknown.
    """

    def __init__(
        self,
        speaker: str,
        others: Iterable[str] = (),
        notation: Notation = "auto",
        *,
        fences: bool = True,
        wraps: bool = True,
        wrapper: str | None = None,
    ) -> None:
        if notation not in marks.BARE_STOPS:
            raise InputError(f"notation {notation!r} is unknown; write one of {', '.join(get_args(Notation))}")
        self.speaker = speaker
        self.others = tuple(name for name in others if name and name != speaker)
        self.notation: Notation = notation
        self._fences, self._wraps, self._wrapper = fences, wraps, wrapper
        self._wide = notation == "auto"
        self._names = marks.name_finder(speaker, self.others)
        self._wide_names = wide_names(speaker, self.others) if self._wide else None
        self._token, self._read, self._cut = (
            (foreign.find_foreign, foreign.read_foreign, foreign.is_cut_foreign) if self._wide else (find_tag, read_tag, is_cut)
        )
        self._draft = TurnDraft(speaker, dialect=self._wide)
        self._raw: list[str] = []
        self._held = ""  # text that may still become a token
        self._run: list[str] = []  # text since the last token
        self._blank_in, self._blank = self._run, 0  # the run that `_fresh` looked at, and its pieces that are surely blank
        self._before_star: list[str] = []  # the run before a star that is not closed yet
        self._fed = 0  # characters fed so far
        self._base = 0  # position of the text in hand within all that was fed
        self._opener = Tag("", "open", BARE, "")  # the token that opened the current mode
        self._inner: set[str] = set()  # names of plan tags opened inside the plan
        self._depth = 0  # open brackets, in a bracket's mode
        self._after_name = False  # the speaker's name has just been removed
        self._done = False
        self._raw_end: int | None = None  # behind the token that ended the turn
        self._plan_end: int | None = None  # the same, of a token inside a plan: it counts if nothing closes the plan
        self._opening = self._wide  # the very start of the reply, where more marks are read
        self._unknown = ""  # name of the unknown pair that the plan in hand stands in
        self._struck = False  # `<s>` stands in the text, so the next `</s>` is no token
        self._replayed = False  # another's line came first: the character's own line ends the cut
        self._outer = False  # the reply began with a fence, which is a wrapper if nothing follows it
        self._wrapped = False  # the whole reply stands in a code fence, not closed yet
        # None outside a code fence. Inside, the number of pieces of the run that `parts` may show; 0 means all. It is set at
        # the first token in the fence: if nothing closes the fence, the token counts, and what follows may be a thought.
        self._fence: int | None = None
        self._bare_stops: Stops = self._wide_names.stops if self._wide_names else marks.BARE_STOPS[notation]
        self._bare_ascii: Stops = self._wide_names.ascii_stops if self._wide_names else self._bare_stops
        self._enter(BARE)

    def feed(self, text: str) -> None:
        """Parse the next piece of text. A lone surrogate, which UTF-8 cannot encode, becomes U+FFFD.

        What follows a token that ended the turn is not taken.
        """
        if self._raw_end is not None:
            return
        if not (is_ascii := text.isascii()):
            text = marks.LONE_SURROGATE.sub("\ufffd", text)
        self._raw.append(text)
        self._fed += len(text)
        if self._held or self._line_start or (self._next_ascii if is_ascii else self._next_stop)(text):
            self._scan(self._held + text)
        elif text:  # most chunks of a stream hold no stop: add them without a scan
            self._run.append(text)

    def feed_reasoning(self, text: str) -> None:
        """Add text of an API-native reasoning field to the plan; tags in it stay text."""
        if text:
            self._draft.reasoning.append(marks.LONE_SURROGATE.sub("\ufffd", text))

    @property
    def done(self) -> bool:
        """True when a token ended the turn or another speaker's line has begun, so that generation may stop.

        A line of another speaker does not end it before a plan or name was seen: then the text may be a plan whose closing tag
        is still to come, and a plan may quote others.
        """
        return self._done

    @property
    def begun_anew(self) -> bool:
        """True when the text has begun as a whole turn does: with a plan or with the speaker's name."""
        return bool(self._draft.named or self._draft.plans or self._mode == PLAN)

    @property
    def surplus(self) -> int:
        """Characters that were fed behind the token that ended the turn."""
        return 0 if self._raw_end is None else max(0, self._fed - self._raw_end)

    @property
    def raw(self) -> str:
        """The text so far, byte for byte, up to the token that ended the turn."""
        return "".join(self._raw)[: self._raw_end]

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts so far that are safe to show: no half token, and no text of an open plan as another kind."""
        shown = [] if self._mode == "cut" else self._run[: self._fence or None]
        current = unescape(marks.HALF_ENTITY.sub("", "".join(shown)).strip())
        earlier: list[tuple[Kind, str]] = [(BARE, "".join(self._before_star))] if self._mode == "*" else []
        return self._draft.canonical_parts([*earlier, (marks.KIND_OF_MODE[self._mode], current)])

    def close(self, turn_id: str | None = None) -> Turn:
        """Return the whole turn; call it once, after the last `feed`."""
        self._scan(self._held, final=True)
        if (again := self._second_reading()) is not None:
            return again.close(turn_id)
        self._draft.at = self._fed
        self._finish()
        return Turn(
            id=turn_id or new_id(),
            speaker=self.speaker,
            parts=self._draft.canonical_parts(),
            raw=self.raw,
            defects=tuple(Defect(name=name, detail=place) for name, place in self._draft.defects.items()),
        )

    def _second_reading(self) -> "Parser | None":
        """Return a parser that was fed the text again, where the end of the text shows that its beginning was read wrongly."""
        if self._fence is not None:  # a fence that nothing closes must not turn a thought behind it into speech
            return self._again(fences=False)
        if self._outer and not self._wrapped and self._draft.wrapped_by is not None and self._says_more(self._draft.wrapped_by):
            return self._again(wraps=False)
        if self._unknown and (self._mode == PLAN or not self._says_more(0)):
            # An unknown pair around everything is a wrapper; one that nothing closes is text.
            return self._again(wrapper=self._unknown if self._mode != PLAN else "")
        if self._wide and self._mode == PLAN and (name := self._name_in_plan()) is not None:
            return self._again(plan_end=name)
        return None

    def _says_more(self, since: int) -> bool:
        """Return whether anything visible came after the first `since` runs."""
        return len(self._draft.visible) > since or (self._mode != "cut" and any(piece.strip() for piece in self._run))

    def _again(
        self, *, fences: bool | None = None, wraps: bool | None = None, wrapper: str | None = None, plan_end: int | None = None
    ) -> "Parser":
        again = Parser(
            self.speaker,
            self.others,
            self.notation,
            fences=self._fences if fences is None else fences,
            wraps=self._wraps if wraps is None else wraps,
            wrapper=self._wrapper if wrapper is None else wrapper,
        )
        again.feed_reasoning("".join(self._draft.reasoning))
        raw = self.raw
        again.feed(raw[:plan_end])
        if plan_end is not None:
            again._end_plan_here()
            again.feed(raw[plan_end:])
        return again

    def _name_in_plan(self) -> int | None:
        """Return where the character's own line begins in a plan that nothing closed: the reply begins there."""
        assert self._wide_names is not None
        text, start = "".join(self._run), self._fed - len(self._held) - sum(map(len, self._run))
        at = text.find("\n")
        while at >= 0:
            line = at + 1
            line += len(text[line:]) - len(text[line:].lstrip(" \t")) if text[line : line + 1] in (" ", "\t") else 0
            found = self._wide_names.look(text, line, True, bool) if line < len(text) else None
            if isinstance(found, NameFound) and found.own:
                return start + line
            at = text.find("\n", at + 1)
        return None

    def _end_plan_here(self) -> None:
        self._scan(self._held, final=True)
        self._held = ""
        if self._mode == PLAN:
            self._draft.defect("unclosed_plan", self._opener.text)
            self._end_run()
            self._enter(BARE)

    def _finish(self) -> None:
        self._drop_star()
        if self._mode == "cut":
            self._run = []
        elif self._mode == PLAN:
            self._draft.defect("unclosed_plan", self._opener.text)
            if self._plan_end is not None:
                self._raw_end = self._plan_end
        elif self._mode != BARE:
            self._draft.defect("missing_close", self._opener.text)
        self._end_run()
        self._draft.note_final_defects()

    # Tokens. Each step gets the text in hand and a position in it, and returns the position where the next step begins.
    # A step that needs more text to decide returns ~position instead (negative for every position >= 0): the text from
    # there on is held back, and scanned again together with the next chunk. At the end of the turn (`final`) no step waits.

    def _scan(self, text: str, final: bool = False) -> None:
        at, self._held, self._base = 0, "", self._fed - len(text)
        while at < len(text):
            at = self._begin_line(text, at, final) if self._line_start else self._step(text, at, final)
            if at < 0:
                self._held = text[~at:]
                return

    def _step(self, text: str, at: int, final: bool) -> int:
        stop = self._next_stop(text, at)
        if stop is None:
            return self._literal(text[at:], len(text))
        if stop.start() > at:
            self._run.append(text[at : stop.start()])
            at = stop.start()
        self._draft.at = self._base + at
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
            if match := foreign.ESCAPED_END.match(text, at):
                self._close_part(Tag(match[0], "close", PLAN, match[1].lower()))
                return match.end()
            return self._wait_or_literal(
                char, at, not final and len(text) - at < foreign.ESCAPED_LONGEST and "\n" not in text[at:]
            )
        if char == "a":
            rest = text[at : at + len(BARE_FINAL[1])]
            if word := next((word for word in BARE_FINAL if rest.startswith(word)), ""):
                self._close_part(Tag(word, "close", PLAN, "|"))
                return at + len(word)
            return self._wait_or_literal(char, at, not final and any(word.startswith(rest) for word in BARE_FINAL))
        return self._angle(text, at, final)

    def _wait_or_literal(self, char: str, at: int, waits: bool) -> int:
        return ~at if waits else self._literal(char, at + 1)

    def _literal(self, text: str, after: int) -> int:
        self._run.append(text)
        return after

    def _newline(self, at: int) -> int:
        if self._mode == "*":  # no action runs over a line's end; the newline is then read as one of bare text
            self._drop_star()
            return at
        self._line_start = True
        return self._literal("\n", at + 1)

    def _begin_line(self, text: str, at: int, final: bool) -> int:
        """Read the start of a bare run or line: white space, a fence, a name, or none of these."""
        if text[at].isspace():
            if not self._after_name:  # all blank lines in one step
                blank = marks.BLANK_LINES.match(text, at)
                assert blank is not None
                return self._literal(blank[0], blank.end())
            if (blank := marks.BLANK.match(text, at)) and blank.end() > at:
                return blank.end()
        self._draft.at = self._base + at
        if self._opening and text[at] != "\n" and (after := self._open_reply(text, at, final)) != at:
            return after
        after = self._backtick(text, at, final) if text[at] == "`" else self._name(text, at, final)
        if after == at:
            self._line_start = self._after_name = False
        return after

    def _open_reply(self, text: str, at: int, final: bool) -> int:
        """Read marks that count at the very start of a reply only: escaped ones, an unknown pair, gpt-oss without its marks."""
        if not self._fresh() or self._draft.plans:
            self._opening = False
            return at
        char, rest = text[at], text[at:]
        if char in "&\\":
            if match := foreign.ESCAPED.match(text, at):
                return self._open_special(Tag(match[0], "open", PLAN, match[1].lower()), marks.ESCAPED_TAGS, match.end())
            return ~at if not final and len(rest) < foreign.ESCAPED_LONGEST and "\n" not in rest else at
        if char in "ac":
            if word := next((word for word in BARE_CHANNELS if rest.startswith(word)), ""):
                behind = rest[len(word) : len(word) + 1]
                if not behind and not final:
                    return ~at
                is_glued = behind.isalnum() or behind in tuple("\"'“‘<*(")
                return self._open_special(Tag(word, "open", PLAN, "|"), marks.BARE_CHANNEL, at + len(word)) if is_glued else at
            return ~at if not final and any(word.startswith(rest) for word in BARE_CHANNELS) else at
        return self._open_unknown(text, at, final) if char == "<" and self._wrapper is None else at

    def _open_unknown(self, text: str, at: int, final: bool) -> int:
        if self._token(text, at) or self._cut(text, at):
            return at
        match = foreign.UNKNOWN.match(text, at)
        if match is None:
            return ~at if not final and foreign.UNKNOWN_BEGUN.match(text, at) else at
        name = match[1].lower()
        if name in HTML_NAMES:
            return at
        self._unknown = name
        return self._open_special(Tag(match[0], "open", PLAN, name), self._next_stop, match.end())

    def _open_special(self, tag: Tag, stops: Callable[..., re.Match[str] | None], after: int) -> int:
        self._draft.defect("alias", tag.text)
        self._open_plan(tag)
        if stops is not self._bare_stops:
            self._next_stop = self._next_ascii = stops
        return after

    def _name(self, text: str, at: int, final: bool) -> int:
        if self._wide_names is not None:
            found = self._wide_names.look(text, at, final, self._fresh)
            if isinstance(found, int):
                return ~at
            return at if found is None else self._take_name(found)
        # Hold back "Iag", which may become "Iago:", and "Iago:" where another name is "Iago: the Elder".
        if not final and self._names.may_begin(text, at):
            return ~at
        if match := self._names.match(text, at):
            (self._own_name if match[0] in self._names.own else self._other_name)(match[0])
            return match.end()
        return at

    def _take_name(self, found: NameFound) -> int:
        if self._mode == "cut":  # another's line came first: the reply begins at the character's own
            if found.own and self._replayed:
                self._replayed = False
                self._run = []
                self._enter(BARE)
            else:
                self._run.append(found.text)
                self._line_start = False
                return found.end
        (self._own_name if found.own else self._other_name)(found.text)
        if found.own and found.emote:
            self._end_run()
            self._draft.add(STARRED, found.emote)
            self._line_start = self._after_name = True
        return found.end

    def _own_name(self, spelling: str) -> None:
        if self._after_name:
            self._draft.defect("name_doubled", spelling)
        elif self._draft.named or not self._fresh():
            self._draft.defect("name_misplaced", spelling)
        if "：" in spelling:
            self._draft.defect("name_fullwidth_colon", spelling)
        if spelling.rstrip() not in (f"{self.speaker}:", f"{self.speaker}："):
            self._draft.defect("alias", spelling)
        self._draft.named = self._after_name = True

    def _other_name(self, spelling: str) -> None:
        if self._fence is not None:  # literal if the fence is closed; if not, `_reread` finds the name
            self._fence = self._fence or len(self._run)
            self._run.append(spelling)
            self._line_start = False
            return
        self._draft.defect("other_speaker", spelling)
        self._replayed = self._wide and self._fresh() and not self._draft.named
        self._end_run()
        self._enter("cut")
        # A plan that quotes another speaker has no name or plan before it, so generation must not stop there.
        self._inner.clear()
        self._done = not self._replayed and bool(self._draft.named or self._draft.plans or self._draft.reasoning)
        self._run.append(spelling)
        if self._replayed:
            self._next_stop = self._next_ascii = marks.BARE_STOPS["auto"]

    def _fresh(self) -> bool:
        """Return whether nothing visible has come yet."""
        if self._draft.visible:
            return False
        run = self._run
        if self._blank_in is not run:
            self._blank_in, self._blank = run, 0
        # A run only grows, so pieces that were found blank are not looked at again.
        while self._blank < len(run) and run[self._blank].isspace():
            self._blank += 1
        return self._blank == len(run)

    def _backtick(self, text: str, at: int, final: bool) -> int:
        if not text.startswith("```", at):
            # Hold back one or two backticks at the end of a chunk: a third one makes them a fence.
            return ~at if not final and text[at:] in ("`", "``") else at
        if self._wrapped:
            self._wrapped = self._line_start = False
            self._end_run()
            self._draft.wrapped_by = len(self._draft.visible)
            self._enter(self._mode)
            self._line_start = False
            return at + 3
        if (head := marks.WRAPPER.match(text, at)) and self._fresh():
            if self._wide and self._wraps and not final and head.end() == len(text):
                return ~at
            if self._wide and self._wraps and head[0].strip("` \t\n").lower() in marks.PLAIN_FENCES and "\n" in head[0]:
                self._wrapped = self._outer = True
                self._draft.defect("fenced", head[0].strip())
                return head.end()
            if head.end() < len(text) and (tag := self._token(text, head.end())) and self._read(tag).move == "open":
                self._wrapped = True
                self._draft.defect("fenced", head[0].strip())
                return head.end()
            # Hold back the fence until the next token is whole: an opening tag makes it a wrapper of the whole reply.
            if not final and (head.end() == len(text) or self._cut(text, head.end())):
                return ~at
        self._line_start = self._after_name = False
        if self._fences:
            self._fence = 0 if self._fence is None else None
        return self._literal("```", at + 3)

    # Notations

    def _star(self, text: str, at: int, final: bool) -> int:
        # Hold back a star at the end of a chunk: the next character tells an opening, a closing and a double star apart.
        if at + 1 == len(text) and not final:
            return ~at
        after = text[at + 1 : at + 2]
        before = self._run[-1][-1] if self._run else ""
        single = "*" not in (before, after) and self._fence is None  # `**` is bold text
        if self._mode == "*" and single and not before.isspace() and not (after.isalnum() or after == "_"):
            # The speech before the star becomes a part only now, when the star is known to open an action.
            action, self._run = self._run, self._before_star
            self._end_run(BARE)
            self._run = action
            self._close_foreign("*")
        elif self._mode == BARE and single and after.strip() and sentence_starts(self._run):
            self._before_star, self._run = self._run, []
            self._enter("*")
        else:
            self._run.append("*")
        return at + 1

    def _drop_star(self) -> None:
        """Leave the mode of a star that nothing closes: it becomes part of the text."""
        if self._mode == "*":
            self._before_star.append("*")
            self._before_star += self._run
            self._run = self._before_star
            self._enter(BARE)
            self._line_start = False

    def _bracket(self, char: str, at: int) -> int:
        if self._mode == BARE:
            if self._fence is not None or not (self.notation == "coser" or stands_free(char, self._run)):
                return self._literal(char, at + 1)
            self._end_run()
            self._draft.foreign = True
            self._opener = Tag(char, "open", BARE, char)
            self._enter(marks.BRACKETS[char])
            self._depth = 1
            return at + 1
        self._depth += 1 if char in marks.BRACKETS else -1
        if self._depth:
            return self._literal(char, at + 1)
        self._close_foreign(self._opener.text)
        return at + 1

    def _close_foreign(self, opener: str) -> None:
        self._draft.foreign = True
        if not self._end_run():
            self._draft.defect("empty_part", opener)
        self._enter(BARE)

    # Tags

    def _angle(self, text: str, at: int, final: bool) -> int:
        if token := self._token(text, at):
            return self._apply(self._read(token), at + len(token))
        if self._unknown and self._mode == PLAN and text[at : at + len(self._unknown) + 3].lower() == f"</{self._unknown}>":
            self._close_part(Tag(f"</{self._unknown}>", "close", PLAN, self._unknown))
            return at + len(self._unknown) + 3
        if self._wrapper and text[at : at + len(self._wrapper) + 3].lower().startswith(
            (f"<{self._wrapper}>", f"</{self._wrapper}>")
        ):
            self._line_start = self._mode == BARE
            return text.index(">", at) + 1
        if not self._cut(text, at) and not (not final and (self._unknown or self._wrapper) and self._named_cut(text, at)):
            return self._literal(text[at], at + 1)
        # Hold back "<role_act": it may become a tag. No token is the beginning of another, so a whole one never waits.
        if not final:
            return ~at
        if len(text) - at > 1 and text[at] != "[" and self._fence is None and self._mode != "cut":
            self._draft.defect("cut_tag", text[at:])
            return len(text)
        return self._literal(text[at:], len(text))

    def _named_cut(self, text: str, at: int) -> bool:
        """Return whether the text from `at` may become a tag of the unknown pair, or of the wrapper."""
        rest = text[at:].lower()
        tags = [f"</{self._unknown}>"] if self._unknown and self._mode == PLAN else []
        tags += [f"<{self._wrapper}>", f"</{self._wrapper}>"] if self._wrapper else []
        return any(tag.startswith(rest) for tag in tags)

    def _apply(self, tag: Tag, after: int) -> int:
        """Read a token that ends at `after`; return where the next step begins."""
        if self._fence is not None:
            self._draft.defect("tag_in_fence", tag.text)
            self._fence = self._fence or len(self._run)
            self._run.append(tag.text)
        elif self._mode == PLAN:
            self._inside_plan(tag)
            if tag.move in ("turn_end", "turn_start") and self._plan_end is None:
                self._plan_end = self._base + after
        elif self._mode == "cut":
            self._after_cut(tag)
        else:
            self._drop_star()
            self._structure(tag, after)
        if self._raw_end is not None:
            return self._base + after + 1_000_000_000  # nothing behind the token is read
        return after

    def _structure(self, tag: Tag, after: int) -> None:
        if tag.name == "details?" or (tag.name == "details" and tag.move == "close"):  # an element of a page that is no plan
            if self._fresh() and not self._draft.plans and tag.move == "open":
                self._open_plan(tag._replace(name="details"))
            else:
                self._run.append(tag.text)
            return
        if tag.alias:
            self._draft.defect("alias", tag.text)
        match tag.kind, tag.move:
            case _, "turn_end" | "turn_start":
                self._turn_token(tag, after)
            case _, "wrap":
                self._unwrap(tag)
            case _, "end" if self._wide and not self._fresh():
                self._end_turn(after)
            case _, "end" | "drop":  # outside a plan a marker of the server is nothing; a line may still start behind it
                self._line_start = self._mode == BARE and (not self._run or self._run[-1][-1] == "\n")
            case kind, "open" if kind == PLAN:
                self._open_plan(tag)
            case kind, _ if kind == PLAN:
                self._claim_plan(tag)
            case _, "open":
                self._open_role(tag)
            case _:
                self._close_role(tag)

    def _turn_token(self, tag: Tag, after: int) -> None:
        """End the turn at a token that ends or starts one; before anything was said it is left over from the prompt."""
        if tag.name == "</s>" and self._struck:
            self._struck = False
            self._run.append(tag.text)
        elif self._fresh() and (tag.move == "turn_start" or not (self._draft.plans or self._draft.reasoning)):
            self._line_start = self._mode == BARE
        else:
            self._end_turn(after)

    def _end_turn(self, after: int) -> None:
        self._raw_end = self._base + after
        self._done = True

    def _unwrap(self, tag: Tag) -> None:
        """Take off a wrapper; what stood before an opening one was a plan."""
        opens = not tag.name.startswith(("/", "<|end"))
        if opens and not self._fresh() and not self._draft.named and not self._draft.plans and not self._draft.reasoning:
            self._end_run()
            self._draft.claim_as_plan(tag.text)
            self._enter(BARE)
        self._line_start = self._mode == BARE and (opens or self._line_start)

    def _open_plan(self, tag: Tag) -> None:
        self._interrupt(tag)
        if self._draft.visible:
            self._draft.defect("plan_not_first", tag.text)
        self._draft.note_name_before_plan()
        self._opener = tag
        self._opening = False
        self._plan_end = None
        self._inner.clear()
        self._enter(PLAN)

    def _inside_plan(self, tag: Tag) -> None:
        if self._opener.name == "|" and tag.move == "drop":  # `<|message|>` follows `<|channel|>analysis`
            return
        if ends_plan(tag, self._opener, self._inner):
            self._close_part(tag)
            return
        self._draft.defect("nested", tag.text)
        self._run.append(tag.text)
        follow_inner(tag, self._opener, self._inner)

    def _claim_plan(self, tag: Tag) -> None:
        self._end_run(at_tag=True)
        self._draft.claim_as_plan(tag.text)
        self._opening = False
        self._enter(BARE)

    def _after_cut(self, tag: Tag) -> None:
        """Read a tag after another speaker's name: a plan's closing tag makes all before it a plan that quoted the name."""
        if self._done or tag.kind != PLAN:
            return
        if tag.move == "close" and tag.name not in self._inner:
            self._replayed = False
            self._structure(tag, 0)
        else:
            follow_inner(tag, self._opener, self._inner)

    def _open_role(self, tag: Tag) -> None:
        self._interrupt(tag)
        self._draft.note_role_tag()
        self._opener = tag
        self._enter(tag.kind)

    def _close_role(self, tag: Tag) -> None:
        if self._mode != BARE and marks.KIND_OF_MODE[self._mode] == tag.kind:
            self._close_part(tag)
        elif self._mode == BARE and tag.kind != BARE:
            self._draft.note_stray_close(tag.kind, tag.text)
            self._end_run(tag.kind, at_tag=True)
        else:
            self._interrupt(tag)
        self._enter(BARE)

    def _close_part(self, tag: Tag) -> None:
        if not self._end_run(at_tag=True):
            self._draft.defect("empty_part", tag.text)
        self._enter(BARE)

    def _interrupt(self, tag: Tag) -> None:
        """End the open part at a tag that does not close it."""
        if self._mode != BARE:
            self._draft.note_interrupted(marks.KIND_OF_MODE[self._mode], tag.text)
        self._end_run(at_tag=True)

    def _end_run(self, kind: Kind | None = None, at_tag: bool = False) -> bool:
        text, self._run = "".join(self._run), []
        return self._draft.add(kind or marks.KIND_OF_MODE[self._mode], text, at_tag)

    def _enter(self, mode: Mode) -> None:
        self._mode: Mode = mode
        inner = marks.FOREIGN_TAGS if self._wide and mode == PLAN else marks.INNER_STOPS.get(mode, marks.TAGS_ONLY)
        self._next_stop = self._bare_stops if mode == BARE else inner
        self._next_ascii = marks.ASCII_STOPS.get(self._next_stop, self._next_stop)
        if mode == BARE:
            self._next_ascii = self._bare_ascii
        self._line_start = mode == BARE
        self._after_name = False
