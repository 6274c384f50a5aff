"""Incremental parser from a model's text to a turn; it accepts any text and reports departures as defects.

Any split of a text into chunks gives the same turn (a law that the tests check). The time is linear in the text. The parser keeps
what came and how it is to be read; the scanner finds the tokens (`her.format.scanner`), the state says what each does to the turn
(`her.format.turn_state`), the draft collects parts and defects (`her.format.turn_builder`). Tags: `her.format.tags`; other marks:
`her.format.mark_table`.
"""

import re
from collections.abc import Iterable
from typing import get_args

from her.errors import InputError
from her.format.markers import LONE_SURROGATE, Notation
from her.format.names import NameFound, wide_names
from her.format.scanner import Guess, Scanner
from her.format.stops import BARE_STOPS, stops_by_mode
from her.format.turn_state import TurnState
from her.kinds import PLAN
from her.types import Defect, Part, Turn, new_id

_MOST_PLAN_ENDS = 4
"""Plans without an end that are ended at a name, each by one more reading of the text; a further one goes to the text's end."""
_BLANK = re.compile(r"[ \t]*")


class Parser:
    """Parser of one turn while it streams.

    Args:
        speaker: whose turn it is; their `Name:` prefixes are removed.
        others: names whose line ends the turn.
        notation: "her" (brackets and stars are literal), "coser" (`[thought] (action) speech` and stars),
            "asterisk" (`*action*`), or "auto": what models write, in every spelling and dialect of `her.format.mark_table`;
            the first role tag, bracket or starred action decides.
        guess: see `Guess`.

    Raises:
        InputError: the notation is unknown.
    """

    def __init__(
        self, speaker: str, others: Iterable[str] = (), notation: Notation = "auto", *, guess: Guess | None = None
    ) -> None:
        if notation not in BARE_STOPS:
            raise InputError(f"notation {notation!r} is unknown; write one of {', '.join(get_args(Notation))}")
        self.speaker = speaker
        self.others = tuple(name for name in others if name and name != speaker)
        self.notation: Notation = notation
        self._guess = guess or Guess()
        self._state = TurnState(
            speaker, notation == "auto", stops_by_mode(notation, speaker, self.others, named=bool(self._guess.wrapper))
        )
        self._scanner = Scanner(self._state, self.others, notation, self._guess)
        self._raw: list[str] = []
        self._fed = 0  # characters fed so far

    def feed(self, text: str) -> None:
        """Parse the next piece of text. A lone surrogate, which UTF-8 cannot encode, becomes U+FFFD.

        What follows a token that ended the turn is not taken.
        """
        state = self._state
        if state.ended is not None:
            return
        if not (is_ascii := text.isascii()):
            text = LONE_SURROGATE.sub("\ufffd", text)
        self._raw.append(text)
        self._fed += len(text)
        if self._scanner.held or state.line_start or (state.stops.ascii_text if is_ascii else state.stops.any_text)(text):
            self._scanner.scan(text, self._fed)
        elif text:  # most chunks of a stream hold no stop: add them without a scan
            state.run.append(text)

    def feed_reasoning(self, text: str) -> None:
        """Add text of an API-native reasoning field to the plan; tags in it stay text."""
        if text:
            self._state.draft.reasoning.append(LONE_SURROGATE.sub("\ufffd", text))

    @property
    def done(self) -> bool:
        """True when a token ended the turn or another speaker's line has begun, so that generation may stop.

        A line of another speaker does not end it before a plan or name was seen: then the text may be a plan whose closing tag
        is still to come, and a plan may quote others.
        """
        return self._state.done

    @property
    def begun_anew(self) -> bool:
        """True when the text has begun as a whole turn does: with a plan or with the speaker's name."""
        state = self._state
        return bool(state.draft.named or state.draft.plans or state.mode == PLAN)

    @property
    def planned(self) -> bool:
        """True when the text has a plan, or has begun one."""
        return bool(self._state.draft.plans or self._state.mode == PLAN)

    @property
    def surplus(self) -> int:
        """Characters that were fed behind the token that ended the turn."""
        return 0 if self._state.ended is None else max(0, self._fed - self._state.ended)

    @property
    def raw(self) -> str:
        """The text so far, byte for byte, up to the token that ended the turn."""
        return "".join(self._raw)[: self._state.ended]

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts so far that are safe to show: no half token, and no text of an open plan as another kind."""
        return self._state.shown()

    def close(self, turn_id: str | None = None) -> Turn:
        """Return the whole turn; call it once, after the last `feed`."""
        self._scanner.scan("", self._fed, final=True)
        if (again := self._second_reading()) is not None:
            return again.close(turn_id)
        draft = self._state.draft
        draft.at = self._fed - self.surplus
        self._state.finish()
        return Turn(
            id=turn_id or new_id(),
            speaker=self.speaker,
            parts=draft.canonical_parts(),
            raw=self.raw,
            defects=tuple(Defect(name=name, detail=place) for name, place in draft.defects.items()),
        )

    # Second readings

    def _second_reading(self) -> "Parser | None":
        """Return a parser that was fed the text again, where the end of the text shows that its beginning was read wrongly."""
        state, scanner, guess = self._state, self._scanner, self._guess
        if state.fence is not None:  # a fence that nothing closes must not turn a thought behind it into speech
            return self._again(guess._replace(fences=False))
        wrapped_by = state.draft.wrapped_by
        if scanner.outer and not scanner.wrapped and wrapped_by is not None and state.says_more(wrapped_by):
            return self._again(guess._replace(wraps=False))
        if scanner.unknown and (state.mode == PLAN or not state.says_more(0)):
            # An unknown pair around everything is a wrapper; one that nothing closes is text.
            return self._again(guess._replace(wrapper=scanner.unknown if state.mode != PLAN else ""))
        if self.notation == "auto" and state.mode == PLAN and len(guess.plan_ends) < _MOST_PLAN_ENDS:
            name = self._name_in_plan()
            return None if name is None else self._again(guess._replace(plan_ends=(*guess.plan_ends, name)))
        return None

    def _again(self, guess: Guess) -> "Parser":
        """Read the text again with another guess."""
        again = Parser(self.speaker, self.others, self.notation, guess=guess)
        again.feed_reasoning("".join(self._state.draft.reasoning))
        raw, at = self.raw, 0
        for end in guess.plan_ends:
            again.feed(raw[at:end])
            again._scanner.scan("", again._fed, final=True)
            again._state.draft.at = end
            again._state.end_open_plan()
            at = end
        again.feed(raw[at:])
        return again

    def _name_in_plan(self) -> int | None:
        """Return where the character's own line begins in a plan that nothing closed: the reply begins there."""
        names = wide_names(self.speaker, self.others)
        text = "".join(self._state.run)
        start = self._fed - len(self._scanner.held) - len(text)
        at = text.find("\n")
        while at >= 0:
            blank = _BLANK.match(text, at + 1)
            line = blank.end() if blank else at + 1
            found = names.look(text, line, True, bool) if line < len(text) else None
            if isinstance(found, NameFound) and found.own:
                return start + line
            at = text.find("\n", at + 1)
        return None
