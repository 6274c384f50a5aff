"""The settings of a synthesis run, as `@file.toml key=value`; pipelines/configs/synthesize.toml shows every one."""

from pathlib import Path

from pydantic import Field, model_validator

from her.config import MAY_CHANGE
from her.types import NonEmpty, Value


class CallOptions(Value):
    """How models are asked.

    Args:
        in_flight: most calls on the way at once, at each endpoint; fewer are, while an endpoint says it is too many.
        retries: how often a call that failed on the way is asked again.
        timeout: seconds that one call may take.
        patience: seconds to wait while no endpoint answers at all, before the run stops.
        budget_tokens: stop when so many tokens are spent, prompts included; 0 for no limit.
        budget_money: stop when so much is spent, at `price_*`; 0 for no limit.
        price_prompt: for a million tokens of prompts; `price_completion` of answers.
        pilot: so many calls are made before the cost is forecast.
    """

    in_flight: int = Field(default=32, ge=1)
    retries: int = Field(default=4, ge=0)
    timeout: float = Field(default=300, gt=0)
    patience: float = Field(default=180, gt=0)
    budget_tokens: int = Field(default=0, ge=0)
    budget_money: float = Field(default=0, ge=0)
    price_prompt: float = Field(default=0, ge=0)
    price_completion: float = Field(default=0, ge=0)
    pilot: int = Field(default=50, ge=0)


class SceneOptions(Value):
    """Raw books to scenes.

    Args:
        chunk_tokens: size of a piece that is asked about; pieces are whole chapters where these fit.
        least_turns: conversations with fewer turns are left out.
        anchored: least share of a conversation's lines that must be found in the source.
        profiles_from: a character of at least so many plots gets a profile.
        held_out: share of the plots, the last ones, from which no profile is written.
    """

    chunk_tokens: int = Field(default=8192, ge=256)
    least_turns: int = Field(default=6, ge=2)
    anchored: float = Field(default=0.5, ge=0, le=1)
    profiles_from: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.1, ge=0, lt=1)


class PlanOptions(Value):
    """System thinking.

    Args:
        draft: whether a reasoning model plays the turn first and its thinking becomes the draft.
        characters: least and most characters of a plan in English; in Chinese two fifths of it.
        everybody: plans for every character's turns; otherwise only for major characters'.
        draft_tokens: most tokens of a draft, its reply included.
    """

    draft: bool = True
    characters: tuple[int, int] = (200, 2400)
    everybody: bool = True
    draft_tokens: int = Field(default=4096, ge=64)


class SettingOptions(Value):
    """Setting completion: how many facts a scene may gain, and how much of the source before its end is shown."""

    most: int = Field(default=6, ge=1)
    source_characters: int = Field(default=24_000, ge=500)


class DatasetOptions(Value):
    """Samples and splits.

    Args:
        split_by: `book` keeps every book within one split; `conversation` every conversation.
        shares: parts of the whole for each split; they need not add up to one.
        test_set: a CoSER test set; its conversations are left out of all that is trained.
        tokenizer: a repository or folder for the audit's token counts; empty estimates them.
        most_tokens: longest sample; longer ones are dropped and counted.
        dropped: most of the turns that may become no sample, as a share; above it the run fails.
    """

    split_by: str = Field(default="conversation", pattern="^(book|conversation)$")
    shares: dict[str, float] = {"sft": 0.6, "rm_sft": 0.12, "rm_rl": 0.12, "rl": 0.12, "test": 0.04}
    test_set: Path | None = None
    tokenizer: str = ""
    most_tokens: int = Field(default=8192, ge=256)
    dropped: float = Field(default=0.1, ge=0, le=1)


class SynthesisOptions(Value):
    """All settings of a run.

    Args:
        name: of the run's folder in HER_HOME/runs.
        books: raw books: JSONL with `title`, `author`, `content`, or text files; folders of them.
        scenes: finished books: CoSER JSON, the HER dataset's JSONL; folders of them.
        licence: of the sources, for the dataset card.
        endpoints: backend specs that share the work; the first names the model for the record.
        rewriter: specs for the backward rewrite; none takes `endpoints`.
        stages: which of the stages between scenes and samples are run.
        executor: `asyncio`, or `ray` for a Ray cluster. Ray asks the questions of `stages`, which are nearly all; raw books
            become scenes in this process with either, since the pieces of a book are asked about in turn.
        scenes_at_once: scenes on the way at once.
        limit: at most so many scenes; 0 for all.
    """

    name: NonEmpty = "synthesize"
    books: tuple[Path, ...] = ()
    scenes: tuple[Path, ...] = ()
    licence: str = "unknown"
    endpoints: tuple[NonEmpty, ...] = Field(default=("teacher:",), min_length=1, json_schema_extra=MAY_CHANGE)
    rewriter: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    stages: tuple[str, ...] = ("role_thinking", "settings", "system_thinking")
    executor: str = Field(default="asyncio", pattern="^(asyncio|ray)$", json_schema_extra=MAY_CHANGE)
    scenes_at_once: int = Field(default=64, ge=1, json_schema_extra=MAY_CHANGE)
    seed: int = 42
    limit: int = Field(default=0, ge=0)
    temperature: float = Field(default=0.7, ge=0, le=2)
    calls: CallOptions = Field(default=CallOptions(), json_schema_extra=MAY_CHANGE)
    books_to_scenes: SceneOptions = SceneOptions()
    plans: PlanOptions = PlanOptions()
    settings: SettingOptions = SettingOptions()
    samples: DatasetOptions = DatasetOptions()

    @model_validator(mode="after")
    def _sensible(self) -> "SynthesisOptions":
        if not (self.books or self.scenes):
            raise ValueError("nothing to read: give books=[...] (raw) or scenes=[...] (finished CoSER files)")
        known = ("role_thinking", "settings", "system_thinking")
        if unknown := [stage for stage in self.stages if stage not in known]:
            raise ValueError(f"stage '{unknown[0]}' is unknown; there are {', '.join(known)}")
        return self
