"""Check a turn among its neighbours: variety of patterns (orders of parts), of openings, repetition, and length over time.

At least five different patterns in a conversation and none three times in a row are HER's rules for its teacher
(docs/protocols.md, Synthesis).
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from her.format import pattern
from her.types import ENVIRONMENT, Defect, Language, Turn
from her.words import SENTENCE, words
from pipelines.synthesize.checks.problems import problem
from pipelines.synthesize.checks.turns import THINKING

PATTERNS, PATTERNS_FROM, IN_A_ROW = 5, 8, 3
"""Minimum number of patterns; in conversations of so many turns and more; so many equal ones in a row are too many."""
OPENING_WORDS: dict[Language, int] = {"en": 3, "zh": 5}
REPEATED_WORDS: dict[Language, int] = {"en": 5, "zh": 8}
"""A sentence of so many words (characters in Chinese) may stand in the thoughts of one turn only."""
LAZY_FROM = 4
"""In conversations of so many turns and more, an answer that changes nothing at all is no answer."""
GROWTH = 1.5
"""The last third of a conversation may grow by so much more than the first."""
SHORT_TURN = 40
"""Characters; shorter originals count as this long, since a short turn may well be doubled."""


def conversation_problems(originals: Sequence[Turn], turns: Sequence[Turn], language: Language = "en") -> dict[str, list[Defect]]:
    """Return the problems by turn id; turns of the environment are ignored, and turns without a problem are not listed.

    Args:
        originals: every turn of the conversation before it was rewritten, by the same ids as `turns`.
    """
    found: dict[str, list[Defect]] = {}
    spoken = [turn for turn in turns if turn.speaker != ENVIRONMENT]
    for turn, defect in _pattern_problems(spoken):
        found.setdefault(turn.id, []).append(defect)
    for before, turn in zip(spoken, spoken[1:], strict=False):
        if (opening := _opening(before, language)) and opening == _opening(turn, language):
            found.setdefault(turn.id, []).append(problem("opening_repeated", " ".join(opening)))
    first_form = {turn.id: turn for turn in originals}
    for turn in _creeping(first_form, spoken):
        found.setdefault(turn.id, []).append(problem("creeping"))
    for turn, sentence in _repeated(first_form, spoken, language):
        found.setdefault(turn.id, []).append(problem("repeated", sentence))
    if len(spoken) >= LAZY_FROM and all(_same(first_form[turn.id], turn) for turn in spoken):
        for turn in spoken:
            found.setdefault(turn.id, []).append(problem("lazy"))
    return found


def _pattern_problems(spoken: Sequence[Turn]) -> list[tuple[Turn, Defect]]:
    found = []
    patterns = [pattern(turn.parts) for turn in spoken]
    for at in range(IN_A_ROW - 1, len(spoken)):
        if len(set(patterns[at - IN_A_ROW + 1 : at + 1])) == 1:
            found.append((spoken[at], problem("three_alike", patterns[at])))
    if len(spoken) >= PATTERNS_FROM and len(kinds := set(patterns)) < PATTERNS:
        usual = Counter(patterns).most_common(1)[0][0]
        # Only every second turn of the most common pattern is to change: all of them would just be another monotony.
        for turn in [turn for turn, order in zip(spoken, patterns, strict=True) if order == usual][1::2]:
            found.append((turn, problem("few_patterns", f"{len(kinds)} orders, at least {PATTERNS}")))
    return found


def _opening(turn: Turn, language: Language) -> tuple[str, ...]:
    opening = tuple(words(turn.text(*THINKING))[: OPENING_WORDS[language]])
    return opening if len(opening) == OPENING_WORDS[language] else ()


def _same(before: Turn, after: Turn) -> bool:
    """Return whether two forms of a turn differ in marks and case at most."""
    return [(part.kind, words(part.text)) for part in before.parts] == [(part.kind, words(part.text)) for part in after.parts]


def _repeated(originals: dict[str, Turn], spoken: Sequence[Turn], language: Language) -> Iterator[tuple[Turn, str]]:
    """Yield the turns with a thought that stands in the thoughts or words of an earlier turn, and that thought."""
    earlier: dict[tuple[str, ...], str] = {}
    for turn in spoken:
        before = " ".join(words(originals[turn.id].text()))
        thoughts = [part.text for part in turn.parts if part.kind in THINKING]
        for sentence in (sentence for text in thoughts for sentence in SENTENCE.findall(text)):
            said = tuple(words(sentence))
            if len(said) < REPEATED_WORDS[language] or " ".join(said) in before:
                continue
            if earlier.setdefault(said, turn.id) != turn.id:
                yield turn, sentence.strip()


def _creeping(originals: dict[str, Turn], spoken: Sequence[Turn]) -> list[Turn]:
    """Return the turns of the last third that grew most, when that third grew more than `GROWTH` times as much as the first."""
    third = len(spoken) // 3
    if third < 3:
        return []
    growth = {turn.id: len(turn.text()) / max(SHORT_TURN, len(originals[turn.id].text())) for turn in spoken}
    first = sum(growth[turn.id] for turn in spoken[:third]) / third
    last = sum(growth[turn.id] for turn in spoken[-third:]) / third
    if last <= max(GROWTH, GROWTH * first):
        return []
    return [turn for turn in spoken[-third:] if growth[turn.id] > first * GROWTH]
