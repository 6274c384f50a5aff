"""Check a plan (system_thinking): the actor's voice about the character, leading to the turn without quoting it.

The voice, the ban on the word "user" and the direction toward the turn are HER's rules (docs/protocols.md, Synthesis). Where a
plan leads, and whose voice an "I" is, needs a reader: the checker (`stages/checker.py`). Here stands what words alone decide.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from her.format.tags import TAG
from her.kinds import PLAN, STARRED
from her.types import Defect, Language, Turn
from her.words import GARBLED, SENTENCE, ends_with_sentence, jaccard, longest_run, runs, words
from pipelines.synthesize.checks.knowledge import Sight, hidden_piece
from pipelines.synthesize.checks.phrases import foreign, markdown, refusal, task_talk
from pipelines.synthesize.checks.problems import problem

QUOTED: dict[Language, int] = {"en": 9, "zh": 14}
"""So many words of the turn in a row (characters in Chinese) are a quotation, with quotation marks or without."""
IN_MARKS: dict[Language, tuple[int, int]] = {"en": (3, 5), "zh": (4, 8)}
"""Within quotation marks, a whole sentence of the turn of so many words, or a run of so many, is a quotation."""
WHOLE: dict[Language, int] = {"en": 4, "zh": 6}
"""A whole sentence of the turn, or a whole thought, of at least so many words may not stand in the plan."""
COVERED, PIECE = 0.75, {"en": 4, "zh": 5}
"""Share of the turn's speech that its quoted runs, of at least so many words each, may not reach together."""
COPIED: dict[Language, int] = {"en": 12, "zh": 20}
"""Words in a row of the profile that are a copy."""
SHARED_SENTENCE: dict[Language, int] = {"en": 7, "zh": 10}
"""A sentence of so many words may stand once in a plan, and in one plan of a scene; names do not make it another sentence."""
ALIKE = 0.5
"""Jaccard index of the runs of three words of two plans, names left out, that makes them one template."""
STRAY_IDEOGRAPHS = 4
"""Chinese characters that an English plan may hold, such as a name."""
DraftType = Literal["A", "B", "C"]
_USER = re.compile(r"\busers?\b|用户", re.I)
_MINE = {"en": re.compile(r"\b(?:my|mine|myself|me|I)\b"), "zh": re.compile("我")}
_OF_MINE = {
    "en": re.compile(
        r"\b(?:my(?! (?:aim|plan|job|task|idea|intention|purpose|choice|portrayal|performance|part|approach|"
        r"reading|way|rule|guess))"
        r"|mine|myself|me)\b",
        re.I,
    ),
    "zh": re.compile("我的(?!任务|打算|意思|安排|想法|处理|演法|目的)|我自己|害我|怪我|对我|骗我|恨我|怕我|瞒着?我|我心里"),
}
_OFTEN = 3
"""So many words such as "my" and "me", in a plan without a word of the playing, are the character's own voice."""
_YOU = {"en": re.compile(r"\byou(?:r|rself|['’](?:re|ll|ve|d))?\b", re.I), "zh": re.compile("你")}
_MANY_YOU = 3
_DIRECTS = {
    "en": re.compile(
        r"\b(?:portray|play|scene|character|reply|thought|beat|tone|voice|line|gesture|moment|keep (?:him|her|it|them|this)|"
        r"(?:let|have|make|give|show|bring|want|need|put|hold) (?:him|her|it|them|the|this|[A-Z]\w+))\b"
    ),
    "zh": re.compile("演|让|念头|口气|语气|这里|先.{0,30}再|动作|安排|处理|表现|给他|给她|把.{1,6}写"),
}
"""Words by which an actor or author speaks of the playing; a plan without any, and with "my" and "me", is the character's."""
_QUOTATION = re.compile(r"[\"“「『]([^\"”」』\n]{1,300})[\"”」』]|(?<!\w)[‘']([^'’\n]{4,300})[’'](?!\w)")


def plan_problems(plan: str, turn: Turn, seen: Sight, band: tuple[int, int], profile: str = "") -> tuple[Defect, ...]:
    """Return the problems of the plan of `turn`.

    Args:
        seen: what the character of the turn can know.
        band: minimum and maximum length in characters.
        profile: text that a plan does not copy.
    """
    found = [*_shape_problems(plan, seen, band), *_voice_problems(plan, seen)]
    found += [*_quotation_problems(plan, turn, seen.language), *_repetition_problems(plan, profile, seen.language)]
    if refused := refusal(plan):
        found.append(problem("refusal", refused))
    if talk := task_talk(plan, f"{seen.known_text} {turn.text()}"):
        found.append(problem("task_talk", talk))
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
    if tag := TAG.search(plan) or re.search(r"</?[a-z_]{1,30}>", plan):
        yield problem("plan_tags", tag[0].strip())
    if mark := markdown(plan):
        yield problem("markdown", mark)
    if garbled := GARBLED.search(plan):
        yield problem("garbled", repr(garbled[0]))
    ideographs = sum("\u3400" <= char <= "\u9fff" for char in plan)
    if seen.language == "zh" and ideographs < len(plan) / 3:
        yield problem("language", "hardly any Chinese in a Chinese plan")
    elif seen.language == "en" and ideographs > STRAY_IDEOGRAPHS:
        yield problem("language", "Chinese in an English plan")
    elif word := foreign(
        plan, seen.known_text + "".join(re.findall(r"[\u3400-\u9fff]", plan)) * (seen.language == "en"), seen.language
    ):
        yield problem("language", word)


