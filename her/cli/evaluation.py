"""Commands for evaluations: make the report again, compare two models, and say what a comparison could show."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Data and models"
"""Heading in `her --help`."""
PIPELINE = "evaluate"
app = typer.Typer()
eval_app = typer.Typer(no_args_is_help=True, help="Evaluate models: reports, comparisons, and what they can show.")
app.add_typer(eval_app, name="eval", rich_help_panel=PANEL)
Evaluated = Annotated[str, typer.Argument(help="Name or folder of an evaluation; RUN#MODEL where it has several models.")]


@eval_app.command("report")
def write_report(
    run: Evaluated,
    title: Annotated[str, typer.Option(help="Title of the page; default: the name of the run.")] = "",
    suite: Annotated[str, typer.Option(help="coser, role-play-bench, ...: whose published scores are shown apart.")] = "coser",
) -> None:
    """Write report.json, report.md and report.html of an evaluation again, from its scores and transcripts."""
    from her.runs.pipelines import pipeline_module

    report = pipeline_module(PIPELINE, "report")
    folder = report.read_run(run).folder
    _, files = report.write_report(folder, title or f"Evaluation {folder.name}", suite)
    for file in files:
        typer.echo(file)


@eval_app.command("compare")
def compare_runs(
    first: Evaluated,
    second: Evaluated,
    out: Annotated[Path | None, typer.Option(help="Folder of the page; default: comparison-FIRST below the second.")] = None,
    across: Annotated[bool, typer.Option("--across", help="Also across protocols and judges, for controls.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap and of the permutation test.")] = 0,
) -> None:
    """Compare two evaluated models case by case, with intervals over books, tests and both scenes side by side."""
    from her.judging.statistics import Uncertainty
    from her.runs.pipelines import pipeline_module

    report = pipeline_module(PIPELINE, "report")
    runs = [report.read_run(run) for run in (first, second)]
    folder = out or runs[1].folder / f"comparison-{runs[0].name.replace('#', '-').replace('/', '-')}"
    found, files = report.write_comparison(*runs, folder, Uncertainty(seed=seed), across)
    for each in found:
        typer.echo(f"{report.report_text.comparison_heading(each)}: {each.verdict}")
        for warning in each.warnings:
            typer.echo(f"  {warning}")
    typer.echo(files[-1])


@eval_app.command("detectable")
def print_detectable(
    pilot: Evaluated,
    other: Annotated[str, typer.Argument(help="A pilot of the other model over the same cases; without it a lower bound.")] = "",
    cases: Annotated[int, typer.Option(min=1, help="Cases of the planned evaluation.")] = 200,
    books: Annotated[int, typer.Option(min=1, help="Books or seeds they are from.")] = 101,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each model.")] = 2,
    power: Annotated[float, typer.Option(min=0.5, max=0.99, help="Share of evaluations that shall find it.")] = 0.8,
) -> None:
    """Print the smallest difference that a planned evaluation of two models would show, before it is paid for."""
    from her.runs.pipelines import pipeline_module

    planning = pipeline_module(PIPELINE, "planning")
    for line in planning.detectable_lines(pilot, other, cases, books, runs, power):
        typer.echo(line)
