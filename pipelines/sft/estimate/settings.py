"""Settings of an estimate (`estimate.KEY=VALUE`), and its content."""

from pydantic import Field, model_validator

from her.capacity import shapes
from her.capacity.gpus import Gpu
from her.capacity.recipe import Recipe
from her.capacity.serving_cost import ServingEstimate
from her.capacity.training_cost import TrainingForecast
from her.capacity.work import EpochLoad
from her.types import Value
from pipelines.models.hardware import HardwareSettings
from pipelines.sft.options import TrainingOptions


class EstimateSettings(HardwareSettings):
    """Hardware of an estimate, and a description of samples that are not on this machine.

    Args:
        targets: target turns of an epoch, when the samples are not on this machine; 0 counts the samples of the settings.
        prompt_tokens: mean tokens of a prompt, with `targets`.
        target_tokens: mean tokens of a target, system thinking included, with `targets`.
        turns: targets of one character in one conversation.
        between: tokens by which the history grows from one of these targets to the next.
        context: tokens of a chat when the model is served.
    """

    targets: int = Field(default=0, ge=0)
    prompt_tokens: int = Field(default=0, ge=0)
    target_tokens: int = Field(default=0, ge=0)
    turns: int = Field(default=4, ge=1)
    between: int = Field(default=150, ge=1)
    context: int = Field(default=4096, ge=1)

    @model_validator(mode="after")
    def _require_description(self) -> "EstimateSettings":
        if self.targets and not (self.prompt_tokens and self.target_tokens):
            raise ValueError("estimate.targets needs estimate.prompt_tokens and estimate.target_tokens, the mean of each")
        if self.targets and self._first_prompt() < 1:
            raise ValueError(
                f"estimate.prompt_tokens={self.prompt_tokens} is too short for estimate.turns={self.turns} with "
                f"estimate.between={self.between}: the first prompt would have {self._first_prompt()} tokens; "
                "take fewer turns or a smaller estimate.between"
            )
        return self

    def _first_prompt(self) -> int:
        """Return the tokens of the first prompt of a conversation, so that the mean of all is `prompt_tokens`."""
        return self.prompt_tokens - (self.turns - 1) * self.between // 2

    def conversation(self) -> list[tuple[int, int]]:
        """Return (prompt tokens, target tokens) of every target of one character in one conversation."""
        return [(self._first_prompt() + turn * self.between, self.target_tokens) for turn in range(self.turns)]


class EstimateOptions(TrainingOptions):
    """Settings of a run and of its estimate."""

    estimate: EstimateSettings = EstimateSettings()


class RunEstimate(Value):
    """Estimate of a run.

    Args:
        base: base of the model, or "random weights".
        weights: number of weights by part; `adapters` the number of weights of LoRA adapters.
        counted: how the tokens were counted.
        load: tokens and targets of one epoch.
        step: target turns of one step, by layout: as close to `batch` as whole rows allow.
    """

    base: str
    shape: shapes.Shape
    weights: shapes.Parameters
    adapters: int
    recipe: Recipe
    gpu: Gpu
    mfu: float
    counted: str
    load: EpochLoad
    step: dict[str, float]
    plain: TrainingForecast
    shared_prefix: TrainingForecast
    serving: ServingEstimate
