"""Setting completion, demand-driven: a fact is added only if the dialogue shows it, the setting lacks it and the source says it.

The source that is shown ends where the scene ends, so nothing from after it can be told; the sentence that is quoted is
looked up in it by code, and what cannot be found is dropped. Original texts stay as they are, facts are put after them.
"""

from collections.abc import Mapping
from typing import Any

from her.characters.coser import BookScene
from her.format import render
from her.kinds import REPLY_KINDS
from her.types import CastMember, Sampling, Scenario, Turn
from pipelines.synthesize.checks.anchors import SearchedText, words
from pipelines.synthesize.checks.plans import telling_words
from pipelines.synthesize.options import SettingOptions
from pipelines.synthesize.stages.answers import Addition, CompletedSetting
from pipelines.synthesize.stages.role_thinking import label
from pipelines.synthesize.work import Asker, Notes, question

STAGE = "settings"
REASONS: dict[str, str] = {
    "nobody": "nobody of this name is in the scene",
    "wrong_field": "the setting is everybody's and the other fields are one character's",
    "short_quote": "the quotation is too short to be looked up",
    "not_in_source": "the quotation does not stand in the source before the end of the scene",
    "not_shown": "no turn of the dialogue shows it",
    "spoiler": "the quotation stands after the turn that shows it",
    "known": "the setting says it already",
    "unsupported": "the quotation does not bear it out",
    "too_many": "more facts than were asked for",
}
"""Why an addition was dropped."""
LEAST_QUOTE = 12
"""Letters and digits a quotation must have; shorter ones are found anywhere."""
QUOTE_NEAR = 0.9
SAID_ALREADY, SUPPORTED = 0.75, 0.4
"""Shares of the fact's telling words: found in the setting it is known; in the quotation it is borne out."""


async def complete(scene: BookScene, asker: Asker, sampling: Sampling, options: SettingOptions, notes: Notes) -> BookScene:
    """The scene with the facts that its setting lacked; the same scene when it has no source, or needs nothing."""
    source = source_until_end(scene)
    if not source:
        notes.skip(STAGE, f"scene {scene.id}", "its source has no text, or its lines are not found in it")
        return scene
    labels = label(scene.turns)
    payload = _payload(scene, source[-options.source_characters :], labels)
    asked = question("complete_setting", scene.scenario.language, payload, most=str(options.most))
    reply = await asker.ask(STAGE, asked, sampling.model_copy(update={"max_tokens": 2048}), CompletedSetting)
    if not isinstance(reply.value, CompletedSetting):
        notes.skip(STAGE, f"scene {scene.id}", f"no answer: {reply.error}")
        return scene
    found = SearchedText(source)
    turns = {labels[turn.id]: turn for turn in scene.turns}
    for number, addition in enumerate(reply.value.additions):
        reason = "too_many" if number >= options.most else verdict(addition, scene, found, turns)
        if reason:
            notes.skip(STAGE, f"scene {scene.id}, addition {addition.fact[:60]!r}", f"{reason}: {REASONS[reason]}")
        else:
            scene = _added(scene, addition)
    return scene


def source_until_end(scene: BookScene) -> str:
    """The passage up to the end of the scene's last line that stands in it; empty when none does."""
    source = SearchedText(scene.passage)
    end = 0
    for turn in scene.turns:
        if place := source.spoken(turn.text("speech"), end):
            end = place.end
    while 0 < end < len(scene.passage) and not (scene.passage[end].isalnum() or scene.passage[end].isspace()):
        end += 1  # the full stop and the closing quotation mark belong to the line
    return scene.passage[:end]


def _payload(scene: BookScene, source: str, labels: Mapping[str, str]) -> dict[str, Any]:
    fields = ("name", "profile", "background", "motivation")
    return {
        "book": scene.book,
        "setting": scene.scenario.setting,
        "characters": [{field: getattr(member, field) for field in fields} for member in scene.cast],
        "dialogues": [
            {"id": labels[turn.id], "speaker": turn.speaker, "text": _body(turn)} for turn in scene.turns if turn.parts
        ],
        "source": source,
    }


def _body(turn: Turn) -> str:
    return render(turn.parts, turn.speaker, kinds=REPLY_KINDS).removeprefix(f"{turn.speaker}: ")


def verdict(addition: Addition, scene: BookScene, source: SearchedText, turns: Mapping[str, Turn]) -> str:
    """Why an addition is dropped, one of REASONS; empty when it is kept. `turns`: by the label they were shown under."""
    member = next((member for member in scene.cast if member.name == addition.character), None)
    if addition.character and member is None:
        return "nobody"
    if (addition.field == "setting") == bool(addition.character):
        return "wrong_field"
    if sum(map(str.isalnum, addition.quote)) < LEAST_QUOTE:
        return "short_quote"
    place = source.nearest(addition.quote, least=QUOTE_NEAR)
    if place is None:
        return "not_in_source"
    language = scene.scenario.language
    shown = turns.get(addition.shown_by)
    fact = telling_words(words(addition.fact), language)
    if shown is None or not fact & telling_words(words(f"{shown.speaker} {shown.text()}"), language):
        return "not_shown"
    spoken = source.spoken(shown.text("speech"))
    if spoken and place.start >= spoken.end:
        return "spoiler"
    there = scene.scenario.setting if member is None else " ".join((scene.scenario.setting, _texts(member)))
    if _share(fact, telling_words(words(there), language)) >= SAID_ALREADY:
        return "known"
    if _share(fact, telling_words(words(source.text[place.start : place.end] + addition.quote), language)) < SUPPORTED:
        return "unsupported"
    return ""


def _texts(member: CastMember) -> str:
    return f"{member.profile} {member.background} {member.motivation}"


def _share(wanted: set[str], there: set[str]) -> float:
    return len(wanted & there) / len(wanted) if wanted else 0.0


def _added(scene: BookScene, addition: Addition) -> BookScene:
    """The scene with one fact put after the text it belongs to: the texts that prompts are made of (her/view.py)."""
    fact = addition.fact.strip()
    if not addition.character:
        setting: Scenario = scene.scenario.model_copy(update={"setting": _after(scene.scenario.setting, fact)})
        return scene.model_copy(update={"scenario": setting})
    cast = tuple(
        member.model_copy(update={addition.field: _after(getattr(member, addition.field), fact)})
        if member.name == addition.character
        else member
        for member in scene.cast
    )
    return scene.model_copy(update={"cast": cast})


def _after(text: str, fact: str) -> str:
    return f"{text.rstrip()}\n{fact}" if text.strip() else fact
