"""Compare two evaluated models case by case: paired differences, tests, and what the comparison could have found at all."""

from collections import Counter
from collections.abc import Iterable, Sequence

from her.errors import InputError
from her.judging.detectable import design_of, minimum_detectable, pilot_noise
from her.judging.statistics import USUAL, Observation, PairedDifference, Uncertainty, paired_difference, with_holm
from her.types import Language, Value
from pipelines.evaluate.scores import CaseScore, Thoughts
from pipelines.evaluate.sheets import AVERAGE, Rates, SheetKey, dimensions, grouped, groups_of, observations, rates_of


class CaseDifference(Value):
    """A case's average in both models."""

    case: str
    book: str
    first: float
    second: float


class ModelComparison(Value):
    """The second model against the first over the cases of both; a positive difference is in favour of the second.

    Args:
        differences: `average` first, then the dimensions, whose p are adjusted by Holm together.
        breakdowns: kind -> group -> difference of the average; these explore, their p are not adjusted.
        overlap: of the overlap with the book's words.
        detectable: difference that this comparison finds in four of five cases, in points; None where it has no interval.
        cases: by size of the difference, the largest gain of the second first.
        verdict: one sentence.
        warnings: sentences on what differs beside the models.
    """

    first: str
    second: str
    protocol: str
    judge: str
    thoughts: Thoughts
    language: Language
    differences: dict[str, PairedDifference]
    breakdowns: dict[str, dict[str, PairedDifference]] = {}
    overlap: dict[str, PairedDifference] = {}
    rates: tuple[Rates, Rates]
    detectable: float | None = None
    cases: tuple[CaseDifference, ...] = ()
    verdict: str
    warnings: tuple[str, ...] = ()


def compare(
    first: Sequence[CaseScore],
    second: Sequence[CaseScore],
    names: tuple[str, str],
    settings: Uncertainty = USUAL,
    across: bool = False,
) -> list[ModelComparison]:
    """Return a comparison for each language and sight of thoughts that both have.

    Args:
        names: of the two in the page, such as the names of their runs.
        across: also where protocol or judge differ, for a control such as anonymised names; the page then says so.

    Raises:
        InputError: nothing can be compared, or one side has several models.
    """
    judged = [grouped(rows)[0] for rows in (first, second)]
    overlaps = [grouped(rows)[1] for rows in (first, second)]
    for side, name in zip(judged, names, strict=True):
        models = sorted({key.model for key in side})
        if len(models) != 1:
            raise InputError(
                f"'{name}' has scores of {len(models)} models ({', '.join(models) or 'none'}); name one: {name}#MODEL"
            )
    found = []
    for before, after in _matched(list(judged[0]), list(judged[1]), across):
        texts = [
            rows.get(key._replace(judge="", thoughts="hidden"), []) for rows, key in zip(overlaps, (before, after), strict=True)
        ]
        rows = (judged[0][before], judged[1][after])
        found.append(_compared(before, after, rows, (texts[0], texts[1]), names, settings))
    if not found:
        sides = [", ".join(sorted({f"{key.protocol} judged by {key.judge}" for key in side})) for side in judged]
        raise InputError(
            f"'{names[0]}' ({sides[0]}) and '{names[1]}' ({sides[1]}) share no protocol and judge; scores compare only within "
            "one: judge both with one judge, or compare across them with --across"
        )
    return found


def _matched(first: list[SheetKey], second: list[SheetKey], across: bool) -> Iterable[tuple[SheetKey, SheetKey]]:
    for before in sorted(first):
        for after in sorted(second):
            same = before.language == after.language and before.thoughts == after.thoughts
            if same and (across or (before.protocol, before.judge) == (after.protocol, after.judge)):
                yield before, after


