"""Complete the setting of a scene: add a fact when the dialogue shows it, the setting lacks it and the source says it.

These three conditions, and that the original texts stay as they are, are HER's (docs/protocols.md, Synthesis). Here they
are checked in code: the source that the model is given ends where the scene ends, so nothing later can be told, and the
quoted sentence is searched in it. Facts are appended to the original texts.
"""

from collections.abc import Mapping
from typing import Any

from her.characters.coser import BookScene
from her.types import CastMember, Turn
from her.words import telling_words, words
from pipelines.synthesize.checks.anchors import SearchedText
from pipelines.synthesize.questions import Question, StageContext
from pipelines.synthesize.stages.answers import CompletedSetting, SettingFact
from pipelines.synthesize.stages.turn_text import turn_body, turn_labels

COMPLETE = Question("settings", "complete_setting", CompletedSetting)
REASONS: dict[str, str] = {
    "nobody": "the scene has no character of this name",
    "wrong_field": "the setting belongs to everybody, the other fields to one character",
    "short_quote": "the quotation is too short to be searched",
    "not_in_source": "the quotation is not in the source before the end of the scene",
    "not_shown": "no turn of the dialogue shows it",
    "spoiler": "the quotation comes after the turn that shows it",
    "known": "the setting says it already",
    "unsupported": "the quotation does not support it",
    "too_many": "more facts than were asked for",
}
"""Why a fact is dropped: name -> meaning."""
LEAST_QUOTE = 12
"""Letters and digits a quotation must have; shorter ones are found anywhere."""
QUOTE_SIMILAR = 0.9
"""Minimum difflib ratio of the quotation and a sentence of the source."""
KNOWN_SHARE, SUPPORTED_SHARE = 0.75, 0.4
"""Share of the fact's content words that, found in the setting, makes it known; that the quotation must have."""
ANSWER_TOKENS = 2048


async def complete_setting(scene: BookScene, context: StageContext) -> BookScene:
    """Return the scene with the facts its setting lacked; the same scene when it has no source or needs none."""
    options, notes = context.options.settings, context.notes
    source = source_until_end(scene)
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
    for number, fact in enumerate(answer.value.additions):
        # Each fact is checked against the scene with the facts before it, so that nothing is added twice.
        reason = "too_many" if number >= options.most else drop_reason(fact, scene, searched, turns)
        if reason:
            notes.skip(COMPLETE.name, f"scene {scene.id}, addition {fact.fact[:60]!r}", f"{reason}: {REASONS[reason]}")
        else:
            scene = _with_fact(scene, fact)
    return scene


def source_until_end(scene: BookScene) -> str:
    """Return the source text up to the end of the scene's last line that is found in it; empty when none is."""
    source = SearchedText(scene.passage)
    end = 0
    for turn in scene.turns:
        if place := source.spoken(turn.text("speech"), end):
            end = place.end
    # The full stop and the closing quotation mark belong to the line.
    while 0 < end < len(scene.passage) and not (scene.passage[end].isalnum() or scene.passage[end].isspace()):
        end += 1
    return scene.passage[:end]


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
    language = scene.scenario.language
    shown = turns.get(fact.shown_by)
    content = telling_words(words(fact.fact), language)
    if shown is None or not content & telling_words(words(f"{shown.speaker} {shown.text()}"), language):
        return "not_shown"
    # What the source says after the line that shows the fact happens during the scene, and the setting is before it.
    spoken = source.spoken(shown.text("speech"))
    if spoken and place.start >= spoken.end:
        return "spoiler"
    setting = scene.scenario.setting if member is None else " ".join((scene.scenario.setting, _member_texts(member)))
    if _share(content, telling_words(words(setting), language)) >= KNOWN_SHARE:
        return "known"
    quoted = source.text[place.start : place.end] + fact.quote
    if _share(content, telling_words(words(quoted), language)) < SUPPORTED_SHARE:
        return "unsupported"
    return ""


def _member_texts(member: CastMember) -> str:
    return f"{member.profile} {member.background} {member.motivation}"


def _share(wanted: set[str], there: set[str]) -> float:
    return len(wanted & there) / len(wanted) if wanted else 0.0


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
