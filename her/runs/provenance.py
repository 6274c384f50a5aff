"""Record what a run was started with: process, host, commit of the repository, package versions."""

import os
import platform
import subprocess
import time
from importlib import metadata
from typing import Any

from her import paths

PACKAGES = (
    *("her", "accelerate", "datasets", "openai", "peft", "pyarrow", "pydantic", "ray", "sqlalchemy"),
    *("torch", "transformers", "trl", "vllm"),
)


def start_record(seed: int) -> dict[str, Any]:
    """Return the fields of `RunStatus` that describe this start."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    identity = {"pid": os.getpid(), "host": platform.node()}
    return {**identity, "seed": seed, "commit": current_commit(), "versions": versions, "started": time.time()}


def current_commit() -> str:
    """Return the commit of this checkout, with `+` when tracked files differ from it; empty outside a checkout."""
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(paths.ROOT), *words], capture_output=True, text=True, timeout=10, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.strip() + ("+" if changes.strip() else "")
