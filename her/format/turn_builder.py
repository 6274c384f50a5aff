"""The turn being read: its parts so far, their canonical form, and its defects by name. No tag is looked at here."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby, pairwise

from her.format.markers import name_prefixes
from her.format.tags import unescape
from her.types import Kind, Part

DEFECTS: dict[str, str] = {
    "alias": "a tag, marker or name prefix is written in another known way",
    "cut_tag": "the text ends within a tag; the piece is dropped",
    "empty": "nothing is said, done or thought",
    "empty_part": "a tag or bracket has nothing in it",
    "fenced": "the whole reply stands in a code fence",
    "foreign_notation": "brackets or asterisks are used instead of tags",
    "missing_close": "a thought or action is not closed by its own tag",
    "missing_open": "a closing tag has no opening one; the text before it is taken",
    "name_doubled": "the speaker's name stands twice",
    "name_fullwidth_colon": "the colon after the speaker's name is full-width",
    "name_misplaced": "the speaker's name stands elsewhere than right after the plan",
    "name_missing": "the speaker's name does not stand after the plan",
    "nested": "a tag stands within another",
    "other_speaker": "a line of another speaker begins; it and all after it is cut off",
    "plan_missing": "there is no system_thinking",
    "plan_not_first": "the system_thinking comes after visible text",
    "plan_repeated": "there is more than one system_thinking",
    "same_kind_neighbours": "two neighbouring parts are of one kind",
    "space_at_tag": "there is white space next to a tag",
    "tag_in_fence": "a tag in a code fence is taken literally",
    "unclosed_plan": "the system_thinking is not closed; none of it is shown",
}
"""Every defect the parser reports, with its meaning. A turn has at most one of each, with the first place."""

_CJK = re.compile(r"[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]")


def normalise(parts: Iterable[Part], speaker: str) -> tuple[Part, ...]:
    """The canonical form: the plan first, neighbours of one kind merged, stripped, empties and own names dropped."""
    given = tuple(parts)
    return given if _is_canonical(given, speaker) else _settled([(part.kind, part.text) for part in given], speaker)


def _is_canonical(parts: Sequence[Part], speaker: str) -> bool:
    """Whether there is plainly nothing to do, as for all that the reader made; False where one has to look closer."""
    before = ""
    for part in parts:
        kind, text = part.kind, part.text
        if not text or text[0].isspace() or text[-1].isspace() or kind == before:
            return False
        if (before and kind == "system_thinking") or (kind == "speech" and speaker in text):
            return False
        before = kind
    return True


def _settled(pairs: list[tuple[Kind, str]], speaker: str) -> tuple[Part, ...]:
    # Two Chinese texts merge without a space, and can spell a name that neither began with: hence once more.
    while len(after := _canonical(pairs, speaker)) < len(pairs):
        pairs = after
    return tuple(Part(kind=kind, text=text) for kind, text in after)


def _canonical(pairs: list[tuple[Kind, str]], speaker: str) -> list[tuple[Kind, str]]:
    names = _own_lines(speaker)
    bare = [(kind, (names.sub(r"\1", text) if kind == "speech" and speaker in text else text).strip()) for kind, text in pairs]
    ordered = sorted((pair for pair in bare if pair[1]), key=lambda pair: pair[0] != "system_thinking")
    return [(kind, _merge([text for _, text in group])) for kind, group in groupby(ordered, key=lambda pair: pair[0])]


def _merge(texts: Sequence[str]) -> str:
    """One text of several: a space between two, none where both sides are Chinese or Japanese."""
    pieces = [*texts[:1]]
    for left, right in pairwise(texts):
        pieces += ["" if _CJK.match(left[-1]) and _CJK.match(right[0]) else " ", right]
    return "".join(pieces)


@lru_cache(256)
def _own_lines(speaker: str) -> re.Pattern[str]:
    spellings = "|".join(map(re.escape, name_prefixes(speaker)))
    return re.compile(rf"(?m)^([^\S\n]*)(?:(?:{spellings})[^\S\n]*)+")


class TurnDraft:
    """What the parser has made of a turn up to now. `at` is the position, in characters, that defects are noted with."""

    def __init__(self, speaker: str) -> None:
        self.speaker = speaker
        self.reasoning: list[str] = []
        self.plans: list[str] = []
        self.visible: list[tuple[Kind, str]] = []  # not yet merged
        self.defects: dict[str, str] = {}
        self.at = 0
        self.named = self.foreign = False
        self._unclosed: dict[Kind, str] = {}  # kinds ended by another tag, with the place
        self._after_tag = False

    def add(self, kind: Kind, text: str, at_tag: bool = False) -> bool:
        """End a run of text as a part, `at_tag` when a tag ends it; False when there was nothing in it."""
        body = text.strip()
        if (self._after_tag and text[:1].isspace()) or (at_tag and text[-1:].isspace()):
            self.defect("space_at_tag")
        self._after_tag = at_tag
        if not body:
            return False
        if kind == "system_thinking":
            self.plans.append(unescape(body))
            return True
        if kind != "speech" and self.visible and self.visible[-1][0] == kind:
            self.defect("same_kind_neighbours")
        self.visible.append((kind, unescape(body)))
        return True

    def claim(self, token: str) -> None:
        """A plan's closing tag that nothing opened: all that came before it is the plan."""
        if self.visible:
            self.plans.append(_merge([text for _, text in self.visible]))
        self.visible.clear()
        self._unclosed.clear()
        self.name_before_plan()
        self.defects.pop("other_speaker", None)
        self.defect("missing_open", token)
        self.foreign = False

    def name_before_plan(self) -> None:
        """A plan begins: a name that already stands, with nothing said since, stands too early."""
        if self.named and not self.visible:
            self.defect("name_misplaced", self.speaker)
            self.named = False

    def left_open(self, kind: Kind, token: str) -> None:
        """A tag ended this kind that does not close it."""
        self._unclosed.setdefault(kind, self._place(token))

    def stray(self, kind: Kind, token: str) -> None:
        """A closing tag where its kind is not open: the late end of one left open, or of one never opened."""
        left_open = self._unclosed.pop(kind, None)
        self.defect("missing_open" if left_open is None else "nested", token)

    def settle(self, now: Iterable[tuple[Kind, str]] = ()) -> tuple[Part, ...]:
        """The canonical parts so far, with these runs at the end."""
        plans: list[tuple[Kind, str]] = [("system_thinking", text) for text in ("".join(self.reasoning), *self.plans)]
        return _settled([pair for pair in (*plans, *self.visible, *now) if pair[1]], self.speaker)

    def judge(self) -> None:
        """Note the defects of the turn as a whole."""
        plans = len(self.plans) + bool("".join(self.reasoning).strip())
        truncated = "unclosed_plan" in self.defects
        for place in self._unclosed.values():
            self.defects.setdefault("missing_close", place)
        if not self.visible and not truncated:
            self.defect("empty")
        if self.visible and not self.named and "name_misplaced" not in self.defects:
            self.defect("name_missing")
        if self.visible and not plans and not truncated:
            self.defect("plan_missing")
        if plans > 1:
            self.defect("plan_repeated")
        if self.foreign:
            self.defect("foreign_notation")

    def defect(self, name: str, token: str = "") -> None:
        """Note a defect, once; `token` is what stands there."""
        if name not in self.defects:
            self.defects[name] = self._place(token)

    def _place(self, token: str) -> str:
        return f"{token[:60]} at {self.at}".strip()
