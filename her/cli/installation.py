"""Commands about this installation: doctor, version."""

from typing import Annotated

import typer

from her import __version__

PANEL = "Installation"
"""Heading in `her --help`."""
app = typer.Typer()


@app.command("doctor", rich_help_panel=PANEL)
def doctor_report(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Print installed packages, conflicts between them, and what can run here; exit with 1 when there is a conflict."""
    from her.backends.open import backend_needs
    from her.capacity import doctor
    from her.runs.pipelines import pipeline_needs

    report = doctor.examine({"backend": backend_needs(), "command": doctor.COMMANDS, "stage": pipeline_needs()})
    typer.echo(report.model_dump_json(indent=2) if as_json else doctor.format_report(report))
    if report.conflicts:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def version() -> None:
    """Print the version."""
    typer.echo(f"her {__version__}")
