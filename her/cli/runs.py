"""Commands for runs of pipelines: list, show, resume, stop, rm."""

from typing import Annotated

import typer

PANEL = "Data and models"
"""Heading in `her --help`."""
app = typer.Typer()
runs_app = typer.Typer(help="List, show, resume, stop and delete runs of pipelines.")
app.add_typer(runs_app, name="runs", rich_help_panel=PANEL)
RunName = Annotated[str, typer.Argument(help="Name of the run, as `her runs` lists it.")]


@runs_app.callback(invoke_without_command=True)
def runs(context: typer.Context) -> None:
    """List, show, resume, stop and delete runs of pipelines. Without a subcommand: list them."""
    if context.invoked_subcommand is None:
        print_runs()


@runs_app.command("list")
def print_runs() -> None:
    """Print the state of every run."""
    from her.runs.commands import list_runs

    for line in list_runs():
        typer.echo(line)


@runs_app.command("show")
def print_run(name: RunName) -> None:
    """Print state, settings, versions, losses, checkpoints and outputs of a run, and how to resume it."""
    from her.runs.commands import show_run

    typer.echo(show_run(name))


@runs_app.command("resume")
def resume(
    name: RunName,
    background: Annotated[bool, typer.Option("--background", help="In a separate process that outlives this one.")] = False,
) -> None:
    """Resume an unfinished run with the settings in its folder."""
    from her.runs.commands import resume_run

    code = resume_run(name, background)
    if background:
        typer.echo(f"started; watch it with: her runs show {name}")
    raise typer.Exit(code)


@runs_app.command("stop")
def stop(name: RunName) -> None:
    """Ask a running run to stop, as Ctrl-C does; it can be resumed."""
    from her.runs.processes import stop_run

    state = stop_run(name).state
    typer.echo(f"{name} was asked to stop" if state == "running" else f"{name} is not running: it is {state}")


@runs_app.command("rm")
def delete(name: RunName, yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False) -> None:
    """Delete the folder of a run with all checkpoints and outputs in it."""
    from her.runs.commands import deletable_folder, delete_run, folder_size

    folder = deletable_folder(name)
    if not yes:
        typer.confirm(f"Delete '{folder}' ({folder_size(folder):,} bytes)?", abort=True)
    typer.echo(f"{delete_run(name)} is deleted")
