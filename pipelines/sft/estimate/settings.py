"""What is asked about a run (`estimate.KEY=VALUE`) and what the answer holds."""

from pydantic import Field, model_validator

from her.capacity import shapes
from her.capacity.gpus import Gpu
from her.capacity.recipe import Recipe
from her.capacity.serving_cost import ServingEstimate
from her.capacity.training_cost import TrainingForecast
from her.capacity.work import EpochLoad
from her.types import Value
from pipelines.sft.options import TrainingOptions


class EstimateSettings(Value):
    """What is asked about a run.

    Args:
        gpu: a card that her/capacity/gpus.py knows; with `memory` (GB), `tflops` (bf16) and `bandwidth` (TB/s) any other.
        gpus: cards that share the weights.
        mfu: share of the card's rate that is expected.
        dollars: an hour of one card; 0 leaves out what the run costs.
        master: whether bfloat16 weights have a float32 copy beside them (DeepSpeed).
        targets: of an epoch, where the samples are not at hand; with the mean tokens of a prompt and of a target, plan included.
        turns: targets of one character in one conversation.
        between: tokens the history grows by from one of these to the next.
        context: tokens of a chat when the model is served.
    """

    gpu: str = "H200"
    memory: float = Field(default=0, ge=0)
    tflops: float = Field(default=0, ge=0)
    bandwidth: float = Field(default=0, ge=0)
    gpus: int = Field(default=1, ge=1)
    mfu: float = Field(default=0.4, gt=0, le=1)
    dollars: float = Field(default=0, ge=0)
    master: bool = False
    targets: int = Field(default=0, ge=0)
    prompt_tokens: int = Field(default=0, ge=0)
    target_tokens: int = Field(default=0, ge=0)
    turns: int = Field(default=4, ge=1)
    between: int = Field(default=150, ge=1)
    context: int = Field(default=4096, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> "EstimateSettings":
        if self.targets and not (self.prompt_tokens and self.target_tokens):
            raise ValueError(
                "estimate.targets needs estimate.prompt_tokens and estimate.target_tokens, the mean of each, beside it"
            )
        if self.targets and self._first() < 1:
            raise ValueError(
                f"estimate.prompt_tokens={self.prompt_tokens} is too short for estimate.turns={self.turns} with "
                f"estimate.between={self.between}: the first prompt would have {self._first()} tokens; "
                "take fewer turns or a smaller estimate.between"
            )
        return self

    def _first(self) -> int:
        """Tokens of the first prompt of a conversation, so that the mean of all is `prompt_tokens`."""
        return self.prompt_tokens - (self.turns - 1) * self.between // 2

    def conversation(self) -> list[tuple[int, int]]:
        """Tokens of prompt and target of every target of one character in one conversation."""
        return [(self._first() + turn * self.between, self.target_tokens) for turn in range(self.turns)]


class EstimateOptions(TrainingOptions):
    """The settings of a run, and what is asked about it."""

    estimate: EstimateSettings = EstimateSettings()


class RunEstimate(Value):
    """The answer.

    Args:
        base: what is trained; `shape` and `weights` of it.
        counted: how the tokens were counted.
        load: of one epoch; `step` target turns of one step, by layout: as near to `batch` as whole rows come.
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
