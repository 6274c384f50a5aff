"""Check one enhanced turn against the rules of the prompt `enhance_thoughts`; each departure has a name in `PROBLEMS`.

The rules are HER's (docs/protocols.md, Synthesis); HER states them in its prompts and checks none of them in code. A
sentence that the original had already is no departure. What needs a reader is asked of the checker (`stages/checker.py`).
"""

import re
from collections.abc import Iterable

from her.kinds import UNSPOKEN_KINDS, Kind
from her.types import Defect, Language, Turn
from her.words import GARBLED, SENTENCE, kept_share, runs, words
from pipelines.synthesize.checks.knowledge import Sight, hidden_piece
from pipelines.synthesize.checks.persons import person_problems
from pipelines.synthesize.checks.phrases import foreign, markdown, refusal, task_talk_in_thought
from pipelines.synthesize.checks.problems import problem
from pipelines.synthesize.checks.spoken import act_problems, speech_problems

ROOM: dict[Language, tuple[int, int]] = {"en": (300, 100), "zh": (150, 50)}
"""Characters that every turn may have; characters that may be added to one and a half times the original."""
VAST = 10_000
"""Characters; a turn that is longer gets `too_long` and no further check. A model that repeats itself up to its token limit
writes 100,000, and comparing these word by word takes a minute."""
ECHO_WORDS: dict[Language, int] = {"en": 4, "zh": 6}
"""A thought of fewer words may repeat the speech."""
ECHO = 0.9
"""Share of a thought's words that, said aloud in the same order, make it an echo."""
REPEATED_RUN: dict[Language, int] = {"en": 6, "zh": 8}
"""Words in a row that may stand once in the thoughts of a turn."""
THINKING: tuple[Kind, ...] = ("role_thinking",)
_STATED = (
    r"(?:(?:(?:secretly|really|truly|already|now) )(?:thinks|believes|knows|wants|wishes|plans|intends|hopes|fears|loves|hates|"
    r"feels)|(?:thinks|believes|intends|is plotting|is planning|is scheming|plans|wants) (?:that|to|of)\b|is "
    r"(?:secretly|plotting|scheming))"
)
_GUESSED = re.compile(
    r"\?|\b(?:seem\w*|look\w*|sound\w*|appear\w*|must|perhaps|maybe|might|may|could|would|wonder|if|whether|think|guess|"
    r"suspect|i fear|i hope|i believe|as though|as if|probably|surely|told|said|says)\b",
    re.I,
)
_STATED_ZH = r"(?:(?:心里|其实|暗中|暗自|分明)(?:是)?(?:打算|想要|想|以为|觉得|知道|恨|爱着|盘算)|(?:打算|盘算着))"
_GUESSED_ZH = re.compile(r"[？?吗么]|似|像|莫非|也许|恐怕|大概|想必|怕是|或许|难道|看来|说过|只怕|多半|八成|不知|猜")
# Defects of the parser that say nothing about the text of the turn: the question asks for neither name nor plan.
_NOT_ASKED_FOR = frozenset(("name_missing", "plan_missing"))


def turn_problems(original: Turn, written: Turn, seen: Sight) -> tuple[Defect, ...]:
    """Return the problems of one written turn, without looking at its neighbours.

    Args:
        seen: what the speaker of the turn can know.
    """
    if any(part.kind == "system_thinking" for part in written.parts):
        return (problem("plan"),)
    if not written.parts:
        return (problem("missing"),)
    found = [problem("tags", defect.name) for defect in written.defects if defect.name not in _NOT_ASKED_FOR]
    found += person_problems(original, written, seen)
    found += _length_problems(original, written, seen.language)
    if len(written.text()) > max(VAST, 3 * len(original.text())):
        return tuple(found)
    found += speech_problems(original, written, seen.language)
    found += act_problems(original, written, seen.language)
    found += _text_problems(original, written, seen)
    found += _knowledge_problems(original, written, seen)
    return tuple(found)


def _length_problems(original: Turn, written: Turn, language: Language) -> Iterable[Defect]:
    least, added = ROOM[language]
    size, allowed = len(written.text()), max(least, round(1.5 * len(original.text())) + added)
    if size > allowed:
        yield problem("too_long", f"{size} characters, at most {allowed}")


def _text_problems(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Check for another language, garbled text, talk about the task, and thoughts that repeat something."""
    before, after = original.text(), written.text()
    known = f"{before} {seen.known_text}"
    if word := foreign(after, known if seen.language == "zh" else before, seen.language, seen.others | seen.own):
        yield problem("language", word)
    if (garbled := GARBLED.search(after)) and garbled[0] not in before:
        yield problem("garbled", repr(garbled[0]))
    inner = written.text(*UNSPOKEN_KINDS)
    if refused := refusal(inner):
        yield problem("refusal", refused)
    if talk := task_talk_in_thought(inner, known):
        yield problem("task_talk", talk)
    if mark := markdown("\n".join(part.text for part in written.parts), before):
        yield problem("markdown", mark)
    written_speech = words(written.text("speech"))
    for part in written.parts:
        thought = words(part.text) if part.kind == "role_thinking" else []
        if len(thought) >= ECHO_WORDS[seen.language] and kept_share(thought, written_speech) >= ECHO:
            yield problem("echo", part.text)
    if run := _repeated_run(words(written.text(*THINKING)), words(before), REPEATED_RUN[seen.language]):
        yield problem("repeated", run)


def _repeated_run(said: list[str], before: list[str], size: int) -> str:
    """Return the first run of words that stands twice; empty when there is none that the original does not have."""
    known, met = set(runs(before, size)), set()
    for run in runs(said, size):
        if run in met and run not in known:
            return " ".join(run)
        met.add(run)
    return ""


def _knowledge_problems(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Check that thoughts hold only what the character can know: nobody's mind is read, nothing hidden is stated."""
    before = {" ".join(words(sentence)) for sentence in SENTENCE.findall(original.text())}
    stated, guessed = (_STATED, _GUESSED) if seen.language == "en" else (_STATED_ZH, _GUESSED_ZH)
    gap = " " if seen.language == "en" else ""
    # Longest name first, so that the whole name is matched and not its first word.
    names = "|".join(map(re.escape, sorted(seen.others, key=len, reverse=True)))
    mind_read = re.compile(rf"(?:{names}){gap}{stated}") if names else None
    inner = [part.text for part in written.parts if part.kind in UNSPOKEN_KINDS]
    for sentence in (sentence for text in inner for sentence in SENTENCE.findall(text)):
        if " ".join(words(sentence)) in before:
            continue
        if mind_read and (match := mind_read.search(sentence)) and not guessed.search(sentence):
            yield problem("mind_reading", match[0])
        if hidden := hidden_piece(sentence, seen):
            yield problem("hidden_fact", hidden)
