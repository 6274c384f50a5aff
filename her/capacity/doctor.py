"""Report what is installed, which packages conflict and why, and what can run on this machine (`her doctor`).

`diagnose` is pure: an installation, a machine and lists of needs in, a report out. Conflicts come from the table in
compatibility.py and from the requirements that packages declare in their metadata.
"""

from collections.abc import Iterable, Iterator, Mapping

from her import paths
from her.capacity.compatibility import NOTES, RULES, Rule
from her.capacity.installation import (
    Installation,
    applicable_requirements,
    is_inside,
    is_outside,
    package_name,
    read_installation,
)
from her.capacity.machine import GIB, InstalledGpu, Machine, probe_machine
from her.capacity.needs import Needs, Readiness, check_needs
from her.types import Value

SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm", "ray", "gradio", "huggingface-hub", "openai")
"""Packages whose versions are printed."""
COMMANDS = (
    Needs("play", ("gradio", "sqlalchemy", "alembic", "bm25s")),
    Needs("serve", ("vllm",), ("vllm",), gpu=True, cpu_build=True, instead="her play --backend local:CHECKPOINT"),
)
"""Commands that need more than the packages of the command line itself."""
LITTLE_MEMORY, LITTLE_DISK = 2 * GIB, 5 * GIB
"""Below these the report has a note: training the smallest model takes about 2 GiB, the outputs of a run 5 GiB."""
BUILT_FOR_TORCH = ("torchvision", "torchaudio", "torchcodec")
"""Packages with compiled parts that work with one build of torch only: CPU with CPU, CUDA with CUDA."""


class Conflict(Value):
    """Packages that do not work together: name and version of each, the reason, and the command that fixes it."""

    packages: tuple[str, ...]
    reason: str
    fix: str


class DoctorReport(Value):
    """Everything that `her doctor` prints."""

    python: str
    versions: dict[str, str]
    machine: Machine
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()
    readiness: tuple[Readiness, ...] = ()


def examine(needs: Mapping[str, Iterable[Needs]]) -> DoctorReport:
    """Report on this environment and this machine; `needs` as in `diagnose`."""
    return diagnose(read_installation(), probe_machine(paths.home()), needs)


def diagnose(installed: Installation, machine: Machine, needs: Mapping[str, Iterable[Needs]]) -> DoctorReport:
    """Report on an installation and a machine.

    Args:
        needs: kind (such as "backend") -> everything of that kind that may run here.
    """
    versions = installed.by_import_name()
    return DoctorReport(
        python=installed.python,
        versions={name: versions[name] for name in ("her", *SHOWN) if name in versions},
        machine=machine,
        conflicts=tuple(_conflicts(installed, versions)),
        notes=tuple(_notes(versions, machine)),
        readiness=tuple(check_needs(each, kind, installed, machine) for kind, listed in needs.items() for each in listed),
    )


def _conflicts(installed: Installation, versions: Mapping[str, str]) -> Iterator[Conflict]:
    if is_outside(installed.python.rstrip("+"), ">=3.11"):  # Debian marks a patched interpreter as 3.11.2+
        reason = "her needs Python 3.11 or newer"
        yield Conflict(packages=(f"python {installed.python}",), reason=reason, fix="python3.11 -m venv .venv")
    reported: set[frozenset[str]] = set()
    for rule in RULES:
        if _is_broken(rule, versions):
            reported.add(frozenset((rule.package, rule.other)))
            yield Conflict(packages=_with_versions(versions, rule.package, rule.other), reason=rule.reason, fix=rule.fix)
    yield from _mixed_builds(versions)
    yield from _declared_conflicts(installed, versions, reported)


def _is_broken(rule: Rule, versions: Mapping[str, str]) -> bool:
    return is_inside(versions.get(rule.package), rule.when) and is_outside(versions.get(rule.other), rule.needs)


def _mixed_builds(versions: Mapping[str, str]) -> Iterator[Conflict]:
    """Yield a conflict when torch and a package built for it are of different builds."""
    torch = versions.get("torch", "")
    odd = [name for name in BUILT_FOR_TORCH if name in versions and ("+cpu" in versions[name]) != ("+cpu" in torch)]
    if torch and odd:
        yield Conflict(
            packages=_with_versions(versions, "torch", *odd),
            reason=f"{' and '.join(odd)} and torch are of different builds (CPU, CUDA); importing transformers may fail",
            fix=f"pip uninstall -y {' '.join(odd)}",
        )


def _declared_conflicts(
    installed: Installation, versions: Mapping[str, str], reported: set[frozenset[str]]
) -> Iterator[Conflict]:
    """Yield requirements from metadata that are not met, except between packages that are `reported` already."""
    for name, lines in installed.requires.items():
        package = package_name(name)
        for requirement in applicable_requirements(lines):
            other = package_name(requirement.name)
            if frozenset((package, other)) not in reported and is_outside(versions.get(other), str(requirement.specifier)):
                reported.add(frozenset((package, other)))
                yield Conflict(
                    packages=_with_versions(versions, package, other),
                    reason=f"{package} requires {requirement.name}{requirement.specifier}",
                    fix=f"pip install '{requirement.name}{requirement.specifier}'",
                )


def _notes(versions: Mapping[str, str], machine: Machine) -> Iterator[str]:
    for rule in NOTES:
        if _is_broken(rule, versions):
            fix = f"; {rule.fix}" if rule.fix else ""
            yield f"{' and '.join(_with_versions(versions, rule.package, rule.other))}: {rule.reason}{fix}"
    if 0 < machine.free < LITTLE_MEMORY:
        yield f"{machine.free / GIB:.1f} GiB of memory is free; training the smallest model takes about {LITTLE_MEMORY / GIB:.0f}"
    if machine.disk < LITTLE_DISK:
        yield f"{machine.disk / GIB:.1f} GiB of disk is free at HER_HOME; a run of any size takes {LITTLE_DISK / GIB:.0f}"


def _with_versions(versions: Mapping[str, str], *names: str) -> tuple[str, ...]:
    return tuple(f"{name} {versions[name]}" for name in names)


def format_report(report: DoctorReport) -> str:
    """Return the report as text for a person."""
    machine = report.machine
    lines = [
        f"python {report.python}, {machine.system}, {machine.cores} cores",
        f"memory: {_free_of(machine.free, machine.memory)}; disk: {machine.disk / GIB:.1f} GiB free at HER_HOME",
        *(map(_gpu_line, machine.gpus) if machine.gpus else ["no NVIDIA GPU"]),
        "",
        *(f"{name:<18} {version}" for name, version in report.versions.items()),
        "",
        *(f"{each.name:<22} {_state(each)}" for each in report.readiness),
        "",
        *(f"note: {note}" for note in report.notes),
    ]
    for conflict in report.conflicts:
        lines += [f"CONFLICT {' and '.join(conflict.packages)}: {conflict.reason}", f"         {conflict.fix}"]
    return "\n".join(lines if report.conflicts else [*lines, "no conflicts"])


def _gpu_line(gpu: InstalledGpu) -> str:
    return f"GPU {gpu.name}: {_free_of(gpu.free, gpu.memory)}, driver {gpu.driver}"


def _free_of(free: int, memory: int) -> str:
    return f"{free / GIB:.1f} of {memory / GIB:.1f} GiB free"


def _state(readiness: Readiness) -> str:
    return "can run" if readiness.ready else f"cannot run: {readiness.reason}; {readiness.fix}"
