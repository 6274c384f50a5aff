"""Define the schemas of the answers: sent to servers that support structured output, and checked again on every answer.

Unknown keys are ignored, because models add them; a missing key or a value of another type is an error.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Utterance(BaseModel):
    """A line of a conversation, in CoSER notation: `[thought] (action) speech`."""

    character: str = Field(min_length=1)
    message: str = Field(min_length=1)


class CharacterMotivation(BaseModel):
    """Motivation of a character when a conversation begins."""

    name: str = Field(min_length=1)
    motivation: str = ""


class KeyCharacter(BaseModel):
    """Description of a character in a plot, and what the plot does to them."""

    name: str = Field(min_length=1)
    description: str = ""
    experience: str = ""


class FoundConversation(BaseModel):
    """A conversation of a plot."""

    scenario: str = ""
    topic: str = ""
    key_characters: list[CharacterMotivation] = []
    dialogues: list[Utterance] = []


class Plot(BaseModel):
    """A plot of a piece of a book; `continues` is the id of the plot of the previous piece that it continues."""

    chapter_title: str = ""
    first_sentence: str
    last_sentence: str
    prominence: int = Field(default=50, ge=0, le=100)
    summary: str = Field(min_length=1)
    key_characters: list[KeyCharacter] = []
    conversation: list[FoundConversation] = []
    state: Literal["finished", "truncated"] = "finished"
    continues: str = ""


class ExtractedPlots(BaseModel):
    """Answer to `extract_plots`."""

    plots: list[Plot]


class OfficialName(BaseModel):
    """A name as it stands in the book, and the official name of that character."""

    name: str
    official: str


class OfficialNames(BaseModel):
    """Answer to `name_characters`."""

    names: list[OfficialName]


class CharacterProfile(BaseModel):
    """Answer to `write_profile`."""

    profile: str = Field(min_length=1)


class SceneSetting(BaseModel):
    """Answer to `stage_scene`."""

    scenario: str = Field(min_length=1)
    characters: list[CharacterMotivation]


class WrittenTurn(BaseModel):
    """A turn in the canonical notation, without name and plan."""

    id: str
    text: str = Field(min_length=1)
    reason: str = ""


class EnhancedTurns(BaseModel):
    """Answer to `enhance_thoughts`."""

    turns: list[WrittenTurn]


class RewrittenPlan(BaseModel):
    """Answer to `rewrite_plan`."""

    plan: str = Field(min_length=1)


class SettingFact(BaseModel):
    """A fact to add to the setting, with the sentence of the source that says it."""

    character: str = ""
    field: Literal["setting", "profile", "background", "motivation"]
    fact: str = Field(min_length=1)
    quote: str = Field(min_length=1)
    shown_by: str = ""


class CheckedItem(BaseModel):
    """Faults that a checker finds in one item: codes, none for an item without a fault; `reason` in a few words."""

    id: str
    faults: list[str]
    reason: str = ""


class CheckedItems(BaseModel):
    """Answer to `check_turns`, `check_plans` and `check_facts`."""

    items: list[CheckedItem]


class CompletedSetting(BaseModel):
    """Answer to `complete_setting`."""

    additions: list[SettingFact] = []
