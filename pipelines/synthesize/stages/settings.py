"""Complete the setting of a scene: add a fact when the dialogue shows it, the setting lacks it and the source says it.

These three conditions, and that the original texts stay as they are, are HER's (docs/protocols.md, Synthesis). Here they
are checked in code, and by the checker where one is set: the source that the model is given ends where the scene begins, so
nothing of it or after it can be told, and the quoted sentence is searched in it. Facts are appended to the original texts.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from her.characters.coser import BookScene
from her.types import CastMember, Turn
from her.words import GARBLED
from pipelines.synthesize.checks.anchors import SearchedText
from pipelines.synthesize.checks.facts import (
    KNOWN_SHARE,
    SUPPORTED_SHARE,
    content_of,
    critical_change,
    is_later,
    is_said,
    is_secret,
    is_shown,
    of_another,
    share,
)
from pipelines.synthesize.checks.phrases import foreign, task_talk
from pipelines.synthesize.questions import Question, StageContext
from pipelines.synthesize.stages.answers import CompletedSetting, SettingFact
from pipelines.synthesize.stages.checker import CHECK_FACTS, check_items
from pipelines.synthesize.stages.turn_text import describe_problems, turn_body, turn_labels

COMPLETE = Question("settings", "complete_setting", CompletedSetting)
REASONS: dict[str, str] = {
    "nobody": "the scene has no character of this name",
    "wrong_field": "the setting belongs to everybody, the other fields to one character",
    "short_quote": "the quotation is too short to be searched",
    "not_in_source": "the quotation is not in the source before the first line of the scene",
    "not_shown": "no turn of the dialogue shows it",
    "spoiler": "it tells what is said, done or found out in the scene or after it",
    "secret": "it tells others what a character keeps to themselves",
    "of_another": "it is about another character than the quotation, or given to one whom it does not concern",
    "known": "the setting says it already",
    "unsupported": "the quotation does not support it",
    "contradicted": "it has another number, date or negation than the quotation",
    "garbled": "it holds garbled text, another language or talk about the task",
    "checker": "the checker found a fault in it",
    "too_many": "more facts than were asked for",
}
"""Why a fact is dropped: name -> meaning."""
LEAST_QUOTE = 12
"""Letters and digits a quotation must have; shorter ones are found anywhere."""
QUOTE_SIMILAR = 0.9
"""Minimum difflib ratio of the quotation and a sentence of the source."""
LEAST_FOUND = 0.5
"""Minimum share of a line that its found run of words is: a run of five words of a long speech may stand anywhere."""
ANSWER_TOKENS = 2048
_MARKS = " \n\t“”\"「」『』'‘’—–-:：,，"
_SENTENCE_END = re.compile(r"[.!?。！？…]+[\"”’'」』)）]*")


async def complete_setting(scene: BookScene, context: StageContext) -> BookScene:
    """Return the scene with the facts its setting lacked; the same scene when it has no source or needs none."""
    options, notes = context.options.settings, context.notes
    source = source_before(scene)
    if not source:
        notes.skip(COMPLETE.name, f"scene {scene.id}", "its source has no text, or its lines are not found in it")
        return scene
    labels = turn_labels(scene.turns)
    payload = setting_payload(scene, source[-options.source_characters :], labels)
    messages = COMPLETE.messages(scene.scenario.language, payload, most=str(options.most))
    answer = await context.ask(COMPLETE, messages, max_tokens=ANSWER_TOKENS)
    if not isinstance(answer.value, CompletedSetting):
        notes.skip(COMPLETE.name, f"scene {scene.id}", f"no answer: {answer.error}")
        return scene
    searched = SearchedText(source)
    turns = {labels[turn.id]: turn for turn in scene.turns}
    sound: list[SettingFact] = []
    whole = scene
    for number, fact in enumerate(answer.value.additions):
        # Each fact is checked against the scene with the facts before it, so that nothing is added twice.
        reason = "too_many" if number >= options.most else drop_reason(fact, whole, searched, turns)
        if reason:
            _skip(fact, scene, reason, REASONS[reason], context)
        else:
            sound.append(fact)
            whole = _with_fact(whole, fact)
    return await _checked(scene, sound, context)


async def _checked(scene: BookScene, facts: list[SettingFact], context: StageContext) -> BookScene:
    """Return the scene with the facts in which the checker finds no fault."""
    items = [{"id": f"f{number}", "text": fact.fact, **fact.model_dump(exclude={"fact"})} for number, fact in enumerate(facts, 1)]
    found = await check_items(CHECK_FACTS, scene, items, context)
    for number, fact in enumerate(facts, 1):
        if faults := found.get(f"f{number}", ()):
            _skip(fact, scene, "checker", describe_problems(faults), context)
        else:
            scene = _with_fact(scene, fact)
    return scene


def _skip(fact: SettingFact, scene: BookScene, reason: str, meaning: str, context: StageContext) -> None:
    context.notes.skip(COMPLETE.name, f"scene {scene.id}, addition {fact.fact[:60]!r}", f"{reason}: {meaning}")


def source_before(scene: BookScene) -> str:
    """Return the source text up to the first line of the scene; empty when no line is found in it.

    When the first line is not found, the text ends at the first one that is, minus the sentence before that: it is narration
    of the scene already.
    """
    source = SearchedText(scene.passage)
    places = [
        (place.start, number)
        for number, turn in enumerate(turn for turn in scene.turns if turn.text("speech"))
        if (place := source.spoken(turn.text("speech"))) and place.ratio >= LEAST_FOUND
    ]
    if not places:
        return ""
    start, number = min(places)
    before = scene.passage[:start]
    # The sentence in which the line stands ("Marta looked up and said: ...") is narration of the scene.
    ends = [match.end() for match in _SENTENCE_END.finditer(before)]
    if number and not before[ends[-1] if ends else 0 :].strip(_MARKS):
        ends = ends[:-1]
    return before[: ends[-1]] if ends else ""


def setting_payload(scene: BookScene, source: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return what the question shows of a scene."""
    fields = ("name", "profile", "background", "motivation")
    return {
        "book": scene.book,
        "setting": scene.scenario.setting,
        "characters": [{field: getattr(member, field) for field in fields} for member in scene.cast],
        "dialogues": [
            {"id": labels[turn.id], "speaker": turn.speaker, "text": turn_body(turn)} for turn in scene.turns if turn.parts
        ],
        "source": source,
    }


