"""Choose who has the next turn: read a model's answer, find who was addressed, take turns, draw by a seed.

Model answers come in many forms (`Next Speaker: X`, `**Next Speaker:** "X"`, `X (alias)`, prose, Chinese). The reader knows all
names of the cast, also those who may not be chosen now: `Jane Bennet` is never read as `Jane`. It never guesses; an answer that
names nobody, or two people with equal right, is `unreadable`.
"""

import random
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from her.format.plan_splitter import PlanSplitter
from her.types import ENVIRONMENT, Turn, Value
from her.view import Viewer, line

ReadingKind = Literal["name", "end", "random", "unreadable"]
END = "<END CHAT>"
"""Answer that ends a scene, as in CoSER (arXiv:2502.09082)."""
_MARK = re.compile(
    r"(?:next[\s_-]{0,3}speaker|下[一]?(?:位|个)(?:该)?(?:发言|说话|讲话|开口)?的?(?:角色|人物|者|人)?)"
    r"[\s\"'`*_#”’]{0,8}(?:[:：=]|-{1,2}|—|\bis\b|是|为|应是)?",
    re.IGNORECASE,
)
_END = re.compile(r"[<\[【《]?\s*(?:END[\s_]*(?:OF[\s_]*)?CHAT|结束对话|对话结束)\s*[>\]】》]?", re.IGNORECASE)
_BARE_END = re.compile(r"[<\[]\s*END\s*[>\]]", re.IGNORECASE)
_LITERAL_END = re.compile(r"<\s*END[\s_]*CHAT\s*>", re.IGNORECASE)
_ANYBODY = frozenset({"random", "anyone", "anybody", "any", "随机", "任意", "任何人", "都可以"})
_NARRATORS = ("narrator", "environment", "旁白", "环境")
_OPENING = " \t\"'`*_#[({<“‘「『【《（-—:：=>•·"
_CLOSING = " \t\"'`*_#])}>”’」』】》），,。!！;；:："
_TITLES = frozenset(
    ("Mr.", "Mrs", "Mrs.", "Miss", "Lady", "Lord", "Sir", "Dr.", "The", "King", "Queen", "Prince", "Captain", "Jr.")
)
_HAN_NAME = re.compile(r"[\u4e00-\u9fff]{3,4}")
_NUMBER = re.compile(r"\s*(?:\(?\d{1,2}[.)、]|[-*•])\s+")
_LINK = re.compile(r"[\s*_\"']*(?:/|,|、|，|&|\bor\b|\band\b|或者?|和|与|及)[\s*_\"']*", re.IGNORECASE)


class SpeakerReading(Value):
    """Reading of an answer: a name of the cast, the end, `random` (no opinion), or nothing that can be read."""

    kind: ReadingKind
    name: str = ""


_UNREADABLE = SpeakerReading(kind="unreadable")


def read_next_speaker(answer: str, names: Sequence[str]) -> SpeakerReading:
    """Read the answer of a model that was asked who is next; never raises for any `answer`.

    The last line with a marker such as `Next Speaker:` counts; without one, an answer that is a name, or names one alone.

    Args:
        answer: text of the model; reasoning in tags is left out.
        names: all who may be meant, the current speaker and the absent included.
    """
    text = _without_reasoning(answer).strip()
    finder = _Names(names)
    marked = [_first_line(text[mark.end() :]) for mark in _MARK.finditer(text)][::-1]
    lines = [each for each in text.splitlines() if each.strip()]
    exact = marked or ([text] if len(lines) == 1 else [*lines[-1:], *lines[:1]])
    for segment in exact:
        if (reading := finder.exact(segment)) is not None:
            return reading
    # Prose behind a marker names the choice first and the reasons after it; prose without one must name one person only.
    for segment in marked:
        if found := finder.mentioned(segment):
            return SpeakerReading(kind="name", name=found[0])
    found = [] if marked else list(dict.fromkeys(finder.mentioned(text)))
    if len(found) == 1:
        return SpeakerReading(kind="name", name=found[0])
    return SpeakerReading(kind="end") if not found and _LITERAL_END.search(text) else _UNREADABLE


def addressed(turn: Turn, names: Sequence[str], choices: Collection[str]) -> str:
    """Return who of `choices` is named last in what others see of the turn; empty when nobody is.

    A part of a name that no other name shares counts as well: `Elizabeth`, or 宝玉 for 贾宝玉.

    Args:
        turn: the turn.
        names: the whole cast, so that no name is found inside another one.
        choices: who may be next.
    """
    said = line(turn, Viewer(kind="next_speaker")).removeprefix(f"{turn.speaker}: ")
    short = _short_names(names)
    mentioned = (short.get(name, name) for name in _Names([*names, *short]).mentioned(said))
    return next(reversed([name for name in mentioned if name in choices and name != turn.speaker]), "")


