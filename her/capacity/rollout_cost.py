"""Estimate one optimiser step of reinforcement learning: sampling, judging, updating. Pure arithmetic; no torch.

- SamplingSide: the slower of reading weights and cache and of arithmetic for every token (roofline), times the share of it that a
  sampler reaches; prompts are read once a group (prefix caching).
- Judging: calls over the judge's slots, or nothing where the reward is planted.
- Updating: the FLOPs of training.py's convention over the rows of all groups, and one forward pass for each other set of
  log-probabilities (reference, old weights), at the given MFU.

The three follow one another in TRL 1.16, so their seconds add up. Redrawn groups and the start of processes are not counted.
"""

import math

from pydantic import Field

from her.capacity.gpus import Gpu
from her.capacity.recipe import Recipe
from her.capacity.serving_cost import count_chats, decode_seconds
from her.capacity.shapes import Shape, count_multiplied
from her.capacity.training_cost import count_flops, count_forward_flops
from her.capacity.work import BranchLengths, TreeLengths, Work, plain_work, shared_work
from her.types import Value


class StepLoad(Value):
    """Work of one optimiser step.

    Args:
        groups: prompts, each with `answers` answers; of sessions one for every turn.
        prompt: tokens of a prompt, the mean.
        answer: tokens of an answer, the mean.
    """

    groups: int = Field(ge=1)
    answers: int = Field(ge=1)
    prompt: int = Field(ge=1)
    answer: int = Field(ge=1)

    @property
    def sampled(self) -> int:
        """Tokens that are sampled."""
        return self.groups * self.answers * self.answer

    def work(self, *, shared: bool) -> Work:
        """Return the tokens, trained tokens and pairs of the update; `shared` reads a group as one row."""
        if not shared:
            return plain_work([(self.prompt, self.answer)] * self.answers).times(self.groups)
        # A branch begins with the last token of the prompt, which predicts the first token of the answer.
        branch = BranchLengths(self.prompt - 1, self.answer + 1, self.answer)
        return shared_work([TreeLengths(self.prompt - 1, (branch,) * self.answers)]).times(self.groups)


class Judging(Value):
    """Calls of the judge of a step, their time and price.

    Args:
        calls: for all answers of a batch.
        seconds: of one call.
        slots: calls at once.
        prompt: tokens of one call's prompt, `answer` of its answer.
        prompt_dollars: price of a million tokens of prompt, `answer_dollars` of answer.
    """

    calls: int = Field(ge=0)
    seconds: float = Field(default=8, gt=0)
    slots: int = Field(default=64, ge=1)
    prompt: int = Field(default=0, ge=0)
    answer: int = Field(default=0, ge=0)
    prompt_dollars: float = Field(default=0, ge=0)
    answer_dollars: float = Field(default=0, ge=0)

    @property
    def batch_seconds(self) -> float:
        """Seconds of all calls: full rounds over the slots."""
        return math.ceil(self.calls / self.slots) * self.seconds

    @property
    def batch_dollars(self) -> float:
        """Price of all calls."""
        return self.calls * (self.prompt * self.prompt_dollars + self.answer * self.answer_dollars) / 1e6


class SamplingSide(Value):
    """The sampling side of a step.

    Args:
        gpu: one GPU.
        gpus: GPUs that hold copies or parts of the sampler; their rates add up.
        memory: bytes on all of them together for weights and cache.
        reached: share of the roofline that is reached.
    """

    gpu: Gpu
    gpus: int = Field(default=1, ge=1)
    memory: float = Field(gt=0)
    reached: float = Field(gt=0, le=1)


class StepForecast(Value):
    """Seconds and chats of one optimiser step.

    Args:
        at_once: answers sampled at once; 0 when the weights leave no memory for one, then `sampling` is infinite.
        sampling: seconds of reading prompts and sampling answers.
        judging: seconds.
        updating: seconds, other log-probabilities included.
        flops: of the update.
    """

    at_once: int
    sampling: float
    judging: float
    updating: float
    flops: float

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return self.sampling + self.judging + self.updating


def forecast_step(
    shape: Shape,
    load: StepLoad,
    sampling: SamplingSide,
    judging: Judging,
    recipe: Recipe,
    *,
    shared: bool,
    forwards: int,
    iterations: int,
    mfu: float,
) -> StepForecast:
    """Return the forecast of a step.

    Args:
        shared: whether a group is one row.
        forwards: other sets of log-probabilities, each one forward pass.
        iterations: optimiser steps over one batch of answers, which share its sampling and judging.
    """
    work = load.work(shared=shared)
    flops = count_flops(shape, work, recipe) + forwards * count_forward_flops(shape, work)
    context = load.prompt + load.answer
    at_once = min(count_chats(shape, sampling.memory, context), load.groups * load.answers)
    return StepForecast(
        at_once=at_once,
        sampling=_sampling_seconds(shape, load, sampling, at_once) / iterations,
        judging=judging.batch_seconds / iterations,
        updating=flops / (sampling.gpu.flops * recipe.gpus * mfu),
        flops=flops,
    )


def _sampling_seconds(shape: Shape, load: StepLoad, sampling: SamplingSide, at_once: int) -> float:
    """Return the seconds of reading all prompts once and of sampling all answers; infinite without memory for one."""
    if not at_once:
        return math.inf
    gpu = sampling.gpu
    together = gpu.model_copy(update={"flops": gpu.flops * sampling.gpus, "bandwidth": gpu.bandwidth * sampling.gpus})
    read = 2 * count_multiplied(shape) * load.groups * load.prompt / together.flops
    each = decode_seconds(shape, together, at_once, load.prompt + load.answer)
    return (read + load.sampled / at_once * each) / sampling.reached
