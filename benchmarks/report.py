"""Print the JSON object that every benchmark ends with, and describe the machine it was measured on."""

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def report(benchmark: str, bar: Mapping[str, Any], measured: Mapping[str, Any], ok: bool) -> None:
    """Print the object as the last line of the output.

    Args:
        bar: required figures by name; the name ends with the unit.
        measured: measured figures by name; the name ends with the unit.
        ok: true when every bar holds.
    """
    line = {"benchmark": benchmark, "ok": ok, "bar": dict(bar), "measured": dict(measured), "machine": machine()}
    print(json.dumps(line, ensure_ascii=False), flush=True)


def machine() -> dict[str, Any]:
    """Return what speed depends on, and nothing that identifies the machine."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    """Return the physical memory in 10^9 bytes, or None where the system does not report it."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