def in_turn(turns: Sequence[Turn], order: Sequence[str]) -> str:
    """Return who follows the last speaker of `order` in it; the first when none of them has spoken."""
    last = next((turn.speaker for turn in reversed(turns) if turn.speaker in order), None)
    return order[0] if last is None else order[(list(order).index(last) + 1) % len(order)]


def drawn(choices: Iterable[str], *seeds: str | int) -> str:
    """Draw one of `choices`, equal for equal seeds in every process: from a sorted list, by no global generator."""
    return random.Random("\n".join(map(str, seeds))).choice(sorted(choices))


class _Names:
    """Finder of names in text; where one name holds another, the longest counts."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(dict.fromkeys(filter(None, names)))
        longest_first = sorted(self._names, key=lambda name: (-len(name), name))
        self._pattern = re.compile("|".join(map(_bounded, longest_first)) or r"(?!)")
        self._written = {_plain_quotes(name): name for name in self._names}

    def exact(self, segment: str) -> SpeakerReading | None:
        """Return what a line says that is a name, begins with one, or is the end or `random`; None for prose."""
        segment = _NUMBER.sub("", segment, count=1) if _NUMBER.match(segment) else segment
        core = _plain_quotes(segment.strip().lstrip(_OPENING))
        if name := self._equal(segment.strip()) or self._equal(core):
            return SpeakerReading(kind="name", name=name)
        if (end := _END.match(segment.strip(" *_`\"'")) or _BARE_END.match(segment.strip())) and end[0].strip():
            return SpeakerReading(kind="end")
        if _key(core).rstrip(". ") in _ANYBODY:
            return SpeakerReading(kind="random")
        if begun := self._pattern.match(core):
            return self._unless_two(core, begun)
        if name := self._part(core):
            return SpeakerReading(kind="name", name=name)
        return None

    def mentioned(self, text: str) -> list[str]:
        """Return the names in the text, in its order."""
        return [self._written[match[0]] for match in self._pattern.finditer(_plain_quotes(text))]

    def _unless_two(self, core: str, begun: re.Match[str]) -> SpeakerReading:
        """Return the name at the beginning; `X or Y` is no choice."""
        link = _LINK.match(core, begun.end())
        second = self._pattern.match(core, link.end()) if link else None
        if second and second[0] != begun[0]:
            return _UNREADABLE
        return SpeakerReading(kind="name", name=self._written[begun[0]])

    def _equal(self, text: str) -> str:
        """Return the only name that equals the text, by the strictest of several measures that finds one."""
        # A name may end in a full stop ("Jr."), so dots are taken off one measure later than everything else.
        for measure in (str, _key, lambda each: _key(each).rstrip(". ")):
            same = [name for name in self._names if measure(name) == measure(text)]
            if len(same) == 1:
                return same[0]
        if _key(text).rstrip(". ") in _NARRATORS and ENVIRONMENT in self._names:
            return ENVIRONMENT
        return ""

    def _part(self, text: str) -> str:
        """Return the only name of which the text is a run of whole words, such as the first name."""
        words = _key(text).rstrip(". ").split()
        found = [name for name in self._names if words and _is_run(words, _key(name).split())]
        return found[0] if len(found) == 1 else _short_names(self._names).get(text.rstrip(_CLOSING), "")


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Return the words of Latin names and the given names of Chinese ones, each with the only name it belongs to."""
    owners: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        words = name.replace("\u00b7", " ").split()
        given = [name[-2:]] if _HAN_NAME.fullmatch(name) else []
        # Two letters and titles say too little: "Mr", "Dr", "Li".
        latin = [word for word in words if len(words) > 1 and len(word) > 2 and word[0].isupper() and word not in _TITLES]
        for short in dict.fromkeys([*latin, *given]):
            owners.setdefault(short, []).append(name)
    return {short: owner[0] for short, owner in owners.items() if len(owner) == 1 and short not in names}


def _is_run(words: list[str], name: list[str]) -> bool:
    return any(name[at : at + len(words)] == words for at in range(len(name) - len(words) + 1))


def _bounded(name: str) -> str:
    """Return the pattern of a name that is no part of a longer word or of a longer Latin name (`Jane` in `Jane Bennet`)."""
    before = r"(?<![A-Za-z0-9])" if re.match(r"[A-Za-z0-9]", name) else ""
    after = r"(?![A-Za-z0-9])(?! [A-Z][a-z])" if re.search(r"[A-Za-z0-9]\Z", name) else ""
    return before + re.escape(_plain_quotes(name)) + after


def _key(text: str) -> str:
    """Return the text for comparison: one width, one case, single spaces, plain quotes, no decoration at the end."""
    return " ".join(_plain_quotes(unicodedata.normalize("NFKC", text)).casefold().split()).rstrip(_CLOSING)


def _plain_quotes(text: str) -> str:
    return text.replace("\u2019", "'").replace("\u2018", "'")


def _first_line(text: str) -> str:
    return next((each for each in text.splitlines() if each.strip(_OPENING)), "")


def _without_reasoning(answer: str) -> str:
    splitter = PlanSplitter()
    return splitter.feed(answer).content + splitter.close().content
