"""Compare two evaluations of one seed byte by byte. Run: `python -m benchmarks.determinism [TEST_SET.json]`

Two processes with different PYTHONHASHSEED play and judge the same cases, against a server whose latency varies, and must write
the same transcripts, scores and report. A third with another seed must not. One chooser in four names nobody, so that speakers
are drawn.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.endpoint import endpoint
from benchmarks.report import report
from benchmarks.wallclock import OWN
from her import paths

FILES = ("transcripts.jsonl", "scores.jsonl", "simulations.jsonl", "report.json", "report.md", "report.html")
BAR = {"different_files": 0, "equal_with_another_seed": 0}


def evaluate(home: Path, spec: str, cases: Path, hash_seed: int, seed: int) -> dict[str, bytes]:
    """Evaluate in a process of its own; return its files."""
    words = [f'cases=["{cases.resolve()}"]', f'actor=["{spec}"]', f'judge=["{spec}"]', f"seed={seed}", "runs=2", "pilot=0"]
    environment = {**os.environ, "HER_HOME": str(home), "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-m", "pipelines.evaluate", *words]
    subprocess.run(command, cwd=paths.ROOT, env=environment, check=True, stderr=subprocess.DEVNULL)
    return {name: (home / "runs/coser" / name).read_bytes() for name in FILES}


def main(words: list[str]) -> None:
    """Measure and print the JSON object."""
    cases = Path(words[0]) if words else OWN
    with tempfile.TemporaryDirectory() as name:
        written = []
        for number, (hash_seed, seed, latency) in enumerate(((1, 42, 0.0), (4242, 42, 0.02), (1, 43, 0.0))):
            with endpoint(latency, 8, scenes=True) as spec:
                # One port for all: it stands in no file, but the test shall not depend on that.
                written.append(evaluate(Path(name) / str(number), spec, cases, hash_seed, seed))
        first, second, other = written
    measured = {
        "different_files": sum(first[each] != second[each] for each in FILES),
        "equal_with_another_seed": int(first["transcripts.jsonl"] == other["transcripts.jsonl"]),
        "bytes": sum(map(len, first.values())),
    }
    report("determinism", BAR, measured, all(measured[each] == bar for each, bar in BAR.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
