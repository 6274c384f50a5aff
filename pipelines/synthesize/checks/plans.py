"""Check a plan (system_thinking): the actor's voice about the character, leading to the turn without quoting it.

The voice, the ban on the word "user" and the direction toward the turn are HER's rules (docs/protocols.md, Synthesis).
"""

import re
from collections.abc import Iterable

from her.format.tags import TAG
from her.kinds import REPLY_KINDS
from her.types import Defect, Language, Turn
from her.words import (
    GARBLED,
    SENTENCE,
    ends_with_sentence,
    longest_run,
    same_stem,
    telling_words,
    words,
)
from pipelines.synthesize.checks.knowledge import Sight, hidden_piece
from pipelines.synthesize.checks.problems import problem

QUOTED: dict[Language, int] = {"en": 12, "zh": 20}
"""More words of the speech in a row (characters in Chinese) are a quotation."""
WHOLE_SPEECH = 6
"""A speech of at least so many words may not stand in the plan as a whole, even when it is shorter than `QUOTED`."""
FEW_WORDS: dict[Language, int] = {"en": 8, "zh": 20}
"""A turn with fewer content words needs one of them in its plan, any other turn two."""
STRAY_IDEOGRAPHS = 4
"""Chinese characters that an English plan may hold, such as a name."""
_USER = re.compile(r"\busers?\b|用户", re.I)
_ACTOR = re.compile(
    r"\bI (?:\w+ly )?(?:need|should|will|must|want|can|could|would|may|might|shall|have to|am (?:going|asked|to|playing)|"
    r"think|choose|keep|let|aim|plan|portray|play|decide|note|see|remember|consider|start|begin|open|end|close|avoid|make|write)\b|"
    r"\bI(?:'ll|'d|'m)\b|\blet me\b|我(?:需要|要|应|该|会|可以|得|想|来|先|让|把|不能|打算)",
    re.I,
)
_I = {"en": re.compile(r"\bI\b"), "zh": re.compile("我")}
_MINE = {"en": re.compile(r"\b(?:my|mine|myself|me)\b", re.I), "zh": re.compile("我的|我自己")}
_QUOTATION = re.compile(r"[\"“「][^\"”」\n]{1,200}[\"”」]")
_STRUCTURE = re.compile(r"(?m)^\s{0,3}(?:#{1,6} |[-*•] |\d{1,2}[.)] |\*\*[^*]+\*\*:?\s*$)")


def plan_problems(plan: str, turn: Turn, seen: Sight, band: tuple[int, int]) -> tuple[Defect, ...]:
    """Return the problems of the plan of `turn`.

    Args:
        seen: what the character of the turn can know.
        band: minimum and maximum length in characters.
    """
    found = [*_shape_problems(plan, seen, band), *_voice_problems(plan, seen), *_direction_problems(plan, turn, seen.language)]
    if hidden := hidden_piece(plan, seen):
        found.append(problem("hidden_fact", hidden))
    return tuple(found)


def _shape_problems(plan: str, seen: Sight, band: tuple[int, int]) -> Iterable[Defect]:
    least, most = band
    if len(plan) < least:
        yield problem("plan_short", f"{len(plan)} characters, at least {least}")
    if len(plan) > most:
        yield problem("plan_long", f"{len(plan)} characters, at most {most}")
    if not ends_with_sentence(plan):
        yield problem("plan_cut", plan[-40:])
    if structure := TAG.search(plan) or _STRUCTURE.search(plan):
        yield problem("plan_tags", structure[0].strip())
    if garbled := GARBLED.search(plan):
        yield problem("garbled", repr(garbled[0]))
    ideographs = sum("\u3400" <= char <= "\u9fff" for char in plan)
    if seen.language == "en" and ideographs > STRAY_IDEOGRAPHS:
        yield problem("language", "Chinese in an English plan")
    elif seen.language == "zh" and ideographs < len(plan) / 3:
        yield problem("language", "hardly any Chinese in a Chinese plan")


def _voice_problems(plan: str, seen: Sight) -> Iterable[Defect]:
    if user := _USER.search(plan):
        yield problem("plan_user", user[0])
    if not any(name in plan for name in seen.own):
        yield problem("plan_nameless", f"no {seen.speaker}")
    # Quotations are left out: a few words that are weighed for the speech may be in the character's own voice.
    for sentence in SENTENCE.findall(_QUOTATION.sub("“”", plan)):
        first_person = _I[seen.language].search(sentence) or _MINE[seen.language].search(sentence)
        # "I need to portray ..." is the actor; "I hate him" is the character.
        if first_person and not _ACTOR.search(sentence):
            yield problem("plan_first_person", sentence.strip())
            return


def _direction_problems(plan: str, turn: Turn, language: Language) -> Iterable[Defect]:
    """Check that the plan shares content words with the turn and does not quote its speech."""
    plan_words = words(plan)
    if content := telling_words(words(turn.text(*REPLY_KINDS)), language):
        have = telling_words(plan_words, language)
        if language == "en":
            shared = {word for word in content if any(same_stem(word, other) for other in have)}
        else:
            shared = content & have
        if len(shared) < (1 if len(content) < FEW_WORDS[language] else 2):
            yield problem("plan_astray", "nothing of the turn is prepared")
    spoken = words(turn.text("speech"))
    quoted = longest_run(spoken, plan_words)
    if quoted > QUOTED[language] or (len(spoken) >= WHOLE_SPEECH and quoted >= len(spoken)):
        yield problem("plan_quotes", f"{quoted} words in a row")
