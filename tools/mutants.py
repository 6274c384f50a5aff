"""Change the code in a sample of places, one at a time, and see whether the unit tests notice.

    python -m tools.mutants --sample 300 --seed 1        (also `make mutants`; about 40 minutes on two cores)

cosmic-ray finds the places and makes the changes (`==` becomes `!=`, `and` becomes `or`, 1 becomes 2, a loop runs no times ...).
Each mutant runs in a copy of the repository against the unit tests of its package, those of its own module first; it is killed
when a test fails, the tests run out of time or the module no longer imports. Survivors are printed. A mutant that no test can
kill stands in tools/equivalent_mutants.toml with the reason. Fails below 85 % killed, or with more than 5 % equivalent.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from queue import SimpleQueue

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "her/format": ("tests/format",),
    "her/view.py": ("tests/test_view.py",),
    "her/store": ("tests/store", "tests/feedback/test_preferences.py"),
    "her/inference": ("tests/inference",),
    "her/training_data": ("tests/training_data",),
}
"""What is changed -> the tests that should notice."""
SKIPPED_FOLDERS = {"migrations"}
SAME_MEANING = ("Is_Eq", "IsNot_NotEq", "Eq_Is", "NotEq_IsNot")
"""Replacements that mean the same for None, and for short texts by CPython's interning: no test can tell them apart."""
LEAST_KILLED, MOST_EQUIVALENT = 0.85, 0.05
EQUIVALENTS = ROOT / "tools" / "equivalent_mutants.toml"
COPIED = ("her", "personas", "pipelines", "tests", "docs", "pyproject.toml", "README.md")


PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "--hypothesis-seed=0", "-m", "not browser and not whole")

Copies = SimpleQueue[Path]


@dataclass(frozen=True)
class Mutant:
    """One change: an operator of cosmic-ray at one of its occurrences in a file."""

    package: str
    path: str
    line: int
    operator: str
    occurrence: int

    @property
    def family(self) -> str:
        """The replaced thing, such as `core/ReplaceComparisonOperator_Eq`, whatever by."""
        return self.operator.rpartition("_")[0] or self.operator

    def code(self) -> str:
        """Return the text of the changed file."""
        return str(mutate_code((ROOT / self.path).read_text("utf-8"), get_operator(self.operator)(), self.occurrence))

    def can_be_made(self) -> bool:
        """Return False for `except module.Error`, at which cosmic-ray's replacement of exceptions breaks (8.7)."""
        try:
            return bool(self.code())
        except AttributeError:
            return False

    def change(self) -> tuple[str, str]:
        """Return the first changed line, before and after."""
        before, after = (ROOT / self.path).read_text("utf-8").splitlines(), self.code().splitlines()
        pairs = ((old.strip(), new.strip()) for old, new in zip_longest(before, after, fillvalue="") if old != new)
        return next(pairs, ("", ""))


def main(words: Sequence[str]) -> int:
    """Return 0 when enough mutants are killed and few enough are listed as equivalent, else 1."""
    parser = argparse.ArgumentParser(description="Mutate a sample of the code and run its unit tests.")
    parser.add_argument("--sample", type=int, default=300, help="how many mutants, spread evenly over the packages")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other places")
    parser.add_argument("--workers", type=int, default=2, help="how many run at a time")
    options = parser.parse_args(words)
    began = time.monotonic()
    chosen, known = sample(options.sample, random.Random(options.seed)), equivalents()
    equivalent = [mutant for mutant in chosen if (mutant.path, *mutant.change()) in known]
    tried = [mutant for mutant in chosen if mutant not in equivalent]
    survivors = run(tried, options.workers)
    passed = report(tried, survivors, equivalent)
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return 0 if passed else 1


def equivalents() -> set[tuple[str, str, str]]:
    """Return (file, line before, line after) of the listed equivalent mutants; a listing without a reason does not count."""
    entries = tomllib.loads(EQUIVALENTS.read_text("utf-8")).get("equivalent", [])
    return {(entry["file"], entry["before"], entry["after"]) for entry in entries if entry["reason"].strip()}


def sample(count: int, chance: random.Random) -> list[Mutant]:
    """Draw places in turn from each package, and at each place one of its possible changes."""
    queues = []
    for package in PACKAGES:
        places: dict[tuple[str, int, str], list[Mutant]] = {}
        for mutant in mutants_of(package):
            places.setdefault((mutant.path, mutant.line, mutant.family), []).append(mutant)
        one_each = [chance.choice(place) for place in places.values()]
        queues.append(chance.sample(one_each, len(one_each)))
    in_turn = (mutant for turn in zip_longest(*queues) for mutant in turn if mutant is not None and mutant.can_be_made())
    return list(islice(in_turn, count))


