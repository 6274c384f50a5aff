"""Write the report of an evaluation run from its scores and transcripts, and the comparison of two runs.

    her eval report RUN
    her eval compare A B

Files in the run's folder: `report.json`, `report.md`, `report.html` and `.eval_results/SUITE.yaml`; with the package `inspect-ai`
installed also a log that its viewer opens. The same scores give the same bytes.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from her.errors import InputError
from her.files import jsonl
from her.files.atomic import replacing
from her.judging.free_metrics import FreeMetrics, transcript_metrics
from her.judging.statistics import USUAL, Uncertainty
from her.runs.folder import run_folder
from her.types import Language, Transcript, Value
from pipelines.evaluate import comparison, inspect_log, report_page, report_text
from pipelines.evaluate.comparison import ModelComparison
from pipelines.evaluate.hub_results import results_yaml
from pipelines.evaluate.judge_calibration import OWN_CARD, calibration_lines
from pipelines.evaluate.published import published_for
from pipelines.evaluate.scores import SCORES_FILE, TRANSCRIPTS_FILE, CaseScore, transcript_id
from pipelines.evaluate.sheets import ScoreSheet, sheets

REPORT, COMPARISON = "report", "comparison"


class EvaluationReport(Value):
    """All figures of a run.

    Args:
        suite: such as `coser` or `role-play-bench`, by which published scores are found.
        proxy: what this is only a stand-in for; empty for the suite itself.
        calibration: sentences on how far the judge agrees with people.
        free: model -> language -> figures without a judge.
    """

    title: str
    suite: str
    proxy: str = ""
    calibration: tuple[str, ...] = ()
    sheets: tuple[ScoreSheet, ...]
    free: dict[str, dict[str, FreeMetrics]] = {}


class EvaluatedRun(NamedTuple):
    """Scores and transcripts of a run's folder."""

    name: str
    folder: Path
    scores: tuple[CaseScore, ...]
    transcripts: dict[str, Transcript]


def read_run(spec: str) -> EvaluatedRun:
    """Return a run by its name or folder; `RUN#MODEL` takes the scores of one model.

    Raises:
        InputError: it has no scores, or none of this model.
    """
    place, _, model = spec.partition("#")
    folder = Path(place) if (Path(place) / SCORES_FILE).is_file() else run_folder(Path(place).name if "/" in place else place)
    if not (folder / SCORES_FILE).is_file():
        raise InputError(f"'{place}' is no evaluation: '{folder / SCORES_FILE}' does not exist; give a run or its folder")
    scores = tuple(row for row in jsonl.read(folder / SCORES_FILE, CaseScore) if model in ("", row.model))
    if not scores:
        raise InputError(f"'{spec}' has no scores" + (f" of model {model!r}" if model else "; has the run ended?"))
    path = folder / TRANSCRIPTS_FILE
    found: dict[str, Transcript] = {}
    for transcript in jsonl.read(path, Transcript) if path.is_file() else ():
        if transcript.id in found:
            raise InputError(f"'{path}' has two transcripts {transcript.id!r}; keep one")
        found[transcript.id] = transcript
    return EvaluatedRun(f"{folder.name}#{model}" if model else folder.name, folder, scores, found)


def build_report(
    run: EvaluatedRun, title: str, suite: str = "coser", proxy: str = "", settings: Uncertainty = USUAL, calibration: str = ""
) -> EvaluationReport:
    """Return the figures of a run.

    Raises:
        InputError: a flaw names a turn that its transcript does not have: scores and transcripts are not of one run.
    """
    _check_turns(run)
    return EvaluationReport(
        title=title,
        suite=suite,
        proxy=proxy,
        calibration=calibration_lines(calibration, (row.judge for row in run.scores)),
        sheets=tuple(sheets(run.scores, run.transcripts, settings)),
        free=_free_figures(run),
    )


def write_report(
    folder: Path, title: str, suite: str = "coser", proxy: str = "", settings: Uncertainty = USUAL, calibration: str = ""
) -> tuple[EvaluationReport, list[Path]]:
    """Write the report of a run's folder; return it and its files.

    Args:
        calibration: run or card of judge-check, by which the judge is calibrated.
    """
    run = read_run(str(folder))
    if not calibration and (folder / OWN_CARD).is_file():
        calibration = str(folder / OWN_CARD)
    report = build_report(run, title, suite, proxy, settings, calibration)
    notes = [*filter(None, (report.proxy,)), *report.calibration]
    published = published_for(suite)
    page = report_page.report_page(report.title, notes, report.sheets, report.free, published, run.scores, run.transcripts)
    written = {
        folder / f"{REPORT}.json": report.model_dump_json(indent=2) + "\n",
        folder / f"{REPORT}.md": report_text.markdown(report.title, notes, report.sheets, report.free, published),
        folder / f"{REPORT}.html": page,
        folder / ".eval_results" / f"{suite}.yaml": results_yaml(report.sheets, suite, report.proxy),
    }
    for path, text in written.items():
        _write(path, text)
    logs = inspect_log.write_inspect_log(folder, suite, run.scores, run.transcripts)
    return report, [*written, *logs]


def write_comparison(
    first: EvaluatedRun, second: EvaluatedRun, folder: Path, settings: Uncertainty = USUAL, across: bool = False
) -> tuple[list[ModelComparison], list[Path]]:
    """Compare two runs; write them as JSON, Markdown and one page into a folder and return comparisons and files."""
    names = (first.name, second.name) if first.name != second.name else (str(first.folder), str(second.folder))
    found = comparison.compare(first.scores, second.scores, names, settings, across)
    free = [next(iter(_free_figures(run).values()), {}) for run in (first, second)]
    lines = ",\n".join(each.model_dump_json(indent=2) for each in found)
    written = {
        folder / f"{COMPARISON}.json": f"[\n{lines}\n]\n",
        folder / f"{COMPARISON}.md": report_text.comparison_markdown(found, free),
        folder / f"{COMPARISON}.html": report_page.comparison_page(
            found, free, (first.scores, second.scores), (first.transcripts, second.transcripts)
        ),
    }
    for path, text in written.items():
        _write(path, text)
    return found, list(written)


def _free_figures(run: EvaluatedRun) -> dict[str, dict[str, FreeMetrics]]:
    """Return the figures without a judge, by model and language."""
    models: dict[str, str] = {transcript_id(row.case, row.run, row.model): row.model for row in run.scores}
    by_model: dict[str, list[Transcript]] = defaultdict(list)
    for name in sorted(run.transcripts):
        if name in models:
            by_model[models[name]].append(run.transcripts[name])
    return {model: _named(transcript_metrics(each)) for model, each in sorted(by_model.items())}


def _named(figures: Mapping[Language, FreeMetrics]) -> dict[str, FreeMetrics]:
    return {str(language): each for language, each in figures.items()}


def _check_turns(run: EvaluatedRun) -> None:
    lost: Counter[str] = Counter()
    for row in run.scores:
        transcript = run.transcripts.get(transcript_id(row.case, row.run, row.model))
        if transcript is not None:
            turns = {turn.id for turn in transcript.turns}
            lost.update(f"{row.case} run {row.run}" for flaw in row.flaws if flaw.turn and flaw.turn not in turns)
    if lost:
        name, count = lost.most_common(1)[0]
        raise InputError(
            f"'{run.folder}': {count} flaws of {name} name turns that its transcript does not have; "
            f"{SCORES_FILE} and {TRANSCRIPTS_FILE} are not of one run, judge the transcripts again"
        )


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text)
