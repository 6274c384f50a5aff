"""Repair in code what needs no judgement: end marks inside tags, pronouns in front of acts, acts that were joined.

The rules are HER's (docs/protocols.md, Synthesis). Every repair is counted by the name of the problem it removes.
"""

import re

from her.format import normalise, render
from her.kinds import UNSPOKEN_KINDS
from her.types import Defect, Language, Part, Turn
from pipelines.synthesize.checks.knowledge import name_forms
from pipelines.synthesize.checks.problems import problem

_END_MARKS = re.compile(r"(?<![.。．])(?<!&nbsp)(?<!&quot)(?<!&amp)[.。;；,，](?:\s*[;；,，])*\s*$")
_LEADING = re.compile(r"^(?:I|he|she|they|we)(?:['’]s)? (?=[a-z])|^(?:his|her|their|my|our|its) (?=[a-z])", re.I)
_LEADING_ZH = re.compile(r"^(?:我们|他们|她们|我|他|她|俺|咱)(?:的|自己的)?(?=[\u4e00-\u9fff])")
_JOINED = re.compile(r"(?<=[a-z]) (?=([A-Z][a-z]+) ?)")
_LEADS_TO_NAME = re.compile(
    r"(?:^|\b(?:to|at|of|with|in|into|from|for|towards?|on|by|and|or|the|a|an|like|than|past|after|behind|before|between|near|"
    r"beside|against|over|under|about))$",
    re.I,
)
_BARE_VERB = re.compile(r"^(?!(?:am|is|was|were|has|had|did|does|have|could|would|will|can|must)\b)([a-z]+)")


def repaired(turn: Turn, original: Turn, language: Language) -> tuple[Turn, tuple[Defect, ...]]:
    """Return the turn with its repairs made, and what was repaired; the same turn when there is nothing to repair.

    Args:
        original: the turn before it was rewritten; a capital letter that it has inside an action is no joint.
    """
    parts, found = [], []
    for part in turn.parts:
        text = part.text
        names: list[str] = []
        if part.kind == "role_action":
            text, names = _repaired_act(text, turn.speaker, original.text(), language)
        if part.kind in UNSPOKEN_KINDS and (stripped := _END_MARKS.sub("", text)) != text and stripped.strip():
            text, names = stripped.rstrip(), [*names, "end_mark"]
        parts.append(Part(kind=part.kind, text=text))
        found += [problem(name, part.text) for name in names]
    if not found:
        return turn, ()
    settled = normalise(parts, turn.speaker)
    plain = turn.model_copy(update={"parts": settled, "raw": render(settled, turn.speaker)})
    return plain, tuple(found)


def _repaired_act(text: str, speaker: str, before: str, language: Language) -> tuple[str, list[str]]:
    names = []
    if language == "zh":
        own = "|".join(map(re.escape, sorted(name_forms([speaker]), key=len, reverse=True)))
        bare = re.sub(rf"^(?:{own})(?!面前|身前|身边|对面|跟前|那边|[，,、的])(?=[\u4e00-\u9fff])", "", text)
        bare = _LEADING_ZH.sub("", bare)
    else:
        bare = _without_doer(text, speaker)
    if bare != text and bare.strip():
        text, names = bare, ["action_person"]
    if language == "en" and (parted := _parted(text, before)) != text:
        text, names = parted, [*names, "joined_acts"]
    return text, names


def _without_doer(text: str, speaker: str) -> str:
    """Return an English act without the pronoun or name of its doer in front."""
    own = "|".join(map(re.escape, sorted(name_forms([speaker]), key=len, reverse=True)))
    bare = re.sub(rf"^(?:{own})(?:['’]s)? (?=[a-z])", "", text)
    if bare != text:
        return bare
    leading = _LEADING.match(text)
    if not leading:
        return text
    bare = text[leading.end() :]
    # "I nod" becomes "nods": an act is told in the third person.
    return (
        _BARE_VERB.sub(lambda verb: _third_person(verb[1]), bare) if leading[0].strip().lower() in ("i", "they", "we") else bare
    )


def _third_person(verb: str) -> str:
    if verb.endswith(("ed", "ing", "ly")):
        return verb
    if verb.endswith(("s", "x", "sh", "ch", "o")):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"


def _parted(text: str, before: str) -> str:
    """Return acts parted by commas where a capital letter inside shows that two were joined without a mark."""
    pieces, at = [], 0
    for joint in _JOINED.finditer(text):
        word = joint[1]
        led_by_verb = not _LEADS_TO_NAME.search(text[: joint.start()])
        if led_by_verb and word.endswith(("s", "ed")) and word not in before and not word.endswith(("ss", "us")):
            pieces += [text[at : joint.start()], ", ", word[0].lower()]
            at = joint.end() + 1
    return "".join([*pieces, text[at:]])