def mutants_of(package: str) -> Iterator[Mutant]:
    """Yield every change of a package, or of one file, that may change what the program does."""
    files = [ROOT / package] if package.endswith(".py") else sorted((ROOT / package).rglob("*.py"))
    for file in files:
        if SKIPPED_FOLDERS & set(file.parts):
            continue
        nodes, types = list(ast_nodes(get_ast_from_path(file))), spans_of_types(file)
        for name in operator_names():
            operator = get_operator(name)
            if operator.arguments() or name.endswith(SAME_MEANING):
                continue
            positions = (position for node in nodes for position, _ in operator().mutation_positions(node))
            for occurrence, position in enumerate(positions):
                if not any(start <= position < end for start, end in types):
                    yield Mutant(package, file.relative_to(ROOT).as_posix(), position[0], name, occurrence)


def spans_of_types(file: Path) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return (line, column) spans of annotations and of `A | B` at module level: a changed type hint changes no behaviour."""
    tree = ast.parse(file.read_text("utf-8"))
    nodes: list[ast.expr | None] = [node.value for node in tree.body if isinstance(node, ast.Assign) and is_union(node.value)]
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            nodes.append(node.returns)
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            nodes.append(node.annotation)
    spans = [(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset) for node in nodes if node is not None]
    return [((line, column), (end or 0, end_column or 0)) for line, column, end, end_column in spans]


def is_union(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def run(mutants: Sequence[Mutant], workers: int) -> list[Mutant]:
    """Return the mutants that survive; each worker has a copy of the repository."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        folders = [copy_repository(Path(folder) / str(number)) for number in range(workers)]
        limits = list(pool.map(time_limits, folders))
        copies: Copies = SimpleQueue()
        for copy in folders:
            copies.put(copy)
        limit = {package: max(each[package] for each in limits) for package in PACKAGES}
        killed = list(pool.map(lambda mutant: is_killed(mutant, copies, limit[mutant.package]), mutants))
    return [mutant for mutant, dead in zip(mutants, killed, strict=True) if not dead]


def copy_repository(target: Path) -> Path:
    """Copy what the tests need, and return the folder."""
    target.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)
    return target


def time_limits(copy: Path) -> dict[str, float]:
    """Run the tests of each package without a change, which also writes the byte code; return seconds to wait for a mutant."""
    limits = {}
    for package, tests in PACKAGES.items():
        began = time.monotonic()
        answer = subprocess.run([*PYTEST, *tests], cwd=copy, env=environment(copy), capture_output=True, text=True)
        if answer.returncode:
            raise SystemExit(f"the tests of {package} fail without any change; mend them first:\n{answer.stdout[-2000:]}")
        limits[package] = 30 + 3 * (time.monotonic() - began)
    return limits


def environment(copy: Path) -> Mapping[str, str]:
    """The copy's own `her` comes before the installed one; sets have the same order in each run."""
    return {**os.environ, "PYTHONPATH": str(copy), "PYTHONHASHSEED": "0"}


def is_killed(mutant: Mutant, copies: Copies, limit: float) -> bool:
    """Run the tests against the changed file in one of the copies, then restore the file."""
    copy = copies.get()
    file = copy / mutant.path
    times, original = file.stat(), file.read_text("utf-8")
    try:
        file.write_text(mutant.code(), "utf-8")
        return not tests_pass(mutant, copy, limit)
    finally:
        file.write_text(original, "utf-8")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # byte code is keyed by this time: it is valid again
        copies.put(copy)


def tests_pass(mutant: Mutant, copy: Path, limit: float) -> bool:
    """Run the tests of the mutant's own module first: they are the likeliest to fail."""
    tests = PACKAGES[mutant.package]
    own = [name for folder in tests if (copy / (name := f"{folder}/test_{Path(mutant.path).name}")).is_file()]
    # No byte code of a mutant may stay: the next one can have the same size and second.
    unwritten = {**environment(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        answer = subprocess.run([*PYTEST, *own, *tests], cwd=copy, env=unwritten, capture_output=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


def report(tried: Sequence[Mutant], survivors: Sequence[Mutant], equivalent: Sequence[Mutant]) -> bool:
    """Print survivors and shares; return whether the bars hold."""
    for mutant in sorted(survivors, key=lambda each: (each.path, each.line)):
        before, after = mutant.change()
        print(f"survived {mutant.path}:{mutant.line} {mutant.operator}\n  - {before}\n  + {after}")
    total, alive = (Counter(mutant.package for mutant in mutants) for mutants in (tried, survivors))
    for package in PACKAGES:
        print(f"{package:20} {total[package] - alive[package]:4} of {total[package]:4} killed")
    share = 1 - len(survivors) / max(1, len(tried))
    same = len(equivalent) / max(1, len(tried) + len(equivalent))
    print(
        f"{share:.1%} of {len(tried)} killed (at least {LEAST_KILLED:.0%}); {same:.1%} equivalent (at most {MOST_EQUIVALENT:.0%})"
    )
    return share >= LEAST_KILLED and same <= MOST_EQUIVALENT


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
