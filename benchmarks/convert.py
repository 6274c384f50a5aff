"""Measure how fast finished books become samples, and in how much memory. Run: `python -m benchmarks.convert FOLDER`

FOLDER holds CoSER books (`data/final`). Each is linked 150 times into a new folder, and the shipped command converts the folder
with two workers in a separate process, to transcripts and TRL samples in Parquet. Memory is the sum over the process and its
workers, with shared pages counted once; it is sampled four times a second, because a sample takes time from the workers. Then
the same with every book linked 300 times. Prints one JSON object.
"""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.report import report

COPIES, WORKERS = 150, 2
BAR_MB_S, BAR_MEMORY_MB, BAR_GROWTH = 25.0, 400.0, 1.1


def link(books: list[Path], copies: int, folder: Path) -> int:
    """Fill a folder with links to the books; return the bytes that all links together hold."""
    folder.mkdir()
    for number in range(copies):
        for book in books:
            (folder / f"{book.stem} {number:03}.json").symlink_to(book.resolve())
    return copies * sum(book.stat().st_size for book in books)


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its children in 10^6 bytes, with shared pages counted once (PSS)."""
    tasks = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    total = 0
    for task in tasks:
        for line in Path(f"/proc/{task}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total / 1e6


def run(folder: Path, out: Path) -> tuple[float, float]:
    """Convert a folder; return seconds and peak memory."""
    command = [
        sys.executable,
        "-m",
        "pipelines.synthesize.convert",
        str(folder),
        str(out),
        "--workers",
        str(WORKERS),
    ]
    started = time.perf_counter()
    peak = 0.0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as converter:
        while converter.poll() is None:
            with suppress(FileNotFoundError, ProcessLookupError):  # a worker may end after it was listed
                peak = max(peak, memory_mb(converter.pid))
            time.sleep(0.25)
        took = time.perf_counter() - started
        if converter.returncode:
            raise RuntimeError(converter.stderr.read() if converter.stderr else "the conversion failed")
    return took, peak


def main() -> None:
    """Convert both folders and report."""
    books = sorted(Path(sys.argv[1]).glob("*.json"))
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        size = link(books, COPIES, root / "books")
        took, peak = run(root / "books", root / "out")
        summary = json.loads((root / "out" / "convert.json").read_text())
        link(books, 2 * COPIES, root / "twice")
        _, peak_twice = run(root / "twice", root / "out twice")
    speed = size / took / 1e6
    ok = speed >= BAR_MB_S and max(peak, peak_twice) <= BAR_MEMORY_MB and peak_twice <= peak * BAR_GROWTH
    bar = {"mb_a_second_at_least": BAR_MB_S, "peak_memory_mb_at_most": BAR_MEMORY_MB, "growth_for_twice_at_most": BAR_GROWTH}
    measured = {
        "mb_a_second": round(speed, 1),
        "peak_memory_mb": round(peak, 1),
        "peak_memory_mb_for_twice": round(peak_twice, 1),
        "input_mb": round(size / 1e6, 1),
        "seconds": round(took, 2),
        "transcripts": summary["scenes"],
        "samples": summary["samples"],
        "workers": WORKERS,
    }
    report("convert", bar, measured, ok)


if __name__ == "__main__":
    main()
