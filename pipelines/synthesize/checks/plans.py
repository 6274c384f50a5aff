"""Whether a plan is one: the actor's voice about the character, leading to the turn without quoting it, knowing no more."""

import re
from collections.abc import Iterable

from her.format.tags import TAG
from her.kinds import REPLY_KINDS
from her.types import Defect, Language, Turn
from pipelines.synthesize.checks.anchors import words
from pipelines.synthesize.checks.knowledge import Sight, leaks
from pipelines.synthesize.checks.turns import GARBLED, problem, whole

QUOTED: dict[Language, int] = {"en": 12, "zh": 20}
"""So many words (characters in Chinese) of the turn in a row are a quotation."""
_USER = re.compile(r"\busers?\b|用户", re.I)
_ACTOR = re.compile(
    r"\bI (?:\w+ly )?(?:need|should|will|must|want|can|could|would|may|might|shall|have to|am (?:going|asked|to|playing)|"
    r"think|choose|keep|let|aim|plan|portray|play|decide|note|see|remember|consider|start|begin|open|end|close|avoid|make|write)\b|"
    r"\bI(?:'ll|'d|'m)\b|\blet me\b|我(?:需要|要|应|该|会|可以|得|想|来|先|让|把|不能|打算)",
    re.I,
)
_I = {"en": re.compile(r"\bI\b"), "zh": re.compile("我")}
_OWN = {"en": re.compile(r"\b(?:my|mine|myself|me)\b", re.I), "zh": re.compile("我的|我自己")}
_SENTENCE = re.compile(r"[^.!?。！？…\n]+[.!?。！？…]*")
_QUOTED = re.compile(r"[\"“「][^\"”」\n]{1,200}[\"”」]")
_STRUCTURE = re.compile(r"(?m)^\s{0,3}(?:#{1,6} |[-*•] |\d{1,2}[.)] |\*\*[^*]+\*\*:?\s*$)")
# fmt: off
_SMALL = frozenset((
    "that", "this", "with", "your", "yours", "hers", "they", "them", "their", "there", "here", "have", "been", "will",
    "would", "shall", "should", "could", "might", "must", "what", "when", "where", "which", "whom", "then", "than", "from",
    "into", "upon", "said", "very", "more", "most", "some", "such", "only", "just", "like", "know", "come", "goes", "going",
    "make", "made", "thou", "thee", "thine", "hath", "doth", "dont", "well", "ours", "were",
))
# fmt: on


def plan_problems(plan: str, turn: Turn, seen: Sight, band: tuple[int, int]) -> tuple[Defect, ...]:
    """What is wrong with the plan of `turn`. `band`: least and most characters; `seen`: what its character can know."""
    found = [*_shape(plan, turn, seen, band), *_voice(plan, seen), *_direction(plan, turn, seen.language)]
    if hidden := leaks(plan, seen):
        found.append(problem("hidden_fact", hidden))
    return tuple(found)


def _shape(plan: str, turn: Turn, seen: Sight, band: tuple[int, int]) -> Iterable[Defect]:
    least, most = band
    if len(plan) < least:
        yield problem("plan_short", f"{len(plan)} characters, at least {least}")
    if len(plan) > most:
        yield problem("plan_long", f"{len(plan)} characters, at most {most}")
    if not whole(plan):
        yield problem("plan_cut", plan[-40:])
    if found := TAG.search(plan) or _STRUCTURE.search(plan):
        yield problem("plan_tags", found[0].strip())
    if garbled := GARBLED.search(plan):
        yield problem("garbled", repr(garbled[0]))
    if (wide := sum("\u3400" <= char <= "\u9fff" for char in plan)) and seen.language == "en" and wide > 4:
        yield problem("language", "Chinese in an English plan")
    elif seen.language == "zh" and wide < len(plan) / 3:
        yield problem("language", "hardly any Chinese in a Chinese plan")


def _voice(plan: str, seen: Sight) -> Iterable[Defect]:
    if found := _USER.search(plan):
        yield problem("plan_user", found[0])
    if not any(name in plan for name in seen.own):
        yield problem("plan_nameless", f"no {seen.speaker}")
    for sentence in _SENTENCE.findall(_QUOTED.sub("“”", plan)):  # a few weighed words may be the character's own
        speaks = _I[seen.language].search(sentence) or _OWN[seen.language].search(sentence)
        if speaks and not _ACTOR.search(sentence):
            yield problem("plan_first_person", sentence.strip())
            return


def _direction(plan: str, turn: Turn, language: Language) -> Iterable[Defect]:
    said = words(turn.text(*REPLY_KINDS))
    there = words(plan)
    if telling := telling_words(said, language):
        have = telling_words(there, language)
        shared = {word for word in telling if any(alike(word, other) for other in have)} if language == "en" else telling & have
        if len(shared) < (1 if len(telling) < (8 if language == "en" else 20) else 2):
            yield problem("plan_astray", "nothing of the turn is prepared")
    quoted = longest_run(words(turn.text("speech")), there)
    spoken = len(words(turn.text("speech")))
    if quoted > QUOTED[language] or (spoken >= 6 and quoted >= spoken):
        yield problem("plan_quotes", f"{quoted} words in a row")


def telling_words(said: Iterable[str], language: Language) -> set[str]:
    """The words that carry the sense: in English of four letters and more; in Chinese pairs of characters."""
    said = list(said)
    if language == "zh":
        return {one + other for one, other in zip(said, said[1:], strict=False) if len(one) == len(other) == 1}
    return {word for word in said if len(word) >= 4 and word not in _SMALL}


def alike(one: str, other: str) -> bool:
    """Whether two words have one stem, roughly: `trust`, `trusted`, `trusting`."""
    size = min(len(one), len(other))
    return one[:size] == other[:size] if size >= 5 else one.rstrip("s") == other.rstrip("s")


def longest_run(said: list[str], there: list[str]) -> int:
    """How many words of `said` stand in `there` in a row, at most."""
    longest, before = 0, [0] * (len(there) + 1)
    for word in said:
        now = [0] * (len(there) + 1)
        for at, other in enumerate(there):
            if word == other:
                now[at + 1] = before[at] + 1
                longest = max(longest, now[at + 1])
        before = now
    return longest
