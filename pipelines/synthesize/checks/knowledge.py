"""Compute what one character can know at one turn, and what is hidden from them: the basis of every leak check.

Known: the setting, the character's own texts, others' profiles, the original of the turn, what others made visible before it,
own thoughts of the original. Hidden: others' thoughts, of the original and as written, others' background and motivation, and
every later turn. The written turn under test is on neither side: a leak would be its own evidence.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from her.kinds import REPLY_KINDS
from her.types import CastMember, Language, Transcript, Turn
from her.view import Viewer, visible_kinds
from her.words import SENTENCE, runs, telling_words, words

RUN: dict[Language, int] = {"en": 5, "zh": 8}
"""Words in a row (characters in Chinese) that two texts do not share by chance."""
PRIVATE_RUN: dict[Language, int] = {"en": 4, "zh": 6}
"""The same for what another thinks or keeps to themselves; an English run of four counts with two content words in it."""
SECRET_WORDS = 3
"""Content words of one private sentence of another, none of them known: so many in one sentence are no guess."""
# A capitalised word that does not begin a sentence, a quotation or a line.
_NAME = re.compile(r"(?<![.!?…:\"“‘(\[\n] )(?<!^)(?<!\w['’])\b[A-Z][a-z]{2,}\b", re.M)
# Not within a word: the name d'Urberville is known as `durberville`.
_CAPITAL = re.compile(r"(?<!\w['’])\b[A-Z][a-z]{2,}\b")
# What stands before the word for a shop, a place or a title is a name: 恒丰当铺, 清河镇, 王掌柜.
_NAME_ZH = re.compile(
    r"([\u4e00-\u9fff]{2})(?:当铺|钱庄|票号|商号|客栈|酒楼|茶楼|镖局|书院|学堂|衙门|山庄|码头|渡口|公司|银行|医院|大学|旅馆|饭店|镇|县城)"
)
_ZH_LITTLE = frozenset(
    "的了在给把到和与是有去来上下里外这那个一二三两几家开进出回从往向卖当被让叫对跟同为以还也都就不没着过他她我你您它们城大小老"
)
# fmt: off
_NOT_NAMES = frozenset((
    "The", "And", "But", "Sir", "Lord", "Lady", "Mr", "Mrs", "Miss", "God", "Heaven", "You", "Your", "His", "Her", "Not",
    "For", "Now", "Then", "Why", "What", "How", "January", "February", "March", "April", "May", "June", "July", "August",
    "September", "October", "November", "December", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
    "Christmas", "Easter", "English", "French", "German", "Captain", "Doctor", "Father", "Mother", "Uncle", "Aunt", "Madam",
    "She", "They", "This", "That", "There", "When", "Where", "Who", "Tell", "One",
))
"""Capitalised words that are no names, or that everybody knows, or titles that many people share."""
_TITLES_ZH = (
    "掌柜", "镖头", "先生", "姑娘", "公子", "大人", "夫人", "小姐", "老爷", "太太", "师傅", "师父", "将军",
    "大夫", "老板", "队长",
    "教授", "医生", "老师", "经理", "警官", "少爷", "员外", "郎中", "捕头", "道长", "大师", "王爷", "娘娘",
    "嬷嬷", "奶奶", "爷爷",
)
# fmt: on


class Sight(NamedTuple):
    """Knowledge of a speaker at a turn, and what is hidden from them.

    Args:
        own: names of the speaker: the full name and the telling words of it; `others` those of everybody else present.
        known: words of everything known; `known_text` the text itself.
        hidden_runs: runs of hidden words that are not known as well; `private_runs` shorter ones, of others' minds only.
        hidden_names: names that stand in hidden text only.
        secrets: for each sentence of others' minds, the stems of its content words that are not known.
    """

    speaker: str
    language: Language
    own: frozenset[str]
    others: frozenset[str]
    known: frozenset[str]
    known_text: str
    hidden_runs: frozenset[tuple[str, ...]]
    private_runs: frozenset[tuple[str, ...]]
    hidden_names: frozenset[str]
    secrets: tuple[frozenset[str], ...]


def sight(transcript: Transcript, at: int, speaker: str = "", written: Sequence[Turn] = ()) -> Sight:
    """Return what the speaker of turn `at` (or `speaker`) can know when playing it.

    Args:
        written: the turns as rewritten, in the same order, when those of the transcript are the originals.
    """
    turn = transcript.turns[at]
    speaker = speaker or turn.speaker
    known, private, later = [turn.text(*REPLY_KINDS)], [], []
    for turns in (transcript.turns, written):
        for place, other in enumerate(turns):
            own = other.speaker == speaker
            if place == at:
                continue  # the original is known, and the turn under test is no evidence for itself
            seen = visible_kinds(Viewer(kind="character", name=speaker if turns is transcript.turns else ""), other.speaker)
            if place < at:
                known.append(other.text(*seen))
            elif not own:
                later.append(other.text(*REPLY_KINDS))
            if not own:
                private.append(other.text("role_thinking"))
    for member in transcript.cast:
        known.append(_public(member) if member.name != speaker else " ".join((_public(member), *_private(member))))
        private += _private(member) if member.name != speaker else ()
    scenario = transcript.scenario
    known += [scenario.setting, scenario.place, scenario.opening, scenario.title, scenario.source]
    own_later = [other.text(*REPLY_KINDS) for other in transcript.turns[at + 1 :] if other.speaker == speaker]
    return _compared(speaker, transcript, known, (private, later, own_later))


def _public(member: CastMember) -> str:
    return f"{member.name} {member.profile}"


def _private(member: CastMember) -> tuple[str, ...]:
    return (member.background, member.motivation)


def _compared(speaker: str, transcript: Transcript, known: list[str], hidden: tuple[list[str], list[str], list[str]]) -> Sight:
    language, cast = transcript.scenario.language, [member.name for member in transcript.cast]
    private, later, own_later = hidden
    size, short = RUN[language], PRIVATE_RUN[language]
    known_text = "\n".join(known)
    known_words = frozenset(words(known_text))
    # What the speaker says later in the book is known to them already, so its names are no secret; its wording is.
    others = (*private, *later)
    names = {name for text in others for name in _NAME.findall(text)} - _NOT_NAMES
    names_zh = {
        name for text in others for name in _NAME_ZH.findall(text) if name[0] not in _ZH_LITTLE and name[1] not in "的了在上里过"
    }
    content = telling_words(known_words, "en") if language == "en" else frozenset()
    hidden_runs = {run for text in (*others, *own_later) for run in runs(words(text), size)}
    private_runs = {run for text in private for run in runs(words(text), short) if _tells(run, language)}
    return Sight(
        speaker=speaker,
        language=language,
        own=name_forms([speaker]),
        others=name_forms(name for name in cast if name != speaker) - name_forms([speaker]),
        known=known_words,
        known_text=known_text,
        hidden_runs=frozenset(hidden_runs) - {run for text in known for run in runs(words(text), size)},
        private_runs=frozenset(private_runs) - {run for text in known for run in runs(words(text), short)},
        # Compared in lower case: a word that is known without its capital is no secret.
        hidden_names=frozenset(name for name in names if name.lower() not in known_words)
        | frozenset(name for name in names_zh if name not in known_text),
        secrets=tuple(_secrets(private, content)) if language == "en" else (),
    )


def _tells(run: Sequence[str], language: Language) -> bool:
    return language == "zh" or len(telling_words(run, "en")) >= 2


def _secrets(private: Iterable[str], known: Iterable[str]) -> Iterable[frozenset[str]]:
    stems = {_stem(word) for word in known}
    for text in private:
        for sentence in SENTENCE.findall(text):
            unknown = frozenset(map(_stem, telling_words(words(sentence), "en"))) - stems
            if len(unknown) >= SECRET_WORDS:
                yield unknown


def _stem(word: str) -> str:
    """Return a rough stem of an English word, so that `sold` is not `sole` and `hides` is `hide`."""
    return word[:5] if len(word) > 5 else word.rstrip("s")


@lru_cache(4096)
def _forms(name: str) -> frozenset[str]:
    """Return a name and its telling words: `Mr. Bennet` gives also `Bennet`, 沈掌柜 also 掌柜."""
    title = next((title for title in _TITLES_ZH if name.endswith(title) and name != title), "")
    return frozenset(filter(None, [name, title, *(word for word in _CAPITAL.findall(name) if word not in _NOT_NAMES)]))


def name_forms(names: Iterable[str]) -> frozenset[str]:
    """Return every form of these names that a text may use."""
    return frozenset().union(*map(_forms, names)) if names else frozenset()


def hidden_piece(text: str, seen: Sight) -> str:
    """Return the first piece of hidden knowledge in `text`; empty when there is none."""
    said = words(text)
    for size, hidden in ((RUN, seen.hidden_runs), (PRIVATE_RUN, seen.private_runs)):
        for run in runs(said, size[seen.language]):
            if run in hidden:
                return ("" if seen.language == "zh" else " ").join(run)
    if seen.language == "zh":
        return next((name for name in sorted(seen.hidden_names) if name in text), "")
    if name := next((name for name in _CAPITAL.findall(text) if name in seen.hidden_names), ""):
        return name
    for sentence in SENTENCE.findall(text):
        told = {_stem(word): word for word in telling_words(words(sentence), "en")}
        for secret in seen.secrets:
            if len(shared := told.keys() & secret) >= SECRET_WORDS:
                return ", ".join(sorted(told[stem] for stem in shared))
    return ""
