"""Read cores, memory, disk and GPUs of this machine from the system and nvidia-smi. No model package is imported."""

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
"""Memory limit of a container: cgroup v2 and v1 (Linux kernel documentation, "Control Group v2")."""


class InstalledGpu(Value):
    """An NVIDIA GPU of this machine.

    Args:
        memory: in bytes; `free` as well. 0 when nvidia-smi does not report it.
        capability: CUDA compute capability, such as 9.0; GPUs from 8.0 (Ampere) on compute in bfloat16.
    """

    name: str
    memory: int
    free: int
    capability: float = 0.0
    driver: str = ""


class Machine(Value):
    """Hardware of a machine. Sizes in bytes; 0 for what the system does not report.

    Args:
        cores: that this process may use.
        memory: of the machine, or of the container it is limited to.
        free: memory that can be used without swapping.
        disk: free bytes where the probed folder is.
    """

    system: str = ""
    cores: int = 1
    memory: int = 0
    free: int = 0
    disk: int = 0
    gpus: tuple[InstalledGpu, ...] = ()


def probe_machine(folder: Path) -> Machine:
    """Return the hardware of this machine; `disk` is measured at `folder`."""
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
    """Return the GPUs that nvidia-smi lists; none where it is not installed or finds no driver.

    Args:
        run: runs a command and returns its output, for tests.
    """
    if run is None and shutil.which("nvidia-smi") is None:
        return ()
    try:
        output = (run or _output)(["nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"])
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in row] for row in csv.reader(output.splitlines())]
    return tuple(_parse_gpu(row) for row in rows if len(row) == 5)  # a message such as "No devices were found" has one cell


def _parse_gpu(row: list[str]) -> InstalledGpu:
    """Parse a row of nvidia-smi with memory in MiB."""
    name, total, free, capability, driver = row
    total_bytes, free_bytes = (int(_number(cell)) * 2**20 for cell in (total, free))
    return InstalledGpu(name=name, memory=total_bytes, free=free_bytes, capability=_number(capability), driver=driver)


def _number(cell: str) -> float:
    """Return the number in a cell; 0 for `[N/A]`, which nvidia-smi writes for what it does not know."""
    try:
        return float(cell)
    except ValueError:
        return 0.0


def _output(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout


def _cores() -> int:
    """Return the cores that this process may use, or all where the system cannot say."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _pages(name: str) -> int:
    """Return the bytes of a page count of sysconf; 0 where the system does not have it (macOS has no free pages)."""
    if name not in os.sysconf_names:
        return 0
    return max(0, os.sysconf(name) * os.sysconf("SC_PAGE_SIZE"))


def _limited(memory: int) -> int:
    """Return the memory, or the container's limit where that is lower."""
    texts = [path.read_text().strip() for path in map(Path, _CGROUPS) if path.is_file()]
    limits = [int(text) for text in texts if text.isdecimal()]  # without a limit cgroup v2 says "max", v1 a huge number
    return min([memory, *(limit for limit in limits if limit > 0)])


def _available() -> int:
    """Return MemAvailable of Linux: memory that can be used without swapping; 0 on other systems."""
    path = Path("/proc/meminfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
