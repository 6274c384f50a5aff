"""Draw the report and the comparison as one HTML file each, with plots and transcripts; it loads nothing.

Every flaw that the judge named points at its turn. The drawings need matplotlib, which the extra `train` installs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from her.judging.card_plots import interval_plot
from her.judging.card_text import FigureRow
from her.judging.free_metrics import FreeMetrics
from her.judging.statistics import Estimate, PairedDifference
from her.kinds import BY_KIND
from her.types import ENVIRONMENT, Transcript, Turn
from her.view import Viewer, visible_kinds
from pipelines.evaluate import report_text
from pipelines.evaluate.comparison import ModelComparison
from pipelines.evaluate.published import PublishedScore
from pipelines.evaluate.scores import TEXT_METRICS, CaseScore, transcript_id
from pipelines.evaluate.sheets import ScoreSheet

SHOWN_CASES = 5
"""Cases that a comparison shows from each end, with both scenes side by side."""
WORST = 20
"""Flaws in the list of the heaviest ones."""


class FigurePart(NamedTuple):
    """A drawing beside the table of its numbers."""

    name: str
    drawing: Markup
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class SheetPart(NamedTuple):
    """A sheet as the page shows it."""

    sheet: ScoreSheet
    summary: str
    tiles: list[tuple[str, str, str]]
    parts: list[FigurePart]


class ShownPart(NamedTuple):
    """Part of a turn: its class on the page, its label where it is a panel, and its text."""

    css: str
    label: str
    text: str


class ShownFlaw(NamedTuple):
    """A flaw with the anchor of its turn; an empty anchor where the judge named none."""

    anchor: str
    number: int
    dimension: str
    kind: str
    severity: str
    text: str
    play: str
    weight: float


class ShownTurn(NamedTuple):
    """A turn with its anchor and the flaws that point at it."""

    anchor: str
    number: int
    speaker: str
    css: str
    parts: list[ShownPart]
    flaws: list[ShownFlaw]


class ShownPlay(NamedTuple):
    """One simulated case with its scores."""

    anchor: str
    case: str
    title: str
    scores: list[tuple[str, str]]
    turns: list[ShownTurn]
    flaws: list[ShownFlaw]


def report_page(
    title: str,
    notes: Sequence[str],
    sheets: Sequence[ScoreSheet],
    free: Mapping[str, Mapping[str, FreeMetrics]],
    published: Sequence[PublishedScore],
    scores: Iterable[CaseScore],
    transcripts: Mapping[str, Transcript],
) -> str:
    """Return the page of a run; every text is escaped."""
    plays = list(shown_plays(scores, transcripts))
    flaws = sorted((flaw for play in plays for flaw in play.flaws), key=lambda flaw: -flaw.weight)
    return page_of(
        "report.html.jinja",
        title=title,
        notes=notes,
        sheets=[_sheet(sheet) for sheet in sheets],
        free=[
            (model, report_text.LANGUAGES[language], report_text.free_rows(figures))
            for model, languages in free.items()
            for language, figures in languages.items()
        ],
        plays=plays,
        worst=[flaw for flaw in flaws if flaw.anchor][:WORST],
        flaws=len(flaws),
        pointed=sum(bool(flaw.anchor) for flaw in flaws),
        published=[(each, report_text.estimate_text(_published(each))) for each in published],
    )


def comparison_page(
    found: Sequence[ModelComparison],
    free: Sequence[Mapping[str, FreeMetrics]],
    scores: tuple[Sequence[CaseScore], Sequence[CaseScore]],
    transcripts: tuple[Mapping[str, Transcript], Mapping[str, Transcript]],
) -> str:
    """Return the page that compares two runs, with the cases that differ most side by side."""
    wanted = _telling_cases(found)
    sides = [
        _plays_by_case(shown_plays([row for row in rows if row.case in wanted], known, prefix))
        for rows, known, prefix in zip(scores, transcripts, ("a", "b"), strict=True)
    ]
    return page_of(
        "comparison.html.jinja",
        first=found[0].first,
        second=found[0].second,
        comparisons=[(each, report_text.comparison_heading(each), _difference_parts(each), _rates(each)) for each in found],
        free=[
            (report_text.LANGUAGES[language], _both_rows(free[0][language], free[1][language]))
            for language in sorted(set(free[0]) & set(free[1]))
        ],
        cases=[(case, difference, sides[0].get(case, []), sides[1].get(case, [])) for case, difference in wanted.items()],
    )


def shown_plays(scores: Iterable[CaseScore], transcripts: Mapping[str, Transcript], prefix: str = "p") -> Iterable[ShownPlay]:
    """Yield the plays with their transcripts, in the order of the scores; one without a transcript shows its scores alone."""
    rows: dict[tuple[str, int, str], list[CaseScore]] = defaultdict(list)
    for row in scores:
        rows[row.case, row.run, row.model].append(row)
    several = len({model for _, _, model in rows}) > 1
    for number, ((case, run, model), each) in enumerate(sorted(rows.items()), 1):
        anchor = f"{prefix}{number}"
        transcript = transcripts.get(transcript_id(case, run, model))
        turns = transcript.turns if transcript is not None else ()
        title = f"{case}, run {run + 1}" + (f", {model}" if several else "")
        flaws = list(_flaws(each, turns, anchor, title))
        shown = [_turn(turn, place, anchor, flaws) for place, turn in enumerate(turns, 1)]
        yield ShownPlay(anchor, case, title, _scores(each), shown, flaws)


def _scores(rows: Sequence[CaseScore]) -> list[tuple[str, str]]:
    several = len({row.thoughts for row in rows if row.dimension not in TEXT_METRICS}) > 1
    found = []
    for row in rows:
        name = report_text.words(row.dimension)
        if several and row.dimension not in TEXT_METRICS:
            name += f", thoughts {row.thoughts}"
        digits = 3 if row.dimension in TEXT_METRICS else 1
        found.append((name, f"missing: {row.missing}" if row.score is None else f"{row.score:.{digits}f}"))
    return found


def _flaws(rows: Iterable[CaseScore], turns: Sequence[Turn], anchor: str, title: str) -> Iterable[ShownFlaw]:
    places = {turn.id: number for number, turn in enumerate(turns, 1)}
    for row in rows:
        for flaw in row.flaws:
            number = places.get(flaw.turn, 0)
            severity = "not counted" if flaw.severity is None else f"{flaw.severity:g}"
            where = f"{anchor}-t{number}" if number else ""
            dimension = report_text.words(row.dimension)
            yield ShownFlaw(where, number, dimension, flaw.kind, severity, flaw.text, title, flaw.severity or 0)


def _turn(turn: Turn, number: int, anchor: str, flaws: Sequence[ShownFlaw]) -> ShownTurn:
    kinds = visible_kinds(Viewer(kind="person"), turn.speaker)
    parts = [ShownPart(BY_KIND[part.kind].css, BY_KIND[part.kind].label, part.text) for part in turn.parts if part.kind in kinds]
    css = "environment" if turn.speaker == ENVIRONMENT else ""
    return ShownTurn(f"{anchor}-t{number}", number, turn.speaker, css, parts, [flaw for flaw in flaws if flaw.number == number])


def _sheet(sheet: ScoreSheet) -> SheetPart:
    tiles = [
        (report_text.UNKNOWN if each.value is None else f"{each.value:.1f}", _half(each), report_text.words(name))
        for name, each in sheet.figures.items()
    ]
    where = f"{sheet.model}, {sheet.thoughts}, {sheet.language}"
    head = ("score", "value (95 %)", "cases", "missing")
    shown = [FigureRow(report_text.words(name), each.interval, "") for name, each in sheet.figures.items()]
    rows = [_row(name, each) for name, each in sheet.figures.items()]
    rows += [_row(name, each, 4) for name, each in sheet.overlap.items()]
    caption = "Dot and line: mean over cases and its 95 % interval over whole books; a dot alone has no interval."
    parts = [FigurePart("Scores", Markup(interval_plot(shown, f"Scores: {where}")), caption, head, rows)]
    for kind, groups in sheet.breakdowns.items():
        name = report_text.words(kind).capitalize()
        shown = [FigureRow(report_text.words(group), each.interval, "") for group, each in groups.items()]
        drawing = Markup(interval_plot(shown, f"{name}: {where}"))
        rows = [_row(group, each) for group, each in groups.items()]
        parts.append(FigurePart(name, drawing, "", (name, "value (95 %)", "cases", "missing"), rows))
    if sheet.noise:
        parts.append(_noise(sheet.noise, where))
    parts.append(FigurePart("Beside the scores", Markup(""), "", ("", "rate"), report_text.rate_rows(sheet.rates)))
    if sheet.reasons:
        reasons = [(why, f"{count}") for why, count in sheet.reasons.items()]
        parts.append(FigurePart("Missing judgements", Markup(""), "", ("why", "judgements"), reasons))
    return SheetPart(sheet, report_text.summary(sheet), tiles, parts)


def _noise(noise: Mapping[str, PairedDifference], where: str) -> FigurePart:
    rows = [FigureRow(report_text.words(name), each.estimate.interval, "", 0.0) for name, each in noise.items()]
    numbers = [
        (report_text.words(name), report_text.difference_text(each), report_text.p_text(each.p)) for name, each in noise.items()
    ]
    caption = "Second run less first, of the same model: what is not larger than this is noise."
    drawing = Markup(interval_plot(rows, f"Noise: {where}"))
    return FigurePart("Two runs of this model", drawing, caption, ("score", "difference (95 %)", "p"), numbers)


def _difference_parts(found: ModelComparison) -> list[FigurePart]:
    where = report_text.comparison_heading(found)
    caption = f"{found.second} less {found.first}: right of 0 is in favour of {found.second}."
    head = ("score", "second less first (95 %)", "cases", "left out", "p (Holm)")
    parts = [_differences("Differences", found.differences, where, caption, head)]
    for kind, groups in found.breakdowns.items():
        name = report_text.words(kind).capitalize()
        parts.append(
            _differences(name, groups, where, "These groups explore; their p are not adjusted.", (name, *head[1:4], "p"))
        )
    if found.overlap:
        parts.append(_differences("Overlap with the book", found.overlap, where, "0 to 1; no quality.", (*head[:4], "p")))
    return parts


def _differences(
    name: str, differences: Mapping[str, PairedDifference], where: str, caption: str, head: Sequence[str]
) -> FigurePart:
    rows = [FigureRow(report_text.words(each), one.estimate.interval, "", 0.0) for each, one in differences.items()]
    numbers = [
        (
            report_text.words(each),
            report_text.difference_text(one),
            f"{one.estimate.used}",
            f"{one.estimate.missing}",
            report_text.p_text(one.adjusted),
        )
        for each, one in differences.items()
    ]
    return FigurePart(name, Markup(interval_plot(rows, f"{name}: {where}")), caption, head, numbers)


def _rates(found: ModelComparison) -> list[tuple[str, str, str]]:
    before, after = (dict(report_text.rate_rows(rates)) for rates in found.rates)
    return [(name, before[name], after[name]) for name in before]


def _both_rows(first: FreeMetrics, second: FreeMetrics) -> list[tuple[str, str, str]]:
    before, after = dict(report_text.free_rows(first)), dict(report_text.free_rows(second))
    unknown = report_text.UNKNOWN
    return [(name, before.get(name, unknown), after.get(name, unknown)) for name in {**before, **after}]


def _telling_cases(found: Sequence[ModelComparison]) -> dict[str, str]:
    """Return the cases with the largest differences either way, and the difference in words."""
    cases = found[0].cases
    ends = [*cases[:SHOWN_CASES], *cases[max(SHOWN_CASES, len(cases) - SHOWN_CASES) :]]
    return {each.case: f"{each.first:.1f} and {each.second:.1f}" for each in ends if each.first != each.second}


def _plays_by_case(plays: Iterable[ShownPlay]) -> dict[str, list[ShownPlay]]:
    found: dict[str, list[ShownPlay]] = defaultdict(list)
    for play in plays:
        found[play.case].append(play)
    return found


def _row(name: str, estimate: Estimate, digits: int = 2) -> tuple[str, str, str, str]:
    text = report_text.estimate_text(estimate, digits)
    return report_text.words(name), text, f"{estimate.used}", f"{estimate.missing}"


def _half(estimate: Estimate) -> str:
    return "" if estimate.low is None or estimate.high is None else f"{estimate.low:.1f} to {estimate.high:.1f}"


def _published(score: PublishedScore) -> Estimate:
    low, high = score.interval or (None, None)
    return Estimate(value=score.score, low=low, high=high)


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True, undefined=StrictUndefined)


def page_of(template: str, **values: Any) -> str:
    """Return a page of this package with these values, every text escaped."""
    return _environment().get_template(template).render(**values)
