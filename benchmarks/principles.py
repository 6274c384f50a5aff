"""Make principles in planted worlds and count what is kept. Run: `python -m benchmarks.principles [--seeds 20]`

Each seed draws 5 of 20 traits as hidden rules of 400 pairs; the rule-based teacher names any trait that tells a pair apart, so
most candidates are noise. Bars: at least .90 of the rules are kept, and at most .10 of the kept principles are no rules.
"""

import argparse
import logging
import os
import tempfile

from benchmarks.report import report
from pipelines.principles.__main__ import run
from pipelines.principles.made import PlantedFigures, RunFigures
from pipelines.principles.options import ContrastOptions, PlantedWorld, PrinciplesOptions

BARS = {"found": 0.90, "false": 0.10}


def planted(seed: int) -> PlantedFigures:
    """Run one world; return its figures."""
    pairs = ContrastOptions(planted=PlantedWorld(pairs=400))
    page = run(PrinciplesOptions(name=f"principles-{seed}", seed=seed, pairs=pairs))
    figures = RunFigures.model_validate_json((page.parent / "report.json").read_text("utf-8"))
    assert figures.planted is not None
    return figures.planted


def main() -> None:
    """Run all seeds and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as home:
        os.environ["HER_HOME"] = home
        rows = [planted(seed) for seed in range(seeds)]
    found, false = sum(row.found for row in rows), sum(row.false for row in rows)
    measured = {
        "found": round(found / sum(row.rules for row in rows), 3),
        "false": round(false / max(1, found + false), 3),
        "seeds": seeds,
        "kept": found + false,
        "worst_seed_found": min(row.found for row in rows),
    }
    report("principles", BARS, measured, measured["found"] >= BARS["found"] and measured["false"] <= BARS["false"])


if __name__ == "__main__":
    main()