def drop_reason(fact: SettingFact, scene: BookScene, source: SearchedText, turns: Mapping[str, Turn]) -> str:
    """Return why a fact is dropped, one of `REASONS`; empty when it is added.

    Args:
        turns: the turns by the label that the question showed.
    """
    member = next((member for member in scene.cast if member.name == fact.character), None)
    if fact.character and member is None:
        return "nobody"
    if (fact.field == "setting") == bool(fact.character):
        return "wrong_field"
    if sum(map(str.isalnum, fact.quote)) < LEAST_QUOTE:
        return "short_quote"
    place = source.nearest(fact.quote, least=QUOTE_SIMILAR)
    if place is None:
        return "not_in_source"
    found = source.text[place.start : place.end]
    return _content_reason(fact, scene, found, turns.get(fact.shown_by), member)


def _content_reason(fact: SettingFact, scene: BookScene, found: str, shown: Turn | None, member: CastMember | None) -> str:
    """Return why a fact whose quotation stands in the source (`found`) is dropped for what it says; empty when it is not."""
    language, text = scene.scenario.language, fact.fact
    names = [each.name for each in scene.cast]
    everything = f"{found} {_all_texts(scene)} {' '.join(turn.text() for turn in scene.turns)}"
    # Names are no evidence: whoever speaks is named in the fact more often than not.
    evidence = content_of(f"{text} {found}", language, names)
    said = content_of(text, language)
    own = fact.character if fact.field in ("background", "motivation") else ""
    setting = scene.scenario.setting if member is None else f"{scene.scenario.setting} {_member_texts(member)}"
    reasons: dict[str, Callable[[], object]] = {
        "not_in_source": lambda: critical_change(fact.quote, found, language),
        "garbled": lambda: GARBLED.search(text) or foreign(text, everything, language, names) or task_talk(text, everything),
        "not_shown": lambda: shown is None or not is_shown(shown.text(), evidence, language, names),
        "spoiler": lambda: is_later(text) or is_said(text, scene.turns),
        "secret": lambda: is_secret(text, scene, own),
        "of_another": lambda: of_another(text, found, fact.character, scene),
        "known": lambda: share(said, content_of(setting, language), language) >= KNOWN_SHARE,
        "unsupported": lambda: share(said, content_of(f"{found} {fact.quote}", language), language) < SUPPORTED_SHARE,
        "contradicted": lambda: critical_change(text, found, language, setting),
    }
    return next((reason for reason, holds in reasons.items() if holds()), "")


def _member_texts(member: CastMember) -> str:
    return f"{member.profile} {member.background} {member.motivation}"


def _all_texts(scene: BookScene) -> str:
    return " ".join((scene.scenario.setting, *map(_member_texts, scene.cast)))


def _with_fact(scene: BookScene, fact: SettingFact) -> BookScene:
    """Return the scene with one fact appended to the text it belongs to, which prompts are made from (her/view.py)."""
    sentence = fact.fact.strip()
    if not fact.character:
        setting = _appended(scene.scenario.setting, sentence)
        return scene.model_copy(update={"scenario": scene.scenario.model_copy(update={"setting": setting})})
    cast = tuple(
        member.model_copy(update={fact.field: _appended(getattr(member, fact.field), sentence)})
        if member.name == fact.character
        else member
        for member in scene.cast
    )
    return scene.model_copy(update={"cast": cast})


def _appended(text: str, sentence: str) -> str:
    return f"{text.rstrip()}\n{sentence}" if text.strip() else sentence
