"""Whether a turn that came back from the enhancement keeps the rules of the prompt; each departure has a name in PROBLEMS.

The rules are those of her.md 1.1, 1.5 and 2.2, none of which the published pipeline checks (defect D16). Sentences that
the original had already are no departure.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from her.format import pattern
from her.kinds import VISIBLE_KINDS, Kind
from her.types import ENVIRONMENT, Defect, Language, Turn
from pipelines.synthesize.checks.anchors import words
from pipelines.synthesize.checks.knowledge import Sight, leaks

PROBLEMS: dict[str, str] = {
    "tags": "the text departs from the notation",
    "missing": "there is no text for this turn",
    "plan": "there is a plan in it; only thoughts, actions and speech are asked for",
    "thought_person": "a thought is not in the first person",
    "action_person": "an action names its doer, or uses a pronoun for them",
    "narration": "speech holds narration",
    "too_long": "the turn has grown too long",
    "speech_lost": "words that the original says are gone",
    "speech_added": "words are said that the original does not say",
    "language": "words of another language are mixed in",
    "garbled": "characters that are no text",
    "mind_reading": "what another thinks or wants is stated as known",
    "hidden_fact": "it knows what is hidden from the character",
    "echo": "a thought says again what is said aloud",
    "three_alike": "the same order of parts stands three times in a row",
    "opening_repeated": "two neighbouring thoughts open with the same words",
    "few_patterns": "the conversation has too few different orders of parts",
    "creeping": "turns grow longer as the conversation goes on",
    "plan_user": "the plan says 'user'",
    "plan_first_person": "the plan speaks as the character",
    "plan_nameless": "the plan does not name the character",
    "plan_astray": "the plan does not lead to the turn",
    "plan_quotes": "the plan quotes the turn wholesale",
    "plan_short": "the plan is too short",
    "plan_long": "the plan is too long",
    "plan_cut": "the plan ends in the middle of a sentence",
    "plan_tags": "the plan holds tags or headings",
}
"""Every problem a check can find, with its meaning."""

FAITHFUL = 0.9
"""Least share of the original's spoken words, in order, that must be there again; typesetting and accents do not count."""
ROOM: dict[Language, tuple[int, int]] = {"en": (300, 100), "zh": (150, 50)}
"""Characters that any turn may have, and that may be added to one and a half times the original."""
VAST = 10_000
"""Characters; a turn that is longer is only too long. A model that repeats itself to its limit gives 100,000, and comparing
these word by word takes a minute."""
PATTERNS, PATTERNS_FROM, ALIKE = 5, 8, 3
THINKING: tuple[Kind, ...] = ("role_thinking",)
_FIRST = {
    "en": re.compile(r"\b(i|i'm|i'll|i've|i'd|me|my|mine|myself|we|we're|us|our|ours)\b", re.I),
    "zh": re.compile(r"我|俺|咱|吾|余|孤|朕|本官|奴家|老夫|妾"),
}
_NO_GERUND = "nothing|something|anything|everything|king|spring|morning|evening|during|bring|sing"
_GERUND = re.compile(rf"^(?:\w+ly )?(?!(?:{_NO_GERUND})\b)\w{{2,}}ing\b", re.I)
_DOER = re.compile(r"^(?:he|she|they|his|her|their)\b|\b(?:I|my|me|myself)\b")
_TELLS = (
    r"(?:says?|said|repl(?:ies|ied)|answers?|answered|asks|asked|turns|turned|nods|nodded|smiles|smiled|sighs|sighed|whispers|"
    r"whispered|looks|looked|shouts|shouted|cries|cried|mutters|muttered|walks|walked)"
)
_KNOWN = (
    r"(?:(?:secretly|really|truly|already|now) )?(?:thinks|believes|knows|wants|wishes|plans|intends|hopes|fears|loves|hates|"
    r"feels|is plotting|is planning|is scheming)"
)
_HEDGE = re.compile(
    r"\?|\b(?:seem\w*|look\w*|sound\w*|appear\w*|must|perhaps|maybe|might|may|could|would|wonder|if|whether|think|guess|"
    r"suspect|i fear|i hope|i believe|as though|as if|probably|surely|told|said|says)\b",
    re.I,
)
_KNOWN_ZH = r"(?:心里|其实|暗中|暗自)?(?:打算|想要|以为|觉得|知道|恨|爱着|盘算)"
_HEDGE_ZH = re.compile(r"[？?吗么]|似|像|莫非|也许|恐怕|大概|想必|怕是|或许|难道|看来|说过")
_SENTENCE = re.compile(r"[^.!?。！？…\n]+[.!?。！？…]*")
_WIDE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
GARBLED = re.compile(r"[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\\[nt]|\\u[0-9a-f]{4}|&(?:lt|gt|amp);|\{\{|\}\}")
_STYLE = frozenset(("name_missing", "plan_missing"))


