"""The tolerant reader: an incremental parser from a model's text to a turn.

Every decision hangs on whole tokens, so any cutting of a text into chunks gives the same turn; what may still become a
token is held back. It is linear in the text and never raises for it. Tags: `her.format.tags`; other marks: `her.format.markers`;
the turn grows in `her.format.turn_builder`.
"""

from collections.abc import Iterable
from typing import get_args

from her.errors import InputError
from her.format import markers as marks
from her.format.markers import Mode, NameFinder, Notation, sentence_starts, stands_free
from her.format.tags import TAG, Tag, ends_plan, follow_inner, is_cut, read_tag, unescape
from her.format.turn_builder import TurnDraft
from her.types import Defect, Kind, Part, Turn, new_id


class Parser:
    """Reads one turn as it streams.

    Args:
        speaker: whose turn it is; their `Name:` prefixes are taken off.
        others: names whose line ends the turn.
        notation: "her" (brackets and stars are literal), "coser" (`[thought] (action) speech` and stars),
            "asterisk" (`*action*`), or "auto": the first role tag, bracket or starred action decides.
        fences: whether tags in code fences are literal.
    """

    def __init__(self, speaker: str, others: Iterable[str] = (), notation: Notation = "auto", *, fences: bool = True) -> None:
        if notation not in marks.BARE:
            raise InputError(f"notation {notation!r} is unknown; write one of {', '.join(get_args(Notation))}")
        self.speaker = speaker
        self.others = tuple(name for name in others if name and name != speaker)
        self.notation: Notation = notation
        self._fences = fences
        self._names = NameFinder(speaker, self.others)
        self._draft = TurnDraft(speaker)
        self._raw: list[str] = []
        self._held = ""  # may still become a token
        self._run: list[str] = []  # the text since the last token
        self._before_star: list[str] = []  # the run that a star, not closed yet, interrupts
        self._fed = self._base = 0  # characters fed, and before the text in hand
        self._opener = Tag("", "open", "speech", "")
        self._inner: set[str] = set()  # plan tags opened within the plan
        self._depth = 0
        self._after_name = self._done = self._wrapped = False
        self._fence: int | None = None  # inside a fence: how much of the run may be shown, 0 for all
        self._bare = marks.BARE[notation]
        self._enter("bare")

    def feed(self, text: str) -> None:
        """Read on. A lone surrogate, which no UTF-8 text has, becomes U+FFFD."""
        if not text.isascii():
            text = marks.LONE_SURROGATE.sub("\ufffd", text)
        self._raw.append(text)
        self._fed += len(text)
        if self._held or self._line_start or self._special(text):
            self._scan(self._held + text)
        elif text:
            self._run.append(text)

    def feed_reasoning(self, text: str) -> None:
        """Text of an API-native reasoning field: the plan, taken literally."""
        if text:
            self._draft.reasoning.append(marks.LONE_SURROGATE.sub("\ufffd", text))

    @property
    def done(self) -> bool:
        """Whether another speaker's line has begun, so that the model may be stopped.

        Not when neither plan nor name was seen: then this may be a plan whose closing tag is still to come.
        """
        return self._done

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts so far, safe to show: no half token, nothing of an open plan as anything but system_thinking."""
        shown = [] if self._mode == "cut" else self._run[: self._fence or None]
        now = unescape(marks.HALF_ENTITY.sub("", "".join(shown)).strip())
        earlier: list[tuple[Kind, str]] = [("speech", "".join(self._before_star))] if self._mode == "*" else []
        return self._draft.settle([*earlier, (marks.KIND[self._mode], now)])

    def close(self, turn_id: str | None = None) -> Turn:
        """The whole turn; call it once, after the last `feed`."""
        self._scan(self._held, final=True)
        if self._fence is not None:
            return self._reread(turn_id)
        self._draft.at = self._fed
        self._finish()
        return Turn(
            id=turn_id or new_id(),
            speaker=self.speaker,
            parts=self._draft.settle(),
            raw="".join(self._raw),
            defects=tuple(Defect(name=name, detail=place) for name, place in self._draft.defects.items()),
        )

    def _reread(self, turn_id: str | None) -> Turn:
        """A fence that nothing closes makes no tag literal, else a thought behind it would be speech."""
        again = Parser(self.speaker, self.others, self.notation, fences=False)
        again.feed_reasoning("".join(self._draft.reasoning))
        again.feed("".join(self._raw))
        return again.close(turn_id)

    def _finish(self) -> None:
        self._unstar()
        if self._mode == "cut":
            self._run.clear()
        elif self._mode == "plan":
            self._draft.defect("unclosed_plan", self._opener.text)
        elif self._mode != "bare":
            self._draft.defect("missing_close", self._opener.text)
        self._end_run()
        self._draft.judge()

    # Tokens. Each step takes the text in hand and a position; it gives the next one, or ~position to hold back from there.

    def _scan(self, text: str, final: bool = False) -> None:
        at, self._held, self._base = 0, "", self._fed - len(text)
        while at < len(text):
            at = self._begin_line(text, at, final) if self._line_start else self._read(text, at, final)
            if at < 0:
                self._held = text[~at:]
                return

    def _read(self, text: str, at: int, final: bool) -> int:
        found = self._special(text, at)
        if found is None:
            return self._literal(text[at:], len(text))
        if found.start() > at:
            self._run.append(text[at : found.start()])
            at = found.start()
        self._draft.at = self._base + at
        match text[at]:
            case "<":
                return self._angle(text, at, final)
            case "\n":
                return self._newline(at)
            case "*":
                return self._star(text, at, final)
            case bracket:
                return self._bracket(bracket, at)

    def _literal(self, text: str, after: int) -> int:
        self._run.append(text)
        return after

    def _newline(self, at: int) -> int:
        if self._mode == "*":
            self._unstar()
            return at
        self._line_start = True
        return self._literal("\n", at + 1)

    def _begin_line(self, text: str, at: int, final: bool) -> int:
        """At the start of a bare run or line: white space, a fence, a name, or nothing of these."""
        if (blank := marks.BLANK.match(text, at)) and blank.end() > at:
            return blank.end() if self._after_name else self._literal(blank[0], blank.end())
        self._draft.at = self._base + at
        after = self._backtick(text, at, final) if text[at] == "`" else self._name(text, at, final)
        if after == at:
            self._line_start = self._after_name = False
        return after

    def _name(self, text: str, at: int, final: bool) -> int:
        if not final and self._names.may_begin(text, at):
            return ~at
        if found := self._names.match(text, at):
            (self._own_name if found[0] in self._names.own else self._other_name)(found[0])
            return found.end()
        return at

    def _own_name(self, spelling: str) -> None:
        if self._after_name:
            self._draft.defect("name_doubled", spelling)
        elif self._draft.named or not self._fresh():
            self._draft.defect("name_misplaced", spelling)
        if "：" in spelling:
            self._draft.defect("name_fullwidth_colon", spelling)
        if spelling.startswith("**") and not self.speaker.startswith("**"):
            self._draft.defect("alias", spelling)
        self._draft.named = self._after_name = True

    def _other_name(self, spelling: str) -> None:
        if self._fence is not None:  # literal if the fence is closed, else found when reading again
            self._fence = self._fence or len(self._run)
            self._run.append(spelling)
            self._line_start = False
            return
        self._draft.defect("other_speaker", spelling)
        self._end_run()
        self._enter("cut")
        self._inner.clear()
        self._done = bool(self._draft.named or self._draft.plans or self._draft.reasoning)
        self._run.append(spelling)

    def _fresh(self) -> bool:
        """Whether nothing visible has come yet."""
        return not self._draft.visible and not any(piece.strip() for piece in self._run)

    def _backtick(self, text: str, at: int, final: bool) -> int:
        if not text.startswith("```", at):
            return ~at if not final and text[at:] in ("`", "``") else at
        if self._wrapped:
            self._wrapped = self._line_start = False
            return at + 3
        if (head := marks.WRAPPER.match(text, at)) and self._fresh():
            if (found := TAG.match(text, head.end())) and read_tag(found[0]).move == "open":
                self._wrapped = True
                self._draft.defect("fenced", head[0].strip())
                return head.end()
            if not final and (head.end() == len(text) or is_cut(text, head.end())):
                return ~at
        self._line_start = self._after_name = False
        if self._fences:
            self._fence = 0 if self._fence is None else None
        return self._literal("```", at + 3)

    # Notations

    def _star(self, text: str, at: int, final: bool) -> int:
        if at + 1 == len(text) and not final:
            return ~at
        after = text[at + 1 : at + 2]
        before = self._run[-1][-1] if self._run else ""
        single = "*" not in (before, after) and self._fence is None
        if self._mode == "*" and single and not before.isspace() and not (after.isalnum() or after == "_"):
            action, self._run = self._run, self._before_star
            self._end_run("speech")
            self._run = action
            self._close_foreign("*")
        elif self._mode == "bare" and single and after.strip() and sentence_starts(self._run):
            self._before_star, self._run = self._run, []
            self._enter("*")
        else:
            self._run.append("*")
        return at + 1

    def _unstar(self) -> None:
        """A star that nothing closes is a star."""
        if self._mode == "*":
            self._before_star.append("*")
            self._before_star += self._run
            self._run = self._before_star
            self._enter("bare")
            self._line_start = False

    def _bracket(self, char: str, at: int) -> int:
        if self._mode == "bare":
            if self._fence is not None or not (self.notation == "coser" or stands_free(char, self._run)):
                return self._literal(char, at + 1)
            self._end_run()
            self._draft.foreign = True
            self._opener = Tag(char, "open", "speech", char)
            self._enter("[" if char == "[" else "(")
            self._depth = 1
            return at + 1
        self._depth += 1 if char in "[(（" else -1
        if self._depth:
            return self._literal(char, at + 1)
        self._close_foreign(self._opener.text)
        return at + 1

    def _close_foreign(self, opener: str) -> None:
        self._draft.foreign = True
        if not self._end_run():
            self._draft.defect("empty_part", opener)
        self._enter("bare")

    # Tags

    def _angle(self, text: str, at: int, final: bool) -> int:
        if found := TAG.match(text, at):
            self._apply(read_tag(found[0]))
            return found.end()
        if not is_cut(text, at):
            return self._literal("<", at + 1)
        if not final:
            return ~at
        if len(text) - at > 1 and self._fence is None and self._mode != "cut":
            self._draft.defect("cut_tag", text[at:])
            return len(text)
        return self._literal(text[at:], len(text))

    def _apply(self, tag: Tag) -> None:
        if self._fence is not None:
            self._draft.defect("tag_in_fence", tag.text)
            self._fence = self._fence or len(self._run)
            self._run.append(tag.text)
        elif self._mode == "plan":
            self._within_plan(tag)
        elif self._mode == "cut":
            self._after_cut(tag)
        else:
            self._unstar()
            self._structure(tag)

    def _structure(self, tag: Tag) -> None:
        if tag.alias:
            self._draft.defect("alias", tag.text)
        match tag.kind, tag.move:
            case _, "end" | "drop":
                self._line_start = self._mode == "bare" and (not self._run or self._run[-1][-1] == "\n")
            case "system_thinking", "open":
                self._open_plan(tag)
            case "system_thinking", _:
                self._claim_plan(tag)
            case _, "open":
                self._open_role(tag)
            case _:
                self._close_role(tag)

    def _open_plan(self, tag: Tag) -> None:
        self._interrupt(tag)
        if self._draft.visible:
            self._draft.defect("plan_not_first", tag.text)
        self._draft.name_before_plan()
        self._opener = tag
        self._inner.clear()
        self._enter("plan")

    def _within_plan(self, tag: Tag) -> None:
        if self._opener.name == "|" and tag.move == "drop":
            return
        if ends_plan(tag, self._opener, self._inner):
            self._close_part(tag)
            return
        self._draft.defect("nested", tag.text)
        self._run.append(tag.text)
        follow_inner(tag, self._opener, self._inner)

    def _claim_plan(self, tag: Tag) -> None:
        self._end_run(at_tag=True)
        self._draft.claim(tag.text)
        self._bare = marks.BARE[self.notation]
        self._enter("bare")

    def _after_cut(self, tag: Tag) -> None:
        """What was cut off is a plan after all when its closing tag comes, and nothing else said otherwise."""
        if self._done or tag.kind != "system_thinking":
            return
        if tag.move == "close" and tag.name not in self._inner:
            self._structure(tag)
        else:
            follow_inner(tag, self._opener, self._inner)

    def _open_role(self, tag: Tag) -> None:
        self._interrupt(tag)
        if self.notation == "auto" and not self._draft.foreign:
            self._bare = marks.BARE["her"]
        self._opener = tag
        self._enter(tag.kind if tag.kind in ("role_thinking", "role_action") else "bare")

    def _close_role(self, tag: Tag) -> None:
        if self._mode != "bare" and marks.KIND[self._mode] == tag.kind:
            self._close_part(tag)
        elif self._mode == "bare" and tag.kind != "speech":
            self._draft.stray(tag.kind, tag.text)
            self._end_run(tag.kind, at_tag=True)
        else:
            self._interrupt(tag)
        self._enter("bare")

    def _close_part(self, tag: Tag) -> None:
        if not self._end_run(at_tag=True):
            self._draft.defect("empty_part", tag.text)
        self._enter("bare")

    def _interrupt(self, tag: Tag) -> None:
        """End what is open at a tag that does not close it."""
        if self._mode != "bare":
            self._draft.left_open(marks.KIND[self._mode], tag.text)
        self._end_run(at_tag=True)

    def _end_run(self, kind: Kind | None = None, at_tag: bool = False) -> bool:
        text, self._run = "".join(self._run), []
        return self._draft.add(kind or marks.KIND[self._mode], text, at_tag)

    def _enter(self, mode: Mode) -> None:
        self._mode: Mode = mode
        self._special = self._bare if mode == "bare" else marks.WITHIN.get(mode, marks.TAGS_ONLY)
        self._line_start = mode == "bare"
        self._after_name = False
