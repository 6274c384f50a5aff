"""Settings of an estimate of reinforcement learning (`estimate.KEY=VALUE`), and its content."""

from pydantic import Field

from her.capacity.gpus import Gpu
from her.capacity.recipe import Recipe
from her.capacity.rollout_cost import Judging, StepForecast, StepLoad
from her.capacity.shapes import Parameters, Shape
from her.capacity.training_memory import Memory
from her.types import Value
from pipelines.models.hardware import HardwareSettings
from pipelines.rl.options import RlOptions


class RlEstimateSettings(HardwareSettings):
    """Hardware, judge and lengths of an estimate.

    Args:
        model: shape of the start where it is not on this machine, such as `Qwen/Qwen3-4B`; empty reads the start's own.
        prompt_tokens: mean tokens of a prompt; 0 counts the prompts of the settings by their letters.
        answer_tokens: mean tokens of an answer, plan included.
        sampler_gpus: GPUs of the vLLM server, for `rollout.sampler=vllm_server`.
        sampler_share: share of the roofline that the sampler reaches; 0 takes .55 for vLLM, .1 for transformers (assumptions).
        judge_calls: calls for one group; 0 takes those of the sources' default designs.
        judge_seconds: seconds of one call.
        judge_slots: calls at once.
        judge_answer_tokens: tokens that the judge writes; `judge_principle_tokens` of principles and instructions it reads.
        judge_prompt_dollars: price of a million tokens that the judge reads, `judge_answer_dollars` that it writes.
    """

    model: str = ""
    prompt_tokens: int = Field(default=0, ge=0)
    answer_tokens: int = Field(default=700, ge=1)
    sampler_gpus: int = Field(default=1, ge=1)
    sampler_share: float = Field(default=0, ge=0, le=1)
    judge_calls: int = Field(default=0, ge=0)
    judge_seconds: float = Field(default=8, gt=0)
    judge_slots: int = Field(default=64, ge=1)
    judge_answer_tokens: int = Field(default=800, ge=1)
    judge_principle_tokens: int = Field(default=2000, ge=0)
    judge_prompt_dollars: float = Field(default=0, ge=0)
    judge_answer_dollars: float = Field(default=0, ge=0)


class RlEstimateOptions(RlOptions):
    """Settings of a run and of its estimate."""

    estimate: RlEstimateSettings = RlEstimateSettings()


class RlEstimate(Value):
    """Estimate of a run.

    Args:
        base: what the shape is of.
        counted: how the tokens of prompts were counted.
        memory: of the update on each GPU, with the layout that the settings ask for.
        reference: bytes of the frozen reference model on each GPU; 0 with adapters or without `kl`.
        sampler: bytes that the sampler takes on the same GPU.
        step: with one row a group, `expanded` with TRL's rows.
        hours: of the whole run.
        judge_calls: of the whole run; `judge_dollars` their price.
        dollars: of all GPUs; None where the GPU has no price.
    """

    base: str
    shape: Shape
    weights: Parameters
    adapters: int
    recipe: Recipe
    gpu: Gpu
    gpus: int
    mfu: float
    counted: str
    load: StepLoad
    judging: Judging
    memory: Memory
    reference: float
    sampler: float
    fits: bool
    shared: bool
    step: StepForecast
    expanded: StepForecast
    steps: int
    hours: float
    judge_calls: int
    judge_dollars: float
    dollars: float | None

    @property
    def bytes_on_gpu(self) -> float:
        """Bytes of update, reference and sampler on one GPU."""
        return self.memory.total + self.reference + self.sampler