def whole(text: str) -> bool:
    """Whether a text ends where a sentence does; one that was cut and repaired does not."""
    return text.rstrip().endswith((".", "!", "?", "。", "！", "？", "…", '"', "”", "’", "」", "』", ")", "）"))


def problem(name: str, detail: str = "") -> Defect:
    """A problem, its place cut to 80 characters."""
    assert name in PROBLEMS, name
    return Defect(name=name, detail=detail[:80])


def turn_problems(original: Turn, written: Turn, seen: Sight) -> tuple[Defect, ...]:
    """What is wrong with one written turn, taken by itself. `seen` is what its speaker can know."""
    if any(part.kind == "system_thinking" for part in written.parts):
        return (problem("plan"),)
    if not written.parts:
        return (problem("missing"),)
    found = [problem("tags", defect.name) for defect in written.defects if defect.name not in _STYLE]
    found += _persons(original, written, seen)
    found += _sizes(original, written, seen.language)
    if len(written.text()) > max(VAST, 3 * len(original.text())):
        return tuple(found)
    found += _words(original, written, seen)
    found += _knowledge(original, written, seen)
    return tuple(found)


def _persons(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Thoughts are the character's own, actions have no doer, speech tells no story."""
    edges = (r"(?<!\w)", r"(?!\w)") if seen.language == "en" else ("", "")
    own = re.compile(f"{edges[0]}(?:{'|'.join(map(re.escape, sorted(seen.own)))}){edges[1]}")
    before = original.text()
    for part in written.parts:
        if part.kind == "role_thinking" and not _FIRST[seen.language].search(part.text):
            if own.search(part.text) or (seen.language == "en" and _GERUND.match(part.text)):
                yield problem("thought_person", part.text)
        elif part.kind == "role_action" and (_DOER.search(part.text) or own.match(part.text)):
            yield problem("action_person", part.text)
        elif part.kind == "speech":
            told = re.search(rf"(?:\b(?:he|she|He|She)|{own.pattern}) {_TELLS}\b", part.text)
            if told and told[0] not in before:
                yield problem("narration", told[0])


def _sizes(original: Turn, written: Turn, language: Language) -> Iterable[Defect]:
    least, added = ROOM[language]
    size, allowed = len(written.text()), max(least, round(1.5 * len(original.text())) + added)
    if size > allowed:
        yield problem("too_long", f"{size} characters, at most {allowed}")


def _words(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Speech preserved, one language, nothing garbled, no thought that only says the speech again."""
    said, told = words(original.text("speech")), words(written.text(*VISIBLE_KINDS))
    if said and (share := kept_share(said, told)) < FAITHFUL:
        yield problem("speech_lost", f"{share:.0%} of the words said are still there")
    speaks, could = words(written.text("speech")), words(original.text())
    if speaks and (share := kept_share(speaks, could)) < FAITHFUL:
        yield problem("speech_added", f"only {share:.0%} of what is said stands in the original")
    if strange := _foreign(original.text(), written.text(), seen):
        yield problem("language", strange)
    if (found := GARBLED.search(written.text())) and found[0] not in original.text():
        yield problem("garbled", repr(found[0]))
    for part in written.parts:
        thought = words(part.text) if part.kind == "role_thinking" else []
        if len(thought) >= 4 and kept_share(thought, speaks) >= FAITHFUL:
            yield problem("echo", part.text)


def kept_share(wanted: Sequence[str], there: Sequence[str]) -> float:
    """The share of `wanted` words that stand in `there`, in the same order."""
    matcher = difflib.SequenceMatcher(None, wanted, there, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / max(1, len(wanted))


def _foreign(before: str, after: str, seen: Sight) -> str:
    """The first word of another script that the original does not have."""
    if seen.language == "en":
        return next((letter for letter in _WIDE.findall(after) if letter not in before), "")
    known = before + " ".join(seen.others | seen.own)
    return next((word for word in re.findall(r"[A-Za-z]{2,}", after) if word not in known), "")


def _knowledge(original: Turn, written: Turn, seen: Sight) -> Iterable[Defect]:
    """Only what the character can know: no mind read by name, no hidden fact."""
    before = {" ".join(words(sentence)) for sentence in _SENTENCE.findall(original.text())}
    known, hedge = (_KNOWN, _HEDGE) if seen.language == "en" else (_KNOWN_ZH, _HEDGE_ZH)
    gap = " " if seen.language == "en" else ""
    names = "|".join(map(re.escape, sorted(seen.others, key=len, reverse=True)))
    reads = re.compile(rf"(?:{names}){gap}{known}") if names else None
    for sentence in _SENTENCE.findall(written.text(*THINKING)):
        if " ".join(words(sentence)) in before:
            continue
        if reads and (found := reads.search(sentence)) and not hedge.search(sentence):
            yield problem("mind_reading", found[0])
        if found_leak := leaks(sentence, seen):
            yield problem("hidden_fact", found_leak)


def conversation_problems(originals: Sequence[Turn], turns: Sequence[Turn]) -> dict[str, list[Defect]]:
    """Turn id -> what is wrong with that turn among its neighbours; the environment's turns count for nothing."""
    found: dict[str, list[Defect]] = {}
    spoken = [turn for turn in turns if turn.speaker != ENVIRONMENT]
    patterns = [pattern(turn.parts) for turn in spoken]
    for at in range(ALIKE - 1, len(spoken)):
        if len(set(patterns[at - ALIKE + 1 : at + 1])) == 1:
            found.setdefault(spoken[at].id, []).append(problem("three_alike", patterns[at]))
    if len(spoken) >= PATTERNS_FROM and len(kinds := set(patterns)) < PATTERNS:
        usual = Counter(patterns).most_common(1)[0][0]
        for turn in [turn for turn, order in zip(spoken, patterns, strict=True) if order == usual][1::2]:
            found.setdefault(turn.id, []).append(problem("few_patterns", f"{len(kinds)} orders, at least {PATTERNS}"))
    for before, turn in zip(spoken, spoken[1:], strict=False):
        if _opening(before) and _opening(before) == _opening(turn):
            found.setdefault(turn.id, []).append(problem("opening_repeated", " ".join(_opening(turn))))
    for turn in _creeping({turn.id: turn for turn in originals}, spoken):
        found.setdefault(turn.id, []).append(problem("creeping"))
    return found


def _opening(turn: Turn) -> tuple[str, ...]:
    return tuple(words(turn.text(*THINKING))[:3])


def _creeping(originals: dict[str, Turn], spoken: Sequence[Turn]) -> list[Turn]:
    """Turns of the last third that grew most, when that third grew more than half again as much as the first."""
    third = len(spoken) // 3
    if third < 3:
        return []
    growth = {turn.id: len(turn.text()) / max(40, len(originals[turn.id].text())) for turn in spoken}
    first = sum(growth[turn.id] for turn in spoken[:third]) / third
    last = sum(growth[turn.id] for turn in spoken[-third:]) / third
    if last <= max(1.5, 1.5 * first):
        return []
    return [turn for turn in spoken[-third:] if growth[turn.id] > first * 1.5]
