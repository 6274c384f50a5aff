"""Check one enhanced turn against the rules of the prompt `enhance_thoughts`; each departure has a name in `PROBLEMS`.

The rules are HER's (docs/protocols.md, Synthesis); HER states them in its prompts and checks none of them in code. A
sentence that the original had already is no departure.
"""

import re
from collections.abc import Iterable

from her.kinds import VISIBLE_KINDS, Kind
from her.types import Defect, Language, Turn
from her.words import GARBLED, SENTENCE, kept_share, words
from pipelines.synthesize.checks.knowledge import Sight, hidden_piece
from pipelines.synthesize.checks.problems import problem

FAITHFUL = 0.9
"""Minimum share of the original's spoken words that must be there again, in order; case and punctuation do not count."""
ROOM: dict[Language, tuple[int, int]] = {"en": (300, 100), "zh": (150, 50)}
"""Characters that every turn may have; characters that may be added to one and a half times the original."""
VAST = 10_000
"""Characters; a turn that is longer gets `too_long` and no further check. A model that repeats itself up to its token limit
writes 100,000, and comparing these word by word takes a minute."""
ECHO_WORDS = 4
"""A thought of fewer words may repeat the speech."""
THINKING: tuple[Kind, ...] = ("role_thinking",)
_FIRST_PERSON = {
    "en": re.compile(r"\b(i|i'm|i'll|i've|i'd|me|my|mine|myself|we|we're|us|our|ours)\b", re.I),
    "zh": re.compile(r"我|俺|咱|吾|余|孤|朕|本官|奴家|老夫|妾"),
}
_NO_GERUND = "nothing|something|anything|everything|king|spring|morning|evening|during|bring|sing"
_GERUND = re.compile(rf"^(?:\w+ly )?(?!(?:{_NO_GERUND})\b)\w{{2,}}ing\b", re.I)
_DOER = re.compile(r"^(?:he|she|they|his|her|their)\b|\b(?:I|my|me|myself)\b")
_NARRATES = (
    r"(?:says?|said|repl(?:ies|ied)|answers?|answered|asks|asked|turns|turned|nods|nodded|smiles|smiled|sighs|sighed|whispers|"
    r"whispered|looks|looked|shouts|shouted|cries|cried|mutters|muttered|walks|walked)"
)
_STATED = (
    r"(?:(?:secretly|really|truly|already|now) )?(?:thinks|believes|knows|wants|wishes|plans|intends|hopes|fears|loves|hates|"
    r"feels|is plotting|is planning|is scheming)"
)
_GUESSED = re.compile(
    r"\?|\b(?:seem\w*|look\w*|sound\w*|appear\w*|must|perhaps|maybe|might|may|could|would|wonder|if|whether|think|guess|"
    r"suspect|i fear|i hope|i believe|as though|as if|probably|surely|told|said|says)\b",
    re.I,
)
_STATED_ZH = r"(?:心里|其实|暗中|暗自)?(?:打算|想要|以为|觉得|知道|恨|爱着|盘算)"
_GUESSED_ZH = re.compile(r"[？?吗么]|似|像|莫非|也许|恐怕|大概|想必|怕是|或许|难道|看来|说过")
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
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
    found += _person_problems(original, written, seen)
    found += _length_problems(original, written, seen.language)
    if len(written.text()) > max(VAST, 3 * len(original.text())):
        return tuple(found)
    found += _speech_problems(original, written)
    found += _text_problems(original, written, seen)
    found += _knowledge_problems(original, written, seen)
    return tuple(found)


def _person_problems(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Check that thoughts are in the first person, actions do not name their doer, and speech does not narrate."""
    # Chinese has no spaces between words, so a name has no word boundary there.
    edges = (r"(?<!\w)", r"(?!\w)") if seen.language == "en" else ("", "")
    own_name = re.compile(f"{edges[0]}(?:{'|'.join(map(re.escape, sorted(seen.own)))}){edges[1]}")
    before = original.text()
    for part in written.parts:
        if part.kind == "role_thinking" and not _FIRST_PERSON[seen.language].search(part.text):
            # A thought without "I" may be an exclamation; only one that names its thinker or begins with a gerund is narrated.
            if own_name.search(part.text) or (seen.language == "en" and _GERUND.match(part.text)):
                yield problem("thought_person", part.text)
        elif part.kind == "role_action" and (_DOER.search(part.text) or own_name.match(part.text)):
            yield problem("action_person", part.text)
        elif part.kind == "speech":
            narration = re.search(rf"(?:\b(?:he|she|He|She)|{own_name.pattern}) {_NARRATES}\b", part.text)
            if narration and narration[0] not in before:
                yield problem("narration", narration[0])


def _length_problems(original: Turn, written: Turn, language: Language) -> Iterable[Defect]:
    least, added = ROOM[language]
    size, allowed = len(written.text()), max(least, round(1.5 * len(original.text())) + added)
    if size > allowed:
        yield problem("too_long", f"{size} characters, at most {allowed}")


def _speech_problems(original: Turn, written: Turn) -> Iterable[Defect]:
    """Check that speech is preserved: nothing is lost, nothing is invented."""
    # Narration that moves from speech into an action counts as preserved, so actions are compared as well.
    original_speech, written_visible = words(original.text("speech")), words(written.text(*VISIBLE_KINDS))
    if original_speech and (share := kept_share(original_speech, written_visible)) < FAITHFUL:
        yield problem("speech_lost", f"{share:.0%} of the words said are still there")
    written_speech = words(written.text("speech"))
    if written_speech and (share := kept_share(written_speech, words(original.text()))) < FAITHFUL:
        yield problem("speech_added", f"only {share:.0%} of what is said stands in the original")


def _text_problems(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Check for another language, garbled text, and thoughts that repeat the speech."""
    if foreign := _foreign_word(original.text(), written.text(), seen):
        yield problem("language", foreign)
    if (garbled := GARBLED.search(written.text())) and garbled[0] not in original.text():
        yield problem("garbled", repr(garbled[0]))
    written_speech = words(written.text("speech"))
    for part in written.parts:
        thought = words(part.text) if part.kind == "role_thinking" else []
        if len(thought) >= ECHO_WORDS and kept_share(thought, written_speech) >= FAITHFUL:
            yield problem("echo", part.text)


def _foreign_word(before: str, after: str, seen: Sight) -> str:
    """Return the first word of another script that the original does not have; empty when there is none."""
    if seen.language == "en":
        return next((letter for letter in _IDEOGRAPH.findall(after) if letter not in before), "")
    known = before + " ".join(seen.others | seen.own)
    return next((word for word in re.findall(r"[A-Za-z]{2,}", after) if word not in known), "")


def _knowledge_problems(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Check that thoughts hold only what the character can know: nobody's mind is read, nothing hidden is stated."""
    before = {" ".join(words(sentence)) for sentence in SENTENCE.findall(original.text())}
    stated, guessed = (_STATED, _GUESSED) if seen.language == "en" else (_STATED_ZH, _GUESSED_ZH)
    gap = " " if seen.language == "en" else ""
    # Longest name first, so that the whole name is matched and not its first word.
    names = "|".join(map(re.escape, sorted(seen.others, key=len, reverse=True)))
    mind_read = re.compile(rf"(?:{names}){gap}{stated}") if names else None
    for sentence in SENTENCE.findall(written.text(*THINKING)):
        if " ".join(words(sentence)) in before:
            continue
        if mind_read and (match := mind_read.search(sentence)) and not guessed.search(sentence):
            yield problem("mind_reading", match[0])
        if hidden := hidden_piece(sentence, seen):
            yield problem("hidden_fact", hidden)
