"""Commands for the principles that turns are judged by: list, validate, apply."""

from pathlib import Path
from typing import Annotated, Literal

import typer

PANEL = "Data and models"
"""Heading in `her --help`."""
app = typer.Typer()
principles_app = typer.Typer(no_args_is_help=True, help="List, validate and edit the principles that turns are judged by.")
app.add_typer(principles_app, name="principles", rich_help_panel=PANEL)


@principles_app.command("list")
def list_principles(
    language: Annotated[Literal["en", "zh"], typer.Option(help="Language of the wording.")] = "en",
    folder: Annotated[Path | None, typer.Option(help="Folder of a library; default: the one of this package.")] = None,
) -> None:
    """Print every principle by dimension: id, level, polarity, weight and definition."""
    from her.judging.principles import LIBRARY, library_hash, load_dimensions

    folder = folder or LIBRARY
    for dimension in load_dimensions(folder):
        typer.echo(f"\n{dimension.name(language)}")
        for entry in dimension.principles:
            principle = entry.principle(dimension.id, language)
            typer.echo(f"  {principle.id}  ({principle.level}, {principle.polarity}, weight {principle.weight:g})")
            typer.echo(f"      {principle.name}: {principle.definition}")
    typer.echo(f"\nsha256 {library_hash(folder)}")


@principles_app.command("validate")
def validate_principles(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a library; default: the one of this package.")] = None,
) -> None:
    """Print every problem of the principle files; exit 1 when there is one."""
    from her.judging.principles import LIBRARY, load_principles, validate_library

    folder = folder or LIBRARY
    problems = validate_library(folder)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"{len(load_principles(folder=folder))} principles, no problems")


@principles_app.command("apply")
def apply_edits(
    edits: Annotated[Path, typer.Argument(help="Edits that an expert downloaded from the page of `her run principles`.")],
    to: Annotated[Path, typer.Option(help="Folder of the library that is changed, or one file of it.")],
    changed: Annotated[bool, typer.Option("--changed", help="Also if the library was changed since the page was made.")] = False,
) -> None:
    """Edit, merge and drop principles of a library as an expert decided; all edits or none."""
    from her.judging.principle_edits import apply_edit_file

    counts = apply_edit_file(edits, to, changed=changed)
    typer.echo(f"{counts.edited} edited, {counts.merged} merged, {counts.dropped} dropped in {to}")
