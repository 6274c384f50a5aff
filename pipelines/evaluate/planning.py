"""Say what a planned evaluation could show, from the scores of a pilot: `her eval detectable PILOT [OTHER]`."""

from collections.abc import Iterator, Sequence

from her.errors import InputError
from her.judging.detectable import EvaluationDesign, minimum_detectable, pilot_noise
from her.judging.statistics import Observation
from pipelines.evaluate.report import read_run
from pipelines.evaluate.sheets import AVERAGE, SheetKey, dimensions, grouped, observations


def detectable_lines(pilot: str, other: str, cases: int, books: int, runs: int, power: float) -> Iterator[str]:
    """Yield the smallest difference of each figure, in points of its scale.

    Raises:
        InputError: more books than cases, a pilot without two runs, or a design without an interval.
    """
    if books > cases:
        raise InputError(f"{cases} cases cannot be of {books} books or seeds; give at least as many cases as books")
    first = _judged(pilot)
    second = _judged(other) if other else {}
    if other and not first.keys() & second.keys():
        raise InputError(f"'{pilot}' and '{other}' share no protocol and judge; a pilot pairs two models under one")
    design = EvaluationDesign(tuple(cases // books + (number < cases % books) for number in range(books)), runs)
    for key in sorted(first.keys() & second.keys() if other else first):
        yield f"{key.protocol}, judged by {key.judge}, thoughts {key.thoughts}, {key.language}:"
        for name, scores in first[key].items():
            if other and name not in second[key]:
                continue
            least = minimum_detectable(pilot_noise(scores, second[key][name] if other else None), design, power)
            bound = "" if other else " at the least: what the two models differ by in single cases is unknown"
            yield f"  {name.replace('_', ' ')}: {least:.2f} points{bound}"
    yield f"{cases} cases of {books} books or seeds, {runs} runs of each model; found in {power:.0%} of such evaluations."


def _judged(spec: str) -> dict[SheetKey, dict[str, Sequence[Observation]]]:
    """Return the scores of one model by sheet, whatever its name, and figure."""
    judged, _ = grouped(read_run(spec).scores)
    if len({key.model for key in judged}) != 1:
        raise InputError(f"'{spec}' has scores of {len({key.model for key in judged})} models; name one: {spec}#MODEL")
    found: dict[SheetKey, dict[str, Sequence[Observation]]] = {}
    for key, rows in judged.items():
        names = dimensions(rows)
        shown = [AVERAGE, *names] if len(names) > 1 else names
        found[key._replace(model="")] = {name: observations(rows, name) for name in shown}
    return found