def _voice_problems(plan: str, seen: Sight) -> Iterable[Defect]:
    if user := _USER.search(plan):
        yield problem("plan_user", user[0])
    if not any(name in plan for name in seen.own):
        yield problem("plan_nameless", f"no {seen.speaker}")
    if other := _portrayed(plan, seen):
        yield problem("plan_other", other)
    # Quotations are left out: a few words that are weighed for the speech may be in the character's own voice.
    plain = _QUOTATION.sub("“”", plan)
    if len(_YOU[seen.language].findall(plain)) >= _MANY_YOU:
        yield problem("plan_second_person", plain[:60])
    # An actor says "I" as well ("I leave that unsaid"), so only a plan without a word of the playing is clearly the character's.
    if len(_OF_MINE[seen.language].findall(plain)) >= _OFTEN and not _DIRECTS[seen.language].search(plain):
        yield problem(
            "plan_first_person", next(each for each in SENTENCE.findall(plain) if _MINE[seen.language].search(each)).strip()
        )


def _portrayed(plan: str, seen: Sight) -> str:
    """Return the other character whom the plan sets out to portray; empty when it is the right one."""
    names = "|".join(map(re.escape, sorted(seen.others - seen.own, key=len, reverse=True)))
    if not names:
        return ""
    sets_out = (
        rf"\bI (?:need|have|want|am going|am|should|must|will|shall|['’]ll) ?(?:to )?(?:portray|play|act) "
        rf"(?:the part of )?(?:{names})\b"
        if seen.language == "en"
        else rf"我(?:需要|要|得|应该|想|来)?(?:把(?:{names})演|演(?:出)?(?:{names})(?!的?[对跟面前]))"
    )
    return found[0] if (found := re.search(sets_out, plan)) else ""


def _quotation_problems(plan: str, turn: Turn, language: Language) -> Iterable[Defect]:
    """Check that the plan does not quote the turn: a few of its words may be weighed, no more."""
    plan_words = words(plan)
    marked = [words(match[1] or match[2] or "") for match in _QUOTATION.finditer(plan)]
    sentence_least, run_least = IN_MARKS[language]
    for part in turn.parts:
        if part.kind in (PLAN, STARRED):
            continue
        said = words(part.text)
        # An act is told in a plan, so only speech and thoughts are compared.
        quoted = longest_run(said, plan_words)
        whole = max((len(each) for each in _sentences(part.text) if _within(each, plan_words)), default=0)
        in_marks = max((longest_run(said, quotation) for quotation in marked), default=0)
        whole_in_marks = max(
            (len(each) for each in _sentences(part.text) for quotation in marked if _within(each, quotation)), default=0
        )
        if (
            quoted >= QUOTED[language]
            or whole >= WHOLE[language] + 2
            or in_marks >= run_least
            or whole_in_marks >= sentence_least
            or (quoted >= WHOLE[language] and quoted == len(said))
        ):
            yield problem("plan_quotes", part.text)
            return
    spoken = words(turn.text("speech"))
    if len(spoken) > PIECE[language] and _covered(spoken, plan_words, PIECE[language]) >= COVERED * len(spoken):
        yield problem("plan_quotes", turn.text("speech"))


def _sentences(text: str) -> list[list[str]]:
    return [words(each) for each in SENTENCE.findall(text)]


def _within(piece: Sequence[str], text_words: Sequence[str]) -> bool:
    return bool(piece) and tuple(piece) in set(runs(text_words, len(piece)))


def _covered(spoken: Sequence[str], plan_words: Sequence[str], size: int) -> int:
    """Return how many words of the speech lie in runs of `size` words that the plan has as well."""
    there = set(runs(plan_words, size))
    covered = {at + shift for at, run in enumerate(runs(spoken, size)) if run in there for shift in range(size)}
    return len(covered)


def _repetition_problems(plan: str, profile: str, language: Language) -> Iterable[Defect]:
    met: set[tuple[str, ...]] = set()
    for sentence in _sentences(plan):
        if len(sentence) >= SHARED_SENTENCE[language] and tuple(sentence) in met:
            yield problem("repeated", " ".join(sentence))
            break
        met.add(tuple(sentence))
    size = COPIED[language]
    there = set(runs(words(profile), size))
    if copied := next((run for run in runs(words(plan), size) if run in there), None):
        yield problem("plan_copies", " ".join(copied))


def draft_type(draft: str, seen: Sight) -> DraftType:
    """Return HER's type of a draft: A, in the actor's voice about the character; B, in any other; C, there is none."""
    if not draft.strip():
        return "C"
    wrong = any(_voice_problems(draft, seen)) or refusal(draft) or markdown(draft)
    return "B" if wrong or not _DIRECTS[seen.language].search(draft) else "A"


def shared_templates(plans: Mapping[str, str], names: Iterable[str], language: Language) -> dict[str, Defect]:
    """Return the plans of one scene that share a sentence with an earlier plan, or nearly all their words, by turn id.

    Args:
        plans: plan of each turn, in the order of the turns.
        names: names of the cast, which are left out of the comparison.
    """
    masks = sorted(set(names), key=len, reverse=True)
    found: dict[str, Defect] = {}
    sentences: set[tuple[str, ...]] = set()
    earlier: list[str] = []
    for turn_id, plan in plans.items():
        for name in masks:
            plan = plan.replace(name, "N" if language == "en" else "某")
        own = [tuple(each) for each in _sentences(plan) if len(each) >= SHARED_SENTENCE[language]]
        if shared := next((each for each in own if each in sentences), None):
            found[turn_id] = problem("plan_template", " ".join(shared))
        elif any(jaccard(plan, other) >= ALIKE for other in earlier):
            found[turn_id] = problem("plan_template", plan)
        sentences.update(own)
        earlier.append(plan)
    return found
