"""Fit a checkpoint to a machine for vLLM: number of GPUs, context length, number format, key-value cache on a CPU."""

from typing import NamedTuple

from her.capacity.machine import GIB, Machine
from her.deploy.checkpoints import Checkpoint
from her.errors import InputError

DEFAULT_CONTEXT = 8192
"""Tokens, for a checkpoint whose config does not name its context."""
_SHARE = 0.9
"""Share of a GPU's memory that vLLM uses by default (gpu_memory_utilization)."""
_RESERVE = 2 * GIB
"""Bytes for activations, CUDA graphs and the program itself."""
_LEAST_CONTEXT = 1024
"""Tokens; a shorter context holds no chat."""
_BFLOAT16 = 8.0
"""First CUDA compute capability that computes in bfloat16 (Ampere)."""


class Fit(NamedTuple):
    """Settings with which a checkpoint is served on a machine. `context` is in tokens, `dtype` as vLLM spells it."""

    gpus: int
    context: int
    dtype: str
    notes: tuple[str, ...]


def fit_checkpoint(checkpoint: Checkpoint, machine: Machine, context: int = 0, refuse: bool = True) -> Fit:
    """Fit a checkpoint to a machine.

    Args:
        context: wanted tokens of prompt and reply; 0 takes the checkpoint's own, as far as memory allows.
        refuse: raise when there is no room, instead of a note; False for a command that runs on another machine.

    Raises:
        InputError: a context that the checkpoint does not support, or no room for it.
    """
    gpus = count_gpus(checkpoint, machine, context)
    tokens, notes = choose_context(checkpoint, machine, gpus, context, refuse)
    return Fit(gpus, tokens, served_dtype(checkpoint.dtype, machine), tuple(notes))


def count_gpus(checkpoint: Checkpoint, machine: Machine, context: int = 0) -> int:
    """Return the fewest GPUs that hold the weights and one full conversation; the attention heads must divide evenly."""
    wanted = context or checkpoint.context or DEFAULT_CONTEXT
    # Tensor parallelism splits attention by heads, so their number must be divisible.
    able = [1, *(count for count in range(2, len(machine.gpus) + 1) if checkpoint.heads and not checkpoint.heads % count)]
    for count in able:
        room = _cache_room(checkpoint, machine, count)
        if room is None or room >= wanted * _cache_per_token(checkpoint, machine):
            return count
    return able[-1]


def choose_context(
    checkpoint: Checkpoint, machine: Machine, gpus: int, context: int = 0, refuse: bool = True
) -> tuple[int, list[str]]:
    """Return the tokens of prompt and reply, with notes on what does not fit. Raises as `fit_checkpoint`."""
    longest = checkpoint.context or context or DEFAULT_CONTEXT
    if context > longest:
        raise InputError(f"'{checkpoint.name}' supports {longest} tokens; give --context {longest} or less")
    wanted = context or longest
    room, per_token = _cache_room(checkpoint, machine, gpus), _cache_per_token(checkpoint, machine)
    fits = wanted if room is None or not per_token else min(wanted, max(0, room) // per_token)
    if fits >= wanted:
        return wanted, []
    where = f"{f'{gpus} x ' if gpus > 1 else ''}{machine.gpus[0].name}" if machine.gpus else "this machine"
    if fits < min(wanted, _LEAST_CONTEXT):
        problem = (
            f"'{checkpoint.name}' has {checkpoint.size / GIB:.1f} GiB of weights and {where} has no room for them and a chat of "
            f"{min(wanted, _LEAST_CONTEXT)} tokens; serve it where there is more memory, or a smaller model"
        )
        if refuse:
            raise InputError(problem)
        return wanted, [problem]
    if context:
        raise InputError(f"{where} has room for {fits} tokens of '{checkpoint.name}', not {wanted}; give --context {fits}")
    fits -= fits % 256  # a round number; vLLM allocates the cache in blocks of 16 tokens
    return fits, [f"{where} has room for {fits} of the {wanted} tokens that the checkpoint supports"]


def served_dtype(stored: str, machine: Machine) -> str:
    """Return the number format for serving: on a GPU bfloat16 where it is supported, on a CPU the stored one.

    A CPU gets bfloat16 in place of float16, which is slow there.
    """
    if not machine.gpus:
        return "bfloat16" if stored == "float16" else stored
    # float16 stays float16: converting to bfloat16 would lose 3 bits of precision.
    if stored == "float16" or any(0 < gpu.capability < _BFLOAT16 for gpu in machine.gpus):
        return "float16"
    return "bfloat16"


def cpu_cache_variables(machine: Machine, bytes_per_chat: int) -> list[str]:
    """Return the environment variable with vLLM's key-value cache on a CPU, in GiB; nothing on a GPU.

    Eight conversations, at most half of the free memory, and at least 1 GiB.
    """
    if machine.gpus:
        return []
    most = max(1, machine.free // 2 // GIB) if machine.free else 4
    return [f"VLLM_CPU_KVCACHE_SPACE={max(1, min(most, -(-8 * bytes_per_chat // GIB)))}"]


def _cache_room(checkpoint: Checkpoint, machine: Machine, gpus: int) -> int | None:
    """Return the bytes for the key-value cache on so many GPUs, or on the CPU; None when the memory is not known."""
    weights = checkpoint.size // 2 if _is_halved(checkpoint, machine) else checkpoint.size
    if machine.gpus:
        smallest = min(gpu.memory for gpu in machine.gpus[:gpus])
        return gpus * (int(smallest * _SHARE) - _RESERVE) - weights if smallest else None
    if not machine.free:
        return None
    return machine.free - weights - _RESERVE


def _cache_per_token(checkpoint: Checkpoint, machine: Machine) -> int:
    """Return the bytes of the key-value cache of one token in the number format that is served."""
    return checkpoint.cache // 2 if _is_halved(checkpoint, machine) else checkpoint.cache


def _is_halved(checkpoint: Checkpoint, machine: Machine) -> bool:
    """Return whether weights and cache take half of their stored size: float32 is served in 16 bits on a GPU."""
    return checkpoint.dtype == "float32" and served_dtype(checkpoint.dtype, machine) != "float32"
