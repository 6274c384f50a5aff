"""Group the settings of a synthesis run by the part that reads them; `options.py` puts the groups together.

They stand below the stages, so that a stage can read its own settings without importing the whole configuration.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from her.types import Sampling, Value

MOST_TOKENS = 65_536
"""Maximum of `Sampling.max_tokens`."""


class SceneOptions(Value):
    """Settings for turning raw books into scenes, and for the profiles of finished ones.

    Args:
        chunk_tokens: size of one piece of the book in tokens; a piece is whole chapters where they fit.
        least_turns: conversations with fewer turns are skipped.
        anchored: minimum share of a conversation's lines that must be found in the source text.
        profiles_from: minimum number of plots a character must appear in to get a profile.
        held_out: share of the plots, counted from the end of the book, that no profile is written from.
        hold_back: whether a profile loses the sentences that tell of later than the scene; it is then as of its beginning.
    """

    chunk_tokens: int = Field(default=8192, ge=256)
    least_turns: int = Field(default=6, ge=2)
    anchored: float = Field(default=0.5, ge=0, le=1)
    profiles_from: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)
    hold_back: bool = True


class PlanOptions(Value):
    """Settings of the system thinking stage.

    Args:
        draft: whether a reasoning model plays the turn first, so that its thinking becomes the draft of the plan.
        characters: minimum and maximum length of a plan in characters. HER's plans have 580 tokens in the mean, about 2,500
            characters, and 2,400 tokens at most.
        characters_zh: the same for Chinese, which says as much in a third to a half of the characters.
        everybody: write plans for the turns of every character; otherwise for major characters only.
        draft_tokens: maximum number of tokens of a draft, its reply included.
    """

    draft: bool = True
    characters: tuple[int, int] = (200, 4000)
    characters_zh: tuple[int, int] = (60, 2000)
    everybody: bool = True
    draft_tokens: int = Field(default=4096, ge=64)


class SettingOptions(Value):
    """Settings of the setting completion stage.

    Args:
        most: maximum number of facts added to one scene.
        source_characters: number of characters of the source text, before the end of the scene, that the model is given.
    """

    most: int = Field(default=6, ge=1)
    source_characters: int = Field(default=24_000, ge=500)


class TeacherOptions(Value):
    """Settings of the requests to a teacher: what a reasoning model needs, and what a server wants to be asked otherwise.

    Args:
        room: tokens that the teacher may think before its answer; added to the limit of tokens of every answer.
        effort: value of `reasoning_effort`, such as "low"; empty sends none.
        tokens_field: name of the field for the limit of tokens.
        leave_out: fields that are not sent, such as "temperature" for a server that refuses it.
        body: further fields of every request.
        harvest: whether native thinking becomes the draft of a plan (HER's way); otherwise only a plan that the model writes
            into its answer does, and its thinking is dropped.
        give_up: the run stops when so many calls have one error that asking again does not mend, and none was answered; 0 never.
    """

    room: int = Field(default=8192, ge=0, le=60_000)
    effort: str = ""
    tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    leave_out: tuple[Literal["temperature", "top_p", "seed"], ...] = ()
    body: dict[str, JsonValue] = {}
    harvest: bool = True
    give_up: int = Field(default=5, ge=0)

    @field_validator("body")
    @classmethod
    def _only_further_fields(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        ours = {"model", "messages", "stream", "stream_options", "response_format", "max_tokens", "max_completion_tokens"}
        if taken := sorted(ours & body.keys()):
            raise ValueError(f"'{taken[0]}' is set by this program; for the limit of tokens there are room and tokens_field")
        return body

    def request(self, sampling: Sampling) -> Sampling:
        """Return the sampling of a request whose answer, without its thinking, takes `sampling.max_tokens`."""
        limit = min(MOST_TOKENS, sampling.max_tokens + self.room)
        fields: dict[str, JsonValue] = dict.fromkeys(self.leave_out)
        if self.tokens_field != "max_tokens":
            fields |= {"max_tokens": None, self.tokens_field: limit}
        if self.effort:
            fields["reasoning_effort"] = self.effort
        fields |= self.body
        extra = json.dumps(fields, sort_keys=True) if fields else ""
        return sampling.model_copy(update={"max_tokens": limit, "extra": extra})


class DatasetOptions(Value):
    """Settings of samples and splits.

    Args:
        split_by: `book` keeps all scenes of a book in one split; `conversation` keeps each conversation in one split, for runs
            on few books.
        shares: relative size of each split; they do not have to add up to one.
        test_set: a CoSER test set; its conversations are excluded from all splits.
        tokenizer: repository or folder of the tokenizer that counts tokens in the audit; empty for an estimate.
        most_tokens: maximum length of a sample in tokens; longer samples are dropped and counted.
        dropped: maximum share of turns that may become no sample; the run fails above it.
    """

    split_by: str = Field(default="book", pattern="^(book|conversation)$")
    shares: dict[str, float] = {"sft": 0.6, "rm_sft": 0.12, "rm_rl": 0.12, "rl": 0.12, "test": 0.04}
    test_set: Path | None = None
    tokenizer: str = ""
    most_tokens: int = Field(default=8192, ge=256)
    dropped: float = Field(default=0.1, ge=0, le=1)


@dataclass(frozen=True)
class StageOptions:
    """Settings that a stage may read: the sampling of its calls, the groups of the stages, and whether there is a checker."""

    sampling: Sampling = Sampling()
    scenes: SceneOptions = SceneOptions()
    plans: PlanOptions = PlanOptions()
    settings: SettingOptions = SettingOptions()
    teacher: TeacherOptions = TeacherOptions()
    checked: bool = False
