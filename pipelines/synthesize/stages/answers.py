"""What the stages ask for: the shape of each answer, as a schema for the server and as a check of what came back.

Unknown keys are passed over, since models add them; what is missing or of another kind is not.
"""

from typing import Literal

from pydantic import BaseModel, Field


class Utterance(BaseModel):
    """A line of a conversation, in CoSER notation."""

    character: str = Field(min_length=1)
    message: str = Field(min_length=1)


class Wanting(BaseModel):
    """What a character wants as a conversation begins."""

    name: str = Field(min_length=1)
    motivation: str = ""


class Known(BaseModel):
    """What a plot says of a character."""

    name: str = Field(min_length=1)
    description: str = ""
    experience: str = ""


class FoundConversation(BaseModel):
    """A conversation of a plot."""

    scenario: str = ""
    topic: str = ""
    key_characters: list[Wanting] = []
    dialogues: list[Utterance] = []


class Plot(BaseModel):
    """A plot of a piece of a book; `continues` is the id of a carried one."""

    chapter_title: str = ""
    first_sentence: str
    last_sentence: str
    prominence: int = Field(default=50, ge=0, le=100)
    summary: str = Field(min_length=1)
    key_characters: list[Known] = []
    conversation: list[FoundConversation] = []
    state: Literal["finished", "truncated"] = "finished"
    continues: str = ""


class Extraction(BaseModel):
    """Answer to `extract_plots`."""

    plots: list[Plot]


class Naming(BaseModel):
    """One name and the one it stands for."""

    name: str
    official: str


class Names(BaseModel):
    """Answer to `name_characters`."""

    names: list[Naming]


class Profile(BaseModel):
    """Answer to `write_profile`."""

    profile: str = Field(min_length=1)


class Staging(BaseModel):
    """Answer to `stage_scene`."""

    scenario: str = Field(min_length=1)
    characters: list[Wanting]


class WrittenTurn(BaseModel):
    """A turn in the canonical notation, without name and plan."""

    id: str
    text: str = Field(min_length=1)
    reason: str = ""


class Enhancement(BaseModel):
    """Answer to `enhance_thoughts`."""

    turns: list[WrittenTurn]


class RewrittenPlan(BaseModel):
    """Answer to `rewrite_plan`."""

    plan: str = Field(min_length=1)


class Addition(BaseModel):
    """A fact for the setting, with where the source says it."""

    character: str = ""
    field: Literal["setting", "profile", "background", "motivation"]
    fact: str = Field(min_length=1)
    quote: str = Field(min_length=1)
    shown_by: str = ""


class CompletedSetting(BaseModel):
    """Answer to `complete_setting`."""

    additions: list[Addition] = []
