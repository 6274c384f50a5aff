"""Define all settings of a synthesis run, given as `@file.toml key=value`; pipelines/configs/synthesize.toml shows every one."""

from pathlib import Path

from pydantic import Field, model_validator

from her.config import MAY_CHANGE
from her.inference.options import CallOptions
from her.types import NonEmpty, Sampling, Value
from pipelines.synthesize.option_groups import (
    DatasetOptions,
    PlanOptions,
    SceneOptions,
    SettingOptions,
    StageOptions,
    TeacherOptions,
)
from pipelines.synthesize.stages.stage_table import STAGES, SceneStage


class SynthesisOptions(Value):
    """All settings of a run.

    Args:
        name: name of the run folder in HER_HOME/runs.
        books: raw books: JSONL with `title`, `author`, `content`, or text files, or folders of them.
        scenes: finished books: CoSER JSON, JSONL of the HER dataset, or folders of them.
        licence: licence of the sources, for the dataset card.
        endpoints: backend specs that share the calls; the first one names the model in the records.
        rewriter: backend specs for the questions marked `rewriter` (the plans); empty uses `endpoints`.
        checker: backend specs of a checker model, which reads turns, plans and facts for what code cannot decide; empty: off.
        stages: names of the stages to run, of those in stages/stage_table.py; they always run in the order of that table.
        executor: `asyncio`, or `ray` for a Ray cluster. Ray asks the questions of `stages`, which are nearly all of them.
            Raw books become scenes in this process with either, because the pieces of a book depend on each other.
        scenes_at_once: number of scenes processed concurrently.
        limit: maximum number of scenes; 0 for all.
    """

    name: NonEmpty = "synthesize"
    books: tuple[Path, ...] = ()
    scenes: tuple[Path, ...] = ()
    licence: str = "unknown"
    endpoints: tuple[NonEmpty, ...] = Field(default=("teacher:",), min_length=1, json_schema_extra=MAY_CHANGE)
    rewriter: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    checker: tuple[NonEmpty, ...] = Field(default=(), json_schema_extra=MAY_CHANGE)
    stages: tuple[str, ...] = tuple(STAGES)
    executor: str = Field(default="asyncio", pattern="^(asyncio|ray)$", json_schema_extra=MAY_CHANGE)
    scenes_at_once: int = Field(default=64, ge=1, json_schema_extra=MAY_CHANGE)
    seed: int = 42
    limit: int = Field(default=0, ge=0)
    temperature: float = Field(default=0.7, ge=0, le=2)
    calls: CallOptions = Field(default=CallOptions(), json_schema_extra=MAY_CHANGE)
    teacher: TeacherOptions = Field(default=TeacherOptions(), json_schema_extra=MAY_CHANGE)
    books_to_scenes: SceneOptions = SceneOptions()
    plans: PlanOptions = PlanOptions()
    settings: SettingOptions = SettingOptions()
    samples: DatasetOptions = DatasetOptions()

    @model_validator(mode="after")
    def _consistent(self) -> "SynthesisOptions":
        if not (self.books or self.scenes):
            raise ValueError("nothing to read: give books=[...] (raw) or scenes=[...] (finished CoSER files)")
        if unknown := [stage for stage in self.stages if stage not in STAGES]:
            raise ValueError(f"stage '{unknown[0]}' is unknown; there are {', '.join(STAGES)}")
        return self

    def chosen_stages(self) -> list[SceneStage]:
        """Return the stages to run, in the order of the table."""
        return [stage for name, stage in STAGES.items() if name in self.stages]

    def adds_plans(self) -> bool:
        """Return whether a chosen stage adds plans, so that every sample must have one."""
        return any(stage.adds_plans for stage in self.chosen_stages())

    def stage_options(self) -> StageOptions:
        """Return what the stages read of these settings."""
        return StageOptions(
            sampling=Sampling(temperature=self.temperature, seed=self.seed),
            scenes=self.books_to_scenes,
            plans=self.plans,
            settings=self.settings,
            teacher=self.teacher,
            checked=bool(self.checker),
        )
