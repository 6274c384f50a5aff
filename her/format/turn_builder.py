"""The turn while it is parsed: its parts so far, their canonical form, and its defects by name.

This module knows no tags: the parser tells it what begins and ends.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

from her.format.dialect import DialectReading, read_dialect
from her.format.markers import name_prefixes
from her.format.tags import unescape
from her.kinds import BARE, PLAN, Kind
from her.types import Part

DEFECTS: dict[str, str] = {
    "alias": "a tag, marker or name prefix has another known spelling",
    "cut_tag": "the text ends inside a tag; the piece is dropped",
    "empty": "the turn has no thought, action or speech",
    "empty_part": "a tag or bracket has nothing in it",
    "fenced": "the whole reply is inside a code fence",
    "foreign_notation": "brackets or asterisks are used instead of tags",
    "missing_close": "a thought or action is not closed by its own tag",
    "missing_open": "a closing tag has no opening tag; the text before it becomes the part",
    "name_doubled": "the speaker's name appears twice",
    "name_fullwidth_colon": "the colon after the speaker's name is full-width",
    "name_misplaced": "the speaker's name is at another place than right after the plan",
    "name_missing": "the speaker's name is missing after the plan",
    "nested": "a tag is inside another one",
    "other_speaker": "a line of another speaker begins; it and all text after it is dropped",
    "plan_missing": "there is no system_thinking",
    "plan_not_first": "the system_thinking comes after visible text",
    "plan_repeated": "there is more than one system_thinking",
    "same_kind_neighbours": "two neighbouring parts have the same kind",
    "space_at_tag": "there is white space next to a tag",
    "tag_in_fence": "a tag inside a code fence is read as text",
    "unclosed_plan": "the system_thinking is not closed; none of it is shown",
}
"""Every defect the parser reports, with its meaning. A turn has each of them at most once, with the first place."""

_CJK = re.compile(r"[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]")


_STOPS_WORD = frozenset(",.;:!?…")
"""Signs that follow a word without a space, also when an empty part was taken out before them."""


def normalise(parts: Iterable[Part], speaker: str) -> tuple[Part, ...]:
    """Return the canonical form of the parts; normalising it again changes nothing.

    The plan comes first, neighbours of one kind are merged, texts are stripped, empty parts and own names are dropped.
    """
    parts = tuple(parts)
    return parts if _is_canonical(parts, speaker) else _settled([(part.kind, part.text) for part in parts], speaker)


def _is_canonical(parts: Sequence[Part], speaker: str) -> bool:
    """Return whether the parts are surely canonical, as those of the parser are; False where `_settled` has to look.

    It looks for the name anywhere in the speech, where `_canonical` looks at beginnings of lines only: it may say False for
    canonical parts, never True for others.
    """
    before = ""
    for part in parts:
        kind, text = part.kind, part.text
        if not text or text[0].isspace() or text[-1].isspace() or kind == before:
            return False
        if (before and kind == PLAN) or (kind == BARE and speaker in text):
            return False
        before = kind
    return True


def _settled(pairs: list[tuple[Kind, str]], speaker: str) -> tuple[Part, ...]:
    """Make the parts canonical, in as many rounds as it takes.

    A merge can spell a new name: two Chinese texts merge without a space. A round that merges nothing is the last one.
    """
    while len(after := _canonical(pairs, speaker)) < len(pairs):
        pairs = after
    return tuple(Part(kind=kind, text=text) for kind, text in after)


def _canonical(pairs: list[tuple[Kind, str]], speaker: str) -> list[tuple[Kind, str]]:
    names = _own_lines(speaker)
    bare = [(kind, (names.sub(r"\1", text) if kind == BARE and speaker in text else text).strip()) for kind, text in pairs]
    # `sorted` is stable: plans move to the front, and all else keeps its order.
    ordered = sorted((pair for pair in bare if pair[1]), key=lambda pair: pair[0] != PLAN)
    return [(kind, _merge([text for _, text in group])) for kind, group in groupby(ordered, key=lambda pair: pair[0])]


def _merge(texts: Sequence[str]) -> str:
    """Join texts by a space, or by nothing where both sides are Chinese or Japanese."""
    if len(texts) == 1:
        return texts[0]
    pieces = [*texts[:1]]
    for left, right in pairwise(texts):
        glued = (_CJK.match(left[-1]) and _CJK.match(right[0])) or right[0] in _STOPS_WORD
        pieces += ["" if glued else " ", right]
    return "".join(pieces)


@lru_cache(256)
def _own_lines(speaker: str) -> re.Pattern[str]:
    spellings = "|".join(map(re.escape, name_prefixes(speaker)))
    return re.compile(rf"(?m)^([^\S\n]*)(?:(?:{spellings})[^\S\n]*)+")


class _Claimed(NamedTuple):
    """A draft before a closing tag claimed its text as the plan."""

    visible: tuple[tuple[Kind, str], ...]
    plans: tuple[str, ...]
    defects: dict[str, str]
    named: bool
    tagged: int | None


class TurnDraft:
    """Parts and defects of a turn so far. `at` is the position, in characters, that the next defect is noted with."""

    def __init__(self, speaker: str, dialect: bool = False) -> None:
        self.speaker = speaker
        self._dialect = dialect  # stars and brackets of bare text are read at the end, see her.format.dialect
        self._final: DialectReading | None = None  # the dialect of the whole turn, read once at its end
        self._tagged: int | None = None  # runs before the first role tag
        self.wrapped_by: int | None = None  # runs within the fence around the reply, once it is closed
        self._before_claim: _Claimed | None = None
        self.reasoning: list[str] = []
        self.plans: list[str] = []
        self.visible: list[tuple[Kind, str]] = []  # not yet merged
        self.defects: dict[str, str] = {}
        self.at = 0
        self.named = self.foreign = False
        self._unclosed: dict[Kind, str] = {}  # kinds ended by another tag, with the place
        self._after_tag = False

    def add(self, kind: Kind, text: str, at_tag: bool = False) -> bool:
        """End a run of text as a part; return False when it was blank. `at_tag` says that a tag ended it."""
        body = text.strip()
        # A tag before the run or after it has white space next to it; `text` is not stripped yet.
        if (self._after_tag and text[:1].isspace()) or (at_tag and text[-1:].isspace()):
            self.defect("space_at_tag")
        self._after_tag = at_tag
        if not body:
            return False
        if kind == PLAN:
            self.plans.append(unescape(body))
            return True
        # Two runs of speech are no defect: an empty part or a literal between them was dropped, not written twice.
        if kind != BARE and self.visible and self.visible[-1][0] == kind:
            self.defect("same_kind_neighbours")
        # Unescape before merging: an escape must not arise from the end of one part and the beginning of the next.
        self.visible.append((kind, unescape(body)))
        return True

    def claim_as_plan(self, token: str) -> None:
        """Take all text so far as the plan: its closing tag has come, and no opening one had.

        A chat template that opens the plan in the prompt leads to such texts. What was noted about the text while it counted
        as a reply (another speaker's line, brackets, open parts) no longer holds.
        """
        self._before_claim = _Claimed(tuple(self.visible), tuple(self.plans), dict(self.defects), self.named, self._tagged)
        if self.visible:
            self.plans.append(_merge([text for _, text in self.visible]))
        self.visible.clear()
        self._tagged = None
        self._unclosed.clear()
        self.note_name_before_plan()
        self.defects.pop("other_speaker", None)
        self.defect("missing_open", token)
        self.foreign = False

    def note_name_before_plan(self) -> None:
        """Note, where a plan begins, that the name stood before it; such a name with nothing after it does not count."""
        if self.named and not self.visible:
            self.defect("name_misplaced", self.speaker)
            self.named = False

    def note_interrupted(self, kind: Kind, token: str) -> None:
        """Note that a tag which is not its closing one ended a part of this kind."""
        self._unclosed.setdefault(kind, self._place(token))

    def note_stray_close(self, kind: Kind, token: str) -> None:
        """Note a closing tag where its kind is not open: the late end of a part that was interrupted, or of none at all."""
        place = self._unclosed.pop(kind, None)
        self.defect("missing_open" if place is None else "nested", token)

    def note_role_tag(self) -> None:
        """Note that a role tag opens here: if no bracket or starred act came before it, none is one in this turn."""
        if self._tagged is None:
            self._tagged = len(self.visible)

    def undo_claim(self) -> None:
        """Take back the last claim when nothing visible followed it and something had been said before: a stray closing tag."""
        before = self._before_claim
        if before and not self.visible and before.visible and (before.named or before.plans or self.reasoning):
            self.visible, self.plans = list(before.visible), list(before.plans)
            self.defects, self.named, self._tagged = before.defects, before.named, before.tagged
            self.defect("missing_open")

    def canonical_parts(self, more: Iterable[tuple[Kind, str]] = ()) -> tuple[Part, ...]:
        """Return the canonical parts so far, with these runs added at the end."""
        plans: list[tuple[Kind, str]] = [(PLAN, text) for text in self._distinct_plans()]
        runs = [*self.visible, *more]
        if self._dialect:
            runs, self.foreign = self._final or read_dialect(runs, self._tagged)
        return _settled([pair for pair in (*plans, *runs) if pair[1]], self.speaker)

    def _distinct_plans(self) -> list[str]:
        """Return the plans; one that came in a field and in a tag counts once."""
        reasoning, first = "".join(self.reasoning), self.plans[0] if self.plans else ""
        if reasoning and first and len(self.plans) == 1:
            told, tagged = " ".join(reasoning.split()), " ".join(first.split())
            if told.startswith(tagged):
                return [reasoning]
            if tagged.startswith(told):
                return [first]
        return [reasoning, *self.plans]

    def note_final_defects(self) -> None:
        """Note the defects that only the whole turn shows."""
        self.undo_claim()
        if self._dialect:
            self._final = read_dialect(self.visible, self._tagged)
            self.foreign = self._final.foreign
        plans = len([text for text in self._distinct_plans() if text.strip()])
        # The text was cut inside the plan: that the reply is missing is no defect of its own.
        truncated = "unclosed_plan" in self.defects
        for place in self._unclosed.values():
            self.defects.setdefault("missing_close", place)
        if not self.visible and not truncated:
            self.defect("empty")
        # A misplaced name is not missing as well.
        if self.visible and not self.named and "name_misplaced" not in self.defects:
            self.defect("name_missing")
        if self.visible and not plans and not truncated:
            self.defect("plan_missing")
        if plans > 1:
            self.defect("plan_repeated")
        if self.foreign:
            self.defect("foreign_notation")

    def defect(self, name: str, token: str = "") -> None:
        """Note a defect with its first place; `token` is the text at that place."""
        if name not in self.defects:
            self.defects[name] = self._place(token)

    def _place(self, token: str) -> str:
        return f"{token[:60]} at {self.at}".strip()