def _compared(
    before: SheetKey,
    after: SheetKey,
    rows: tuple[Sequence[CaseScore], Sequence[CaseScore]],
    overlap: tuple[Sequence[CaseScore], Sequence[CaseScore]],
    names: tuple[str, str],
    settings: Uncertainty,
) -> ModelComparison:
    shared = [name for name in dimensions(rows[0]) if name in dimensions(rows[1])]
    kept = [[row for row in side if row.dimension in shared] for side in rows]
    whole = AVERAGE if len(shared) > 1 else shared[0] if shared else ""
    if not whole:
        raise InputError(f"'{names[0]}' and '{names[1]}' share no dimension; compare runs of one suite")

    def difference(name: str, sides: Sequence[Sequence[CaseScore]] = kept) -> PairedDifference:
        return paired_difference(observations(sides[0], name), observations(sides[1], name), settings)

    average = difference(whole)
    if not average.estimate.used:
        raise InputError(f"'{names[0]}' and '{names[1]}' have no scored case in common; compare runs over one set of cases")
    others = with_holm({name: difference(name) for name in shared}) if len(shared) > 1 else {}
    found = _detectable(observations(kept[0], whole), observations(kept[1], whole))
    return ModelComparison(
        first=names[0],
        second=names[1],
        protocol=_both(before.protocol, after.protocol),
        judge=_both(before.judge, after.judge),
        thoughts=before.thoughts,
        language=before.language,
        differences={whole: average, **others},
        breakdowns=_breakdowns(kept, difference, whole),
        overlap={name: difference(name, overlap) for name in dimensions(overlap[0]) if name in dimensions(overlap[1])},
        rates=(rates_of(rows[0]), rates_of(rows[1])),
        detectable=found,
        cases=tuple(_cases(observations(kept[0], whole), observations(kept[1], whole))),
        verdict=verdict(average, names, found),
        warnings=tuple(_warnings(before, after, average)),
    )


def verdict(average: PairedDifference, names: tuple[str, str], detectable: float | None) -> str:
    """Return the outcome in one sentence that claims no more than the interval does."""
    estimate = average.estimate
    value = estimate.value or 0.0
    over = f"over {estimate.used} cases of {estimate.clusters} books or seeds"
    if estimate.low is None or estimate.high is None:
        where = f"{names[1]} is {value:+.2f} points from {names[0]} {over}"
        return f"{where}; without an interval ({estimate.reason}) this says nothing."
    interval = f"{value:+.2f} points (95 %: {estimate.low:+.2f} to {estimate.high:+.2f}) {over}"
    if average.found:
        better, worse = (names[1], names[0]) if value > 0 else (names[0], names[1])
        return f"{better} scores higher than {worse}: {interval}, p = {average.p:.4f}."
    least = f"; this comparison finds {detectable:.1f} points in four of five cases" if detectable is not None else ""
    return f"No difference is shown between {names[0]} and {names[1]}: {interval}, p = {average.p:.3f}{least}."


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first} / {second}"


def _breakdowns(kept: Sequence[Sequence[CaseScore]], difference: object, whole: str) -> dict[str, dict[str, PairedDifference]]:
    """Return the differences in groups of cases; a case's group is the first model's, so that both sides have the same cases."""
    groups = {(row.case, kind): group for row in kept[0] for kind, group in groups_of(row).items() if group and kind != "rounds"}
    names = sorted({(kind, group) for (_, kind), group in groups.items()})
    found: dict[str, dict[str, PairedDifference]] = {}
    for kind, group in names:
        sides = [[row for row in side if groups.get((row.case, kind)) == group] for side in kept]
        found.setdefault(kind, {})[group] = difference(whole, sides)  # type: ignore[operator]
    return found


def _detectable(first: Sequence[Observation], second: Sequence[Observation]) -> float | None:
    paired = {each.case: each.cluster for each in first} | {each.case: each.cluster for each in second}
    runs = min(len({each.run for each in side}) for side in (first, second))
    try:
        return minimum_detectable(pilot_noise(first, second), design_of(paired.values(), runs))
    except InputError:  # too few books or runs: there is no interval either, and the estimate says why
        return None


def _cases(first: Sequence[Observation], second: Sequence[Observation]) -> list[CaseDifference]:
    means = [_means(side) for side in (first, second)]
    books = {each.case: each.cluster for each in first}
    both = [case for case in means[0] if case in means[1]]
    found = [CaseDifference(case=case, book=books[case], first=means[0][case], second=means[1][case]) for case in both]
    return sorted(found, key=lambda each: (each.first - each.second, each.case))


def _means(side: Iterable[Observation]) -> dict[str, float]:
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for each in side:
        if each.score is not None:
            sums[each.case] += each.score  # type: ignore[assignment]
            counts[each.case] += 1
    return {case: sums[case] / counts[case] for case in counts}


def _warnings(before: SheetKey, after: SheetKey, average: PairedDifference) -> Iterable[str]:
    if before.protocol != after.protocol:
        yield f"The protocols differ ({before.protocol} and {after.protocol}): the difference is of both, model and protocol."
    if before.judge != after.judge:
        yield f"The judges differ ({before.judge} and {after.judge}): the difference says nothing about the models alone."
    if average.estimate.missing:
        yield f"{average.estimate.missing} cases are left out because one side has no score; if they are hard, this flatters."
    if average.estimate.shift:
        shift = average.estimate.shift
        yield f"Runs of one model lie {shift:.1f} points apart, more than noise explains; the interval counts that."
