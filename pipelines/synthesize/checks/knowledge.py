"""Compute what one character can know at one turn, and what is hidden from them: the basis of every leak check.

Known: the setting, the character's own texts, others' profiles, everything visible to them up to the turn, own thoughts.
Hidden: others' thoughts of any turn, others' background and motivation, and every later turn.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from her.types import CastMember, Language, Transcript
from her.view import Viewer, visible_kinds
from her.words import runs, words

RUN: dict[Language, int] = {"en": 5, "zh": 8}
"""Words in a row (characters in Chinese) that two texts do not share by chance."""
# A capitalised word that does not begin a sentence, a quotation or a line.
_NAME = re.compile(r"(?<![.!?…:\"“‘(\[\n] )(?<!^)(?<!\w['’])\b[A-Z][a-z]{2,}\b", re.M)
# Not within a word: the name d'Urberville is known as `durberville`.
_CAPITAL = re.compile(r"(?<!\w['’])\b[A-Z][a-z]{2,}\b")
# fmt: off
_NOT_NAMES = frozenset((
    "The", "And", "But", "Sir", "Lord", "Lady", "Mr", "Mrs", "Miss", "God", "Heaven", "You", "Your", "His", "Her", "Not",
    "For", "Now", "Then", "Why", "What", "How",
))
"""Capitalised words that are no names, or titles that many people share."""
# fmt: on


class Sight(NamedTuple):
    """Knowledge of a speaker at a turn, and what is hidden from them.

    Args:
        own: names of the speaker: the full name and the telling words of it; `others` those of everybody else present.
        known: words of everything known; `hidden_runs` runs of hidden words that are not known as well.
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
    """Return what the speaker of turn `at` (or `speaker`) can know when playing it."""
    turn = transcript.turns[at]
    speaker = speaker or turn.speaker
    language = transcript.scenario.language
    known, hidden = [turn.text()], []
    for place, other in enumerate(transcript.turns):
        seen = visible_kinds(Viewer(kind="character", name=speaker), other.speaker) if place <= at else ()
        known.append(other.text(*seen) if seen else "")
        unseen = tuple(part.text for part in other.parts if part.kind not in seen)
        # The speaker's own earlier plans are not visible, but they are no secret either.
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
    known_words = frozenset(words(" ".join(known)))
    names = {name for text in hidden for name in _NAME.findall(text)} - _NOT_NAMES
    hidden_runs = {run for text in hidden for run in runs(words(text), size)}
    return Sight(
        speaker=speaker,
        language=language,
        own=name_forms([speaker]),
        others=name_forms(name for name in cast if name != speaker) - name_forms([speaker]),
        known=known_words,
        hidden_runs=frozenset(hidden_runs) - {run for text in known for run in runs(words(text), size)},
        # Compared in lower case: a word that is known without its capital is no secret.
        hidden_names=frozenset(name for name in names if name.lower() not in known_words),
    )


@lru_cache(4096)
def _forms(name: str) -> frozenset[str]:
    """Return a name and its telling words: `Mr. Bennet` gives also `Bennet`."""
    return frozenset([name, *(word for word in _CAPITAL.findall(name) if word not in _NOT_NAMES)])


def name_forms(names: Iterable[str]) -> frozenset[str]:
    """Return every form of these names that a text may use."""
    return frozenset().union(*map(_forms, names)) if names else frozenset()


def hidden_piece(text: str, seen: Sight) -> str:
    """Return the first piece of hidden knowledge in `text`; empty when there is none."""
    for run in runs(words(text), RUN[seen.language]):
        if run in seen.hidden_runs:
            return ("" if seen.language == "zh" else " ").join(run)
    return next((name for name in _CAPITAL.findall(text) if name in seen.hidden_names), "")
