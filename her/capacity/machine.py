"""What a machine has: cores, memory, disk, GPUs. Asked of the system and of nvidia-smi; no model package is imported."""

import csv
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from her.types import Value

GIB = 2**30
_FIELDS = "name,memory.total,memory.free,compute_cap,driver_version"
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class InstalledGpu(Value):
    """An NVIDIA GPU. Memory in bytes; `capability` is CUDA's, such as 9.0; from 8.0 on it computes in bfloat16."""

    name: str
    memory: int
    free: int
    capability: float = 0.0
    driver: str = ""


class Machine(Value):
    """What there is, in bytes where it is memory; 0 for what the system does not tell."""

    system: str = ""
    cores: int = 1
    memory: int = 0
    free: int = 0
    disk: int = 0
    gpus: tuple[InstalledGpu, ...] = ()


def probe_machine(folder: Path) -> Machine:
    """This machine; `disk` is what is free where the folder is."""
    memory = _limited(_pages("SC_PHYS_PAGES"))
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=_cores(),
        memory=memory,
        free=min(memory, _available() or memory),
        disk=shutil.disk_usage(folder).free,
        gpus=list_gpus(),
    )


def list_gpus(run: Callable[[Sequence[str]], str] | None = None) -> tuple[InstalledGpu, ...]:
    """The GPUs that nvidia-smi lists; none where it is not installed or finds no driver."""
    if run is None and shutil.which("nvidia-smi") is None:
        return ()
    try:
        said = (run or _output)(["nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"])
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in row] for row in csv.reader(said.splitlines())]
    return tuple(_card(row) for row in rows if len(row) == 5)


def _card(row: list[str]) -> InstalledGpu:
    """A row of nvidia-smi, memory in MiB; what it does not know it writes as [N/A]."""
    name, total, free, capability, driver = row
    memory, left = (int(_number(each)) * 2**20 for each in (total, free))
    return InstalledGpu(name=name, memory=memory, free=left, capability=_number(capability), driver=driver)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return 0.0


def _output(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout


def _cores() -> int:
    """Those this process may use, where the system tells."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _pages(name: str) -> int:
    if name not in os.sysconf_names:
        return 0
    return max(0, os.sysconf(name) * os.sysconf("SC_PAGE_SIZE"))


def _limited(memory: int) -> int:
    """The memory, or what the container may have of it."""
    limits = [path.read_text().strip() for path in map(Path, _CGROUPS) if path.is_file()]
    allowed = [int(limit) for limit in limits if limit.isdecimal()]
    return min([memory, *(limit for limit in allowed if limit > 0)])


def _available() -> int:
    """What Linux says can be had without swapping."""
    path = Path("/proc/meminfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
