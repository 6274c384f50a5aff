"""Settings of the hardware of an estimate (`estimate.gpu=H200`), and the command line of estimates."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel, Field

from her import config
from her.capacity.gpus import Gpu, find_gpu
from her.errors import HerError, InputError
from her.types import Value

log = logging.getLogger(__name__)
OptionsT = TypeVar("OptionsT", bound=BaseModel)
EstimateT = TypeVar("EstimateT")


class HardwareSettings(Value):
    """Hardware of an estimate.

    Args:
        gpu: a GPU of her/capacity/gpus.py; any other one with `memory`, `tflops` and `bandwidth`.
        memory: memory of the GPU in GB.
        tflops: its bfloat16 rate in TFLOP per second, without sparsity.
        bandwidth: its memory bandwidth in TB per second.
        gpus: GPUs that share the weights.
        mfu: share of the GPU's rate that is expected (model FLOPs utilisation).
        dollars: price of one GPU for an hour; 0 leaves out the cost of the run.
        master: whether bfloat16 weights have a float32 copy beside them (DeepSpeed).
    """

    gpu: str = "H200"
    memory: float = Field(default=0, ge=0)
    tflops: float = Field(default=0, ge=0)
    bandwidth: float = Field(default=0, ge=0)
    gpus: int = Field(default=1, ge=1)
    mfu: float = Field(default=0.4, gt=0, le=1)
    dollars: float = Field(default=0, ge=0)
    master: bool = False


def estimated_gpu(settings: HardwareSettings) -> Gpu:
    """Return the GPU of the estimate: a known one with the given numbers in place of its own, or one that is fully described.

    Raises:
        InputError: an unknown GPU that is not fully described.
    """
    numbers = {
        "memory": settings.memory * 1e9,
        "flops": settings.tflops * 1e12,
        "bandwidth": settings.bandwidth * 1e12,
        "dollars": settings.dollars,
    }
    given = {name: value for name, value in numbers.items() if value}
    if given.keys() >= {"memory", "flops", "bandwidth"}:
        return Gpu(name=settings.gpu, **given)
    try:
        return find_gpu(settings.gpu).model_copy(update=given)
    except InputError as error:
        raise InputError(
            f"estimate.gpu: {error}; for another GPU give estimate.memory, estimate.tflops and estimate.bandwidth"
        ) from error


def print_estimate(
    words: Sequence[str],
    options_type: type[OptionsT],
    estimate: Callable[[OptionsT], EstimateT],
    to_table: Callable[[EstimateT], str],
    to_json: Callable[[EstimateT], str],
) -> int:
    """Run the command line of an estimate; return 0, or 2 after a HerError.

    Args:
        words: settings as `KEY=VALUE` and `FILE.toml`, with or without `@`; `--json` and `--dry-run`.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options, dry_run = config.load(options_type, [_with_at(word) for word in words if word != "--json"])
        if dry_run:
            sys.stdout.write(config.dump(options))
            return 0
        made = estimate(options)
    except HerError as error:
        log.error("%s", " ".join(str(error).split()))
        return 2
    sys.stdout.write(to_json(made) if "--json" in words else to_table(made))
    return 0


def _with_at(word: str) -> str:
    """Add the `@` to a bare file name: no other word of this command line ends in .toml."""
    return f"@{word}" if word.endswith(".toml") and "=" not in word and not word.startswith("@") else word


def format_count(number: float) -> str:
    """Return a number with a unit, such as 4.02B."""
    for size, unit in ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return f"{number:.0f}"


def format_gigabytes(amount: float) -> str:
    """Return bytes as decimal gigabytes without the unit."""
    return f"{amount / 1e9:,.2f}"
