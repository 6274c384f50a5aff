"""What one character can know at one turn, and what is there and hidden from them: the ground of every leak check.

Known: the setting, their own texts, others' profiles, all that was visible to them up to the turn, their own thoughts.
Hidden: others' thoughts of any turn, others' wants and background, and whatever comes after the turn.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from her.types import CastMember, Language, Transcript, Turn
from her.view import Viewer, visible_kinds
from pipelines.synthesize.checks.anchors import words

RUN: dict[Language, int] = {"en": 5, "zh": 8}
"""So many words (characters in Chinese) in a row are no chance agreement."""
_NAME = re.compile(r"(?<![.!?…:\"“‘(\[\n] )(?<!^)\b[A-Z][a-z]{2,}\b", re.M)
_CAPITAL = re.compile(r"\b[A-Z][a-z]{2,}\b")
_TITLES = frozenset(
    [
        "The",
        "And",
        "But",
        "Sir",
        "Lord",
        "Lady",
        "Mr",
        "Mrs",
        "Miss",
        "God",
        "Heaven",
        "You",
        "Your",
        "His",
        "Her",
        "Not",
        "For",
        "Now",
        "Then",
        "Why",
        "What",
        "How",
    ]
)


class Sight(NamedTuple):
    """What a speaker knows and does not know at a turn.

    Args:
        own: names the speaker goes by: the whole one and its words; `others` those of everybody else present.
        known: words of what is known; `hidden_runs` runs of hidden words that are not known as well.
        hidden_names: capitalised words that stand in hidden text only.
    """

    speaker: str
    language: Language
    own: frozenset[str]
    others: frozenset[str]
    known: frozenset[str]
    hidden_runs: frozenset[tuple[str, ...]]
    hidden_names: frozenset[str]


def sight(transcript: Transcript, at: int, speaker: str = "") -> Sight:
    """What the speaker of turn `at` (or `speaker`) can know when playing it."""
    turn = transcript.turns[at]
    speaker = speaker or turn.speaker
    language = transcript.scenario.language
    known, hidden = [turn.text()], []
    for place, other in enumerate(transcript.turns):
        seen = visible_kinds(Viewer(kind="character", name=speaker), other.speaker) if place <= at else ()
        known.append(other.text(*seen) if seen else "")
        unseen = tuple(part.text for part in other.parts if part.kind not in seen)
        hidden += [text for text in unseen if place != at and not (other.speaker == speaker and place < at)]
    for member in transcript.cast:
        known.append(_public(member) if member.name != speaker else " ".join((_public(member), *_private(member))))
        hidden += _private(member) if member.name != speaker else []
    scenario = transcript.scenario
    known += [scenario.setting, scenario.place, scenario.opening, scenario.title, scenario.source]
    return _compared(speaker, language, [member.name for member in transcript.cast], known, hidden)


def _public(member: CastMember) -> str:
    return f"{member.name} {member.profile}"


def _private(member: CastMember) -> tuple[str, ...]:
    return (member.background, member.motivation)


def _compared(speaker: str, language: Language, cast: Sequence[str], known: list[str], hidden: list[str]) -> Sight:
    size = RUN[language]
    said = " ".join(known)
    there = frozenset(words(said))
    names = {name for text in hidden for name in _NAME.findall(text)} - _TITLES
    runs = {run for text in hidden for run in _runs(words(text), size)}
    return Sight(
        speaker=speaker,
        language=language,
        own=forms([speaker]),
        others=forms(name for name in cast if name != speaker) - forms([speaker]),
        known=there,
        hidden_runs=frozenset(runs) - {run for text in known for run in _runs(words(text), size)},
        hidden_names=frozenset(name for name in names if name.lower() not in there),
    )


@lru_cache(4096)
def _forms(name: str) -> frozenset[str]:
    """A name and its telling words: `Mr. Bennet` gives also `Bennet`."""
    return frozenset([name, *(word for word in _CAPITAL.findall(name) if word not in _TITLES)])


def forms(names: Iterable[str]) -> frozenset[str]:
    """Every way in which these names are said."""
    return frozenset().union(*map(_forms, names)) if names else frozenset()


def _runs(said: Sequence[str], size: int) -> Iterable[tuple[str, ...]]:
    return zip(*(said[shift:] for shift in range(size)), strict=False)


def leaks(text: str, seen: Sight) -> str:
    """The first piece of hidden knowledge in `text`, or nothing."""
    for run in _runs(words(text), RUN[seen.language]):
        if run in seen.hidden_runs:
            return ("" if seen.language == "zh" else " ").join(run)
    return next((name for name in _CAPITAL.findall(text) if name in seen.hidden_names), "")


def visible_before(turns: Sequence[Turn], at: int, speaker: str) -> list[Turn]:
    """The turns before `at`, each with the parts that `speaker` may know of; those without any left out."""
    shown = []
    for turn in turns[:at]:
        kinds = visible_kinds(Viewer(kind="character", name=speaker), turn.speaker)
        parts = tuple(part for part in turn.parts if part.kind in kinds)
        if parts:
            shown.append(turn.model_copy(update={"parts": parts, "raw": ""}))
    return shown
