"""The turn while it is read: what the parser is inside of, the text since the last token, and what each token does to the turn.

The scanner (`her.format.scanner`) finds the tokens and calls one method for each; nothing here looks at the text around a token.
"""

from collections.abc import Mapping

from her.format import markers as marks
from her.format.mark_table import PLAN_ELEMENT
from her.format.markers import Mode, sentence_starts
from her.format.names import NameFound
from her.format.stops import BARE_STOPS, StopSearch
from her.format.tags import Tag, ends_plan, follow_inner, unescape
from her.format.turn_builder import TurnDraft
from her.kinds import BARE, PLAN, STARRED, Kind
from her.types import Part

_ELEMENTS = (PLAN_ELEMENT, f"{PLAN_ELEMENT}?")
"""Names of an element of a page that may be a plan, and of one that does not say whether it is."""


class TurnState:
    """State of one turn between two tokens.

    Args:
        speaker: whose turn it is.
        wide: whether the notation is `auto`.
        stops: stops in each mode, see `her.format.stops`.

    Attributes:
        mode, run: see `her.format.markers`.
        stops: where the scanner has to stop next.
        line_start: a line or run of bare text may begin here, with a name or a fence.
        after_name: the speaker's name has just been removed.
        opening: this is the very start of the reply, where more marks are read.
        opener: the token that opened the current mode.
        done: nothing that follows can belong to the turn.
        ended: position behind the token that ended the turn.
        plan_ended: the same, of a token inside a plan: it counts if nothing closes the plan.
        fence: None outside a code fence. Inside, the number of pieces of the run that `shown` may show; 0 means all. It is set
            at the first token in the fence: if nothing closes the fence, the token counts, and what follows may be a thought.
    """

    def __init__(self, speaker: str, wide: bool, stops: Mapping[Mode, StopSearch]) -> None:
        self.speaker = speaker
        self.draft = TurnDraft(speaker, dialect=wide)
        self.run: list[str] = []
        self.opener = Tag("", "open", BARE, "")
        self.done = False
        self.ended: int | None = None
        self.plan_ended: int | None = None
        self.fence: int | None = None
        self.opening = self._wide = wide
        self._plain_names = (f"{speaker}:", f"{speaker}：")
        self._stops_by_mode = stops
        self._blank_in, self._blank = self.run, 0  # the run that `fresh` looked at, and its pieces that are surely blank
        self._before_star: list[str] = []  # the run before a star that is not closed yet
        self._inner: set[str] = set()  # names of plan tags opened inside the plan
        self._depth = 0  # open brackets, in a bracket's mode
        self._replayed = False  # another's line came first: the character's own line ends the cut
        self.enter(BARE)

    def enter(self, mode: Mode) -> None:
        """Begin to be inside of something; the run must be empty, or be meant to go on."""
        self.mode = mode
        self.stops = self._stops_by_mode[mode]
        self.line_start = mode == BARE
        self.after_name = False

    def use_stops(self, stops: Mapping[Mode, StopSearch]) -> None:
        """Take other stops from here on."""
        self._stops_by_mode = stops
        self.stops = stops[self.mode]

    def end_run(self, kind: Kind | None = None, at_tag: bool = False) -> bool:
        """Make the run a part of this kind, else of the mode's; return False when it was blank."""
        text, self.run = "".join(self.run), []
        return self.draft.add(kind or marks.KIND_OF_MODE[self.mode], text, at_tag)

    def fresh(self) -> bool:
        """Return whether nothing visible has come yet."""
        if self.draft.visible:
            return False
        run = self.run
        if self._blank_in is not run:
            self._blank_in, self._blank = run, 0
        # A run only grows, so pieces that were found blank are not looked at again.
        while self._blank < len(run) and run[self._blank].isspace():
            self._blank += 1
        return self._blank == len(run)

    def says_more(self, since: int) -> bool:
        """Return whether anything visible came after the first `since` parts."""
        return len(self.draft.visible) > since or (self.mode != "cut" and any(piece.strip() for piece in self.run))

    def shown(self) -> tuple[Part, ...]:
        """Return the parts so far that are safe to show: no half token, and no text of an open plan as another kind."""
        shown = [] if self.mode == "cut" else self.run[: self.fence or None]
        current = unescape(marks.HALF_ENTITY.sub("", "".join(shown)).strip())
        earlier: list[tuple[Kind, str]] = [(BARE, "".join(self._before_star))] if self.mode == "*" else []
        return self.draft.canonical_parts([*earlier, (marks.KIND_OF_MODE[self.mode], current)])

    def finish(self) -> None:
        """End what is open at the end of the text."""
        self.drop_star()
        if self.mode == "cut":
            self.run = []
        elif self.mode == PLAN:
            self.draft.defect("unclosed_plan", self.opener.text)
            if self.plan_ended is not None:
                self.ended = self.plan_ended
        elif self.mode != BARE:
            self.draft.defect("missing_close", self.opener.text)
        self.end_run()
        self.draft.note_final_defects()

    # Names

    def take_name(self, found: NameFound) -> None:
        """Read a name before a line, in the notation `auto`."""
        if self.mode == "cut":  # another's line came first: the reply begins at the character's own
            if not (found.own and self._replayed):
                self.run.append(found.text)
                self.line_start = False
                return
            self._replayed = False
            self.run = []
            self.enter(BARE)
        (self.own_name if found.own else self.other_name)(found.text)
        if found.own and found.emote:
            self.end_run()
            self.draft.add(STARRED, found.emote)
            self.line_start = self.after_name = True

    def own_name(self, spelling: str) -> None:
        """Take the speaker's own name off."""
        if self.after_name:
            self.draft.defect("name_doubled", spelling)
        elif self.draft.named or not self.fresh():
            self.draft.defect("name_misplaced", spelling)
        if "：" in spelling:
            self.draft.defect("name_fullwidth_colon", spelling)
        if spelling.rstrip() not in self._plain_names:
            self.draft.defect("alias", spelling)
        self.draft.named = self.after_name = True

    def other_name(self, spelling: str) -> None:
        """Cut the turn before another's line."""
        if self.fence is not None:  # literal if the fence is closed; if not, the second reading finds the name
            self.fence = self.fence or len(self.run)
            self.run.append(spelling)
            self.line_start = False
            return
        self.draft.defect("other_speaker", spelling)
        self._replayed = self._wide and self.fresh() and not self.draft.named
        self.end_run()
        self.enter("cut")
        self._inner.clear()
        # A plan that quotes another speaker has no name or plan before it, so generation must not stop there.
        self.done = not self._replayed and bool(self.draft.named or self.draft.plans or self.draft.reasoning)
        self.run.append(spelling)
        if self._replayed:
            self.stops = BARE_STOPS["auto"]

    # Stars and brackets

    def star(self, after: str) -> None:
        """Read a star; `after` is the character behind it, empty at the end of the text."""
        before = self.run[-1][-1] if self.run else ""
        single = "*" not in (before, after) and self.fence is None  # `**` is bold text
        if self.mode == "*" and single and not before.isspace() and not (after.isalnum() or after == "_"):
            # The speech before the star becomes a part only now, when the star is known to open an action.
            action, self.run = self.run, self._before_star
            self.end_run(BARE)
            self.run = action
            self._close_foreign("*")
        elif self.mode == BARE and single and after.strip() and sentence_starts(self.run):
            self._before_star, self.run = self.run, []
            self.enter("*")
        else:
            self.run.append("*")

    def drop_star(self) -> None:
        """Leave the mode of a star that nothing closes: it becomes part of the text."""
        if self.mode == "*":
            self._before_star.append("*")
            self._before_star += self.run
            self.run = self._before_star
            self.enter(BARE)
            self.line_start = False

    def open_bracket(self, char: str) -> None:
        """Begin a part at a bracket in bare text."""
        self.end_run()
        self.draft.foreign = True
        self.opener = Tag(char, "open", BARE, char)
        self.enter(marks.BRACKETS[char])
        self._depth = 1

    def inner_bracket(self, char: str) -> None:
        """Read a bracket inside a part that a bracket began: the one that closes it ends the part."""
        self._depth += 1 if char in marks.BRACKETS else -1
        if self._depth:
            self.run.append(char)
        else:
            self._close_foreign(self.opener.text)

    def _close_foreign(self, opener: str) -> None:
        self.draft.foreign = True
        if not self.end_run():
            self.draft.defect("empty_part", opener)
        self.enter(BARE)

    # Tags

    def apply(self, tag: Tag, after: int) -> None:
        """Read a token that ends at this position of the whole text."""
        if self.fence is not None:
            self.draft.defect("tag_in_fence", tag.text)
            self.fence = self.fence or len(self.run)
            self.run.append(tag.text)
        elif self.mode == PLAN:
            self._inside_plan(tag)
            if tag.move in ("turn_end", "turn_start") and self.plan_ended is None:
                self.plan_ended = after
        elif self.mode == "cut":
            self._after_cut(tag)
        else:
            self.drop_star()
            self._structure(tag, after)

    def _structure(self, tag: Tag, after: int) -> None:
        if tag.name in _ELEMENTS and self._is_no_plan(tag):
            return
        if tag.alias:
            self.draft.defect("alias", tag.text)
        if tag.move == "open":
            (self._open_plan if tag.kind == PLAN else self._open_role)(tag)
        elif tag.move == "close":
            (self._claim_plan if tag.kind == PLAN else self._close_role)(tag)
        elif tag.move in ("turn_end", "turn_start"):
            self._turn_token(tag, after)
        elif tag.move == "wrap":
            self._unwrap(tag)
        elif tag.move == "end" and self._wide and not self.fresh():
            self._end_turn(after)
        else:  # outside a plan a marker of the server is nothing; a line may still start behind it
            self.line_start = self.mode == BARE and (not self.run or self.run[-1][-1] == "\n")

    def _is_no_plan(self, tag: Tag) -> bool:
        """Read an element of a page, which is a plan at the start of a reply only; return whether it was none."""
        if tag.name == PLAN_ELEMENT and tag.move == "open":
            return False
        if tag.move == "open" and self.fresh() and not self.draft.plans:
            self._open_plan(tag._replace(name=PLAN_ELEMENT))
        else:
            self.run.append(tag.text)
        return True

    def _turn_token(self, tag: Tag, after: int) -> None:
        """End the turn at a token that ends or starts one; before anything was said it is left over from the prompt."""
        if self.fresh() and (tag.move == "turn_start" or not (self.draft.plans or self.draft.reasoning)):
            self.line_start = self.mode == BARE
        else:
            self._end_turn(after)

    def _end_turn(self, after: int) -> None:
        self.ended = after
        self.done = True

    def _unwrap(self, tag: Tag) -> None:
        """Take off a wrapper; what stood before an opening one was a plan."""
        opens = not tag.name.startswith(("/", "<|end"))
        if opens and not self.fresh() and not self.draft.named and not self.draft.plans and not self.draft.reasoning:
            self.end_run()
            self.draft.claim_as_plan(tag.text)
            self.enter(BARE)
        self.line_start = self.mode == BARE and (opens or self.line_start)

    def open_start(self, tag: Tag, stops: StopSearch | None) -> None:
        """Begin a plan at a mark that counts at the start of a reply only; `stops` where its end is another mark."""
        self.draft.defect("alias", tag.text)
        self._open_plan(tag)
        self.stops = stops or self.stops

    def _open_plan(self, tag: Tag) -> None:
        self._interrupt(tag)
        if self.draft.visible:
            self.draft.defect("plan_not_first", tag.text)
        self.draft.note_name_before_plan()
        self.opener = tag
        self.opening = False
        self.plan_ended = None
        self._inner.clear()
        self.enter(PLAN)

    def _inside_plan(self, tag: Tag) -> None:
        if self.opener.name == "|" and tag.move == "drop":  # `<|message|>` follows `<|channel|>analysis`
            return
        if ends_plan(tag, self.opener, self._inner):
            self.close_part(tag)
            return
        self.draft.defect("nested", tag.text)
        self.run.append(tag.text)
        follow_inner(tag, self.opener, self._inner)

    def end_open_plan(self) -> None:
        """End the plan in hand at a place where no mark does."""
        if self.mode == PLAN:
            self.draft.defect("unclosed_plan", self.opener.text)
            self.end_run()
            self.enter(BARE)

    def _claim_plan(self, tag: Tag) -> None:
        self.end_run(at_tag=True)
        self.draft.claim_as_plan(tag.text)
        self.opening = False
        self.enter(BARE)

    def _after_cut(self, tag: Tag) -> None:
        """Read a tag after another speaker's name: a plan's closing tag makes all before it a plan that quoted the name."""
        if self.done or tag.kind != PLAN:
            return
        if tag.move == "close" and tag.name not in self._inner:
            self._replayed = False
            self._structure(tag, 0)
        else:
            follow_inner(tag, self.opener, self._inner)

    def _open_role(self, tag: Tag) -> None:
        self._interrupt(tag)
        self.draft.note_role_tag()
        self.opener = tag
        self.enter(tag.kind)

    def _close_role(self, tag: Tag) -> None:
        if self.mode != BARE and marks.KIND_OF_MODE[self.mode] == tag.kind:
            self.close_part(tag)
        elif self.mode == BARE and tag.kind != BARE:
            self.draft.note_stray_close(tag.kind, tag.text)
            self.end_run(tag.kind, at_tag=True)
        else:
            self._interrupt(tag)
        self.enter(BARE)

    def close_part(self, tag: Tag) -> None:
        """End the part in hand at its own closing tag."""
        if not self.end_run(at_tag=True):
            self.draft.defect("empty_part", tag.text)
        self.enter(BARE)

    def _interrupt(self, tag: Tag) -> None:
        """End the open part at a tag that does not close it."""
        if self.mode != BARE:
            self.draft.note_interrupted(marks.KIND_OF_MODE[self.mode], tag.text)
        self.end_run(at_tag=True)
