"""Group the settings of a synthesis run by the part that reads them; `options.py` puts the groups together.

They stand below the stages, so that a stage can read its own settings without importing the whole configuration.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from her.types import Sampling, Value


class SceneOptions(Value):
    """Settings for turning raw books into scenes.

    Args:
        chunk_tokens: size of one piece of the book in tokens; a piece is whole chapters where they fit.
        least_turns: conversations with fewer turns are skipped.
        anchored: minimum share of a conversation's lines that must be found in the source text.
        profiles_from: minimum number of plots a character must appear in to get a profile.
        held_out: share of the plots, counted from the end of the book, that no profile is written from.
    """

    chunk_tokens: int = Field(default=8192, ge=256)
    least_turns: int = Field(default=6, ge=2)
    anchored: float = Field(default=0.5, ge=0, le=1)
    profiles_from: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)


class PlanOptions(Value):
    """Settings of the system thinking stage.

    Args:
        draft: whether a reasoning model plays the turn first, so that its thinking becomes the draft of the plan.
        characters: minimum and maximum length of a plan in characters, for English; Chinese uses two fifths of both.
        everybody: write plans for the turns of every character; otherwise for major characters only.
        draft_tokens: maximum number of tokens of a draft, its reply included.
    """

    draft: bool = True
    characters: tuple[int, int] = (200, 2400)
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


class DatasetOptions(Value):
    """Settings of samples and splits.

    Args:
        split_by: `book` keeps all scenes of a book in one split; `conversation` keeps each conversation in one split.
        shares: relative size of each split; they do not have to add up to one.
        test_set: a CoSER test set; its conversations are excluded from all splits.
        tokenizer: repository or folder of the tokenizer that counts tokens in the audit; empty for an estimate.
        most_tokens: maximum length of a sample in tokens; longer samples are dropped and counted.
        dropped: maximum share of turns that may become no sample; the run fails above it.
    """

    split_by: str = Field(default="conversation", pattern="^(book|conversation)$")
    shares: dict[str, float] = {"sft": 0.6, "rm_sft": 0.12, "rm_rl": 0.12, "rl": 0.12, "test": 0.04}
    test_set: Path | None = None
    tokenizer: str = ""
    most_tokens: int = Field(default=8192, ge=256)
    dropped: float = Field(default=0.1, ge=0, le=1)


@dataclass(frozen=True)
class StageOptions:
    """Settings that a stage may read: the sampling of its calls and the groups of the stages."""

    sampling: Sampling = Sampling()
    scenes: SceneOptions = SceneOptions()
    plans: PlanOptions = PlanOptions()
    settings: SettingOptions = SettingOptions()
