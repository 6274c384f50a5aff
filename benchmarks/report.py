"""What every benchmark ends with: one JSON object, with the machine it was measured on."""

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
        bar: what is asked for, by name with its unit.
        measured: what was found, by name with its unit.
        ok: whether every bar holds as measured.
    """
    found = {"benchmark": benchmark, "ok": ok, "bar": dict(bar), "measured": dict(measured), "machine": machine()}
    print(json.dumps(found, ensure_ascii=False), flush=True)


def machine() -> dict[str, Any]:
    """What speed depends on; nothing that tells whose machine it is."""
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
    """Physical memory in 10^9 bytes; None where the system does not say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
