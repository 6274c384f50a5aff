"""Compare the words that a written turn says with those of the original: speech with speech, acts with acts.

A name, number, negation or any other word with a meaning may not change; light words may, a few. Narration that stood in the
speech of the original may move into an action. Nothing else may leave or enter the speech.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

from her.kinds import UNSPOKEN_KINDS, Kind
from her.types import Defect, Language, Turn
from her.words import NUMBERS, kept_share, telling_words, words
from pipelines.synthesize.checks.problems import problem

LIGHT_SHARE = 0.1
"""Share of the words of a speech that may be light words lost or added; one of them always may."""
SPELLING = 0.85
"""Minimum difflib ratio of two longer words that are one word, misspelled."""
KEPT = 0.34
"""Minimum share of the content words of the original's acts, or thoughts, that are there again in the written turn. One with a
single such word ("He is early") may be put in other words, but not left out."""
# fmt: off
_LIGHT = {
    "en": frozenset(("a", "an", "the", "that", "oh", "ah", "o", "well", "just", "very", "so", "and")),
    "zh": frozenset("的地得着呢啊呀嘛吧哦"),
}
# fmt: on
_NEGATING = re.compile(r"^(?:un|in|im|ir|il|dis|non|mis)|less$")
_NARRATES = re.compile(
    r"\b(?:he|she|they|[A-Z]\w+) (?:\w+ly )?(?:says?|said|repl(?:ies|ied)|answers?|answered|asks|asked|turns|turned|nods|nodded|"
    r"smiles|smiled|sighs|sighed|whispers|whispered|looks|looked|shouts|shouted|cries|cried|mutters|muttered|walks|walked|adds|added|"
    r"laughs|laughed|shrugs|shrugged)\b|[(（*\[]|[说道问答笑叹][道着]?[：:，。]|[道说]着",
)


def speech_problems(original: Turn, written: Turn, language: Language) -> Iterable[Defect]:
    """Yield what was said and is gone, and what is said that was not."""
    said, says = _numbered(words(original.text("speech"))), _numbered(words(written.text("speech")))
    lost, added, light = _changes(said, says, language)
    if lost and _NARRATES.search(original.text("speech")):
        told = _numbered(words(written.text(*UNSPOKEN_KINDS)))
        lost = [run for run in lost if not _moved(run, told)]
    if lost:
        yield problem("speech_lost", _text(lost, language))
    if added:
        yield problem("speech_added", _text(added, language))
    if not (lost or added) and light > max(1, LIGHT_SHARE * len(said)):
        yield problem("speech_lost", f"{light} small words changed")


def act_problems(original: Turn, written: Turn, language: Language) -> Iterable[Defect]:
    """Yield acts and thoughts of the original that are gone altogether."""
    names: tuple[tuple[Kind, str], ...] = (("role_action", "action_lost"), ("role_thinking", "thought_lost"))
    there = written.text(*UNSPOKEN_KINDS)
    for kind, name in names:
        if _is_lost(original.text(kind), there, bool(written.text(kind)), language):
            yield problem(name, original.text(kind))


def _numbered(text_words: Iterable[str]) -> list[str]:
    return [NUMBERS.get(word, word) for word in text_words]


def _changes(
    said: Sequence[str], says: Sequence[str], language: Language
) -> tuple[list[Sequence[str]], list[Sequence[str]], int]:
    """Return the runs of words that are lost, those that are added, and the number of light words among the changes."""
    lost: list[Sequence[str]] = []
    added: list[Sequence[str]] = []
    light = 0
    for tag, first, last, begin, end in difflib.SequenceMatcher(None, said, says, autojunk=False).get_opcodes():
        before, after = said[first:last], says[begin:end]
        if tag == "equal" or "".join(before) == "".join(after) or _same_spelling(before, after):
            continue
        heavy_before = [word for word in before if word not in _LIGHT[language]]
        heavy_after = [word for word in after if word not in _LIGHT[language]]
        light += len(before) + len(after) - len(heavy_before) - len(heavy_after)
        lost += [before] if heavy_before else []
        added += [after] if heavy_after else []
    return lost, added, light


def _same_spelling(before: Sequence[str], after: Sequence[str]) -> bool:
    """Return whether each word is the other one, misspelled; `married` and `unmarried` are not."""
    if len(before) != len(after):
        return False
    return all(
        left == right
        or (
            min(len(left), len(right)) >= 6
            and not (left + right).isdigit()
            and bool(_NEGATING.search(left)) == bool(_NEGATING.search(right))
            and difflib.SequenceMatcher(None, left, right).ratio() >= SPELLING
        )
        for left, right in zip(before, after, strict=True)
    )


def _moved(run: Sequence[str], told: Sequence[str]) -> bool:
    """Return whether a run of narration stands in the actions; its pronoun may be gone."""
    heavy = [word for word in run if word not in ("he", "she", "they", "i", "and", "他", "她", "我", "说", "道")]
    return kept_share(heavy, told) >= 0.6


def _is_lost(before: str, after: str, kind_is_there: bool, language: Language) -> bool:
    if language == "zh":
        chars = words(before)
        few = len(chars) <= 4 and kind_is_there
        return bool(chars) and not few and sum(char in after for char in chars) < KEPT * len(chars)
    content = telling_words(words(before), language)
    if len(content) <= 1 and kind_is_there:
        return False
    content = content or set(words(before))
    have = telling_words(words(after), language) | set(words(after))
    kept = sum(word in have or any(word[:4] == other[:4] for other in have if len(other) >= 4) for word in content)
    return kept < KEPT * len(content)


def _text(lists: Iterable[Sequence[str]], language: Language) -> str:
    return "; ".join((" " if language == "en" else "").join(run) for run in lists)
