"""Measure how fast finished books become samples, against a floor. Run: `python -m benchmarks.convert FOLDER [--repeats 5]`

FOLDER holds CoSER books (`data/final`). They are linked into folders of 29 MB and 200 MB, and the shipped command converts each
with one and with two workers in turn, in separate processes, warm cache. The floor is one process that reads the same files with
`json.loads` and writes the same rows, which it holds as Python objects before its clock starts, to Parquet. Medians count. Memory
is the sum over the process and its workers, with shared pages counted once; it is sampled four times a second. The share of
processor time that was idle before each run is recorded: on a busy machine compare processor seconds, not seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import report

SIZES = {"small": 29.0, "large": 200.0}
"""Megabytes of input."""
BAR = {
    "small_two_workers_to_floor": 1.6,
    "large_two_workers_to_floor": 1.2,
    "small_one_worker_to_floor": 2.0,
    "large_one_worker_to_floor": 2.0,
    "peak_memory_mb": 400.0,
    "memory_growth": 1.1,
}


def link(books: list[Path], megabytes: float, folder: Path) -> int:
    """Fill a folder with links to the books, at least so many megabytes; return the bytes that all links together hold."""
    folder.mkdir()
    size = number = 0
    while size < megabytes * 1e6:
        for book in books:
            (folder / f"{book.stem} {number:04}.json").symlink_to(book.resolve())
            size += book.stat().st_size
        number += 1
    return size


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its children in 10^6 bytes, with shared pages counted once (PSS)."""
    tasks = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    total = 0
    for task in tasks:
        for line in Path(f"/proc/{task}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total / 1e6


def idle_share(seconds: float = 0.5) -> float:
    """Return the share of all processors' time that was idle while this waited."""

    def counts() -> list[int]:
        return [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]

    before = counts()
    time.sleep(seconds)
    spent = [now - then for now, then in zip(counts(), before, strict=True)]
    return round((spent[3] + spent[4]) / max(1, sum(spent)), 2)


def convert(folder: Path, out: Path, workers: int) -> dict[str, float]:
    """Convert a folder with the shipped command; return seconds, processor seconds and peak memory."""
    command = [sys.executable, "-m", "pipelines.synthesize.convert", str(folder), str(out), "--workers", str(workers)]
    idle, before, started, peak = idle_share(), os.times(), time.perf_counter(), 0.0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as converter:
        while converter.poll() is None:
            with suppress(FileNotFoundError, ProcessLookupError):  # a worker may end after it was listed
                peak = max(peak, memory_mb(converter.pid))
            time.sleep(0.25 if peak else 0.05)
        if converter.returncode:
            raise RuntimeError(converter.stderr.read() if converter.stderr else "the conversion failed")
    took, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return {"seconds": took, "processor_seconds": used, "memory_mb": peak, "idle": idle}


def floor(folder: Path, out: Path) -> dict[str, float]:
    """Run the floor in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.convert", str(folder), "--floor", str(out)]
    figures: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return figures


def run_floor(folder: Path, out: Path) -> None:
    """Read the books and write the rows of a conversion; print seconds, those of the imports included."""
    started, used = time.perf_counter(), time.process_time()
    import pyarrow as pa
    from pyarrow import parquet

    imported, used_by_imports = time.perf_counter() - started, time.process_time() - used
    seconds = processor = 0.0
    for number, path in enumerate(sorted((out / "samples").glob("*.parquet"))):
        table = parquet.read_table(path)
        rows, schema = table.to_pylist(), table.schema
        del table
        started, used = time.perf_counter(), time.process_time()
        with parquet.ParquetWriter(out / f"floor {number}.parquet", schema, compression="zstd") as writer:
            for at in range(0, len(rows), 512):
                writer.write_table(pa.Table.from_pylist(rows[at : at + 512], schema=schema), row_group_size=512)
        seconds, processor = seconds + time.perf_counter() - started, processor + time.process_time() - used
        del rows
    started, used = time.perf_counter(), time.process_time()
    for book in sorted(folder.iterdir()):
        json.loads(book.read_text("utf-8"))
    seconds, processor = seconds + time.perf_counter() - started, processor + time.process_time() - used
    print(json.dumps({"seconds": seconds + imported, "processor_seconds": processor + used_by_imports}))


def measure(folder: Path, root: Path, repeats: int) -> dict[str, Any]:
    """Return medians of floor, one and two workers, measured in turn."""
    found: dict[str, list[dict[str, float]]] = {"one": [], "two": [], "floor": []}
    for _ in range(repeats):
        found["one"].append(convert(folder, root / "one", 1))
        found["two"].append(convert(folder, root / "two", 2))
        found["floor"].append(floor(folder, root / "one"))
    return {name: _medians(runs) for name, runs in found.items()}


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(run[name] for run in runs), 2) for name in runs[0]}


def main() -> None:
    """Convert both folders and report, or be the floor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--floor", type=Path, help="folder of a conversion whose rows are written again")
    chosen = parser.parse_args()
    if chosen.floor:
        run_floor(chosen.folder, chosen.floor)
        return
    books, measured = sorted(chosen.folder.glob("*.json")), {}
    with tempfile.TemporaryDirectory() as place:
        for name, megabytes in SIZES.items():
            root = Path(place) / name
            root.mkdir()
            size = link(books, megabytes, root / "books")
            measured[name] = {"input_mb": round(size / 1e6, 1), **measure(root / "books", root, chosen.repeats)}
    ratios = {}
    for name, figures in measured.items():
        for workers, word in (("one", "one_worker"), ("two", "two_workers")):
            ratios[f"{name}_{word}_to_floor"] = round(figures[workers]["seconds"] / figures["floor"]["seconds"], 2)
            used = figures[workers]["processor_seconds"] / figures["floor"]["processor_seconds"]
            ratios[f"{name}_{word}_to_floor_in_processor_seconds"] = round(used, 2)
    peaks = [measured[name]["two"]["memory_mb"] for name in SIZES]
    ratios |= {"peak_memory_mb": max(peaks), "memory_growth": round(peaks[1] / peaks[0], 2)}
    report("convert", BAR, {**ratios, **measured}, all(ratios[name] <= bar for name, bar in BAR.items()))


if __name__ == "__main__":
    main()
