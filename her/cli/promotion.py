"""Put a checkpoint on stage, take it back, and say what stands there."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from her.deploy.stage_record import StagedModel

PANEL = "Data and models"
"""Heading in `her --help`."""
app = typer.Typer()


@app.command("promote", rich_help_panel=PANEL)
def promote_run(
    run: Annotated[
        str, typer.Argument(help="Name of a finished run of sft or rl; without it, what is on stage is printed.")
    ] = "",
    overrule: Annotated[str, typer.Option(metavar="REASON", help="Promote although a condition failed; this is recorded.")] = "",
    back: Annotated[
        bool, typer.Option("--back", help="Instead: put the checkpoint before the one on stage there again.")
    ] = False,
    arena: Annotated[Path | None, typer.Option(help="Folder of the arena; default: the newest that compared the two.")] = None,
) -> None:
    """Put a checkpoint on stage if it beats the one there: by the held-out judge, by free metrics, and with no alarm on."""
    from her.deploy.stage_record import take_back
    from her.errors import InputError
    from her.judging.promotion import promote, require_promoted

    if back:
        if run or overrule:
            raise InputError("--back takes neither a run nor a reason: her promote --back")
        typer.echo(_shown(take_back()))
    elif not run:
        _show_stage()
    else:
        promotion = promote(run, overrule, arena)
        for condition in promotion.conditions:
            typer.echo(f"{'holds ' if condition.passed else 'FAILED'}  {condition.name}: {condition.sentence}")
        typer.echo(_shown(require_promoted(promotion)))


def _show_stage() -> None:
    from her.deploy.stage_record import on_stage, read_record

    line = on_stage()
    typer.echo(_shown(line) if line else "nothing is on stage; her promote RUN puts a checkpoint there")
    for each in read_record():
        overruled = f"  overruled: {each.overruled}" if each.overruled else ""
        typer.echo(f"  {_time(each.at)}  {each.act:<7}  {each.run or '-'}  {each.by}{overruled}")


def _shown(line: "StagedModel") -> str:
    if not line.run:
        return "nothing is on stage: without a model the personas speak written lines"
    return (
        f"on stage: run '{line.run}', checkpoint {line.checkpoint[:12]}, since {_time(line.at)} by {line.by}; open it: her play"
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
