"""Commands that publish runs on the Hugging Face Hub and read them back."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from her.errors import HerError, InputError

PANEL = "Data and models"
"""Heading in `her --help`."""
app = typer.Typer()


@app.command("publish", rich_help_panel=PANEL)
def publish_run(
    run: Annotated[str, typer.Argument(help="Name of a finished run, or RUN/PART of one that trained several models.")] = "",
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where it goes.")] = "",
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it; else only you.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, list every file with size and hash, send nothing.")] = False,
    tag: Annotated[str, typer.Option(help="Tag that marks the whole upload; default: the name of the run.")] = "",
    licence: Annotated[str, typer.Option(help="Licence, where the run's card states none.")] = "",
    accept: Annotated[list[str] | None, typer.Option(help="Fingerprint of a finding that is no secret; repeatable.")] = None,
    withdraw: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Instead: take rows of withdrawn people out of this data set, for good.")
    ] = "",
    withdrawn: Annotated[
        list[str] | None, typer.Option("--id", help="With --withdraw: id of a person or vote, beside those of the database.")
    ] = None,
) -> None:
    """Publish a run on the Hugging Face Hub, privately, with lineage and hashes. Started again, a cut upload resumes."""
    if withdraw or withdrawn:
        _withdraw(withdraw, run, withdrawn or [])
        return
    if not run or not repository:
        raise InputError("name a run and where it goes: her publish RUN OWNER/NAME; or take rows out: her publish --withdraw")
    from her.deploy.hub.publishing import PublicationOptions, prepare, publish

    options = PublicationOptions(public=public, tag=tag, licence=licence, accepted=tuple(accept or ()))
    prepared = prepare(run, repository, options)
    manifest = prepared.manifest
    if dry_run:
        for name, record in manifest.files.items():
            typer.echo(f"{record.size:>14,}  {record.sha256}  {name}")
        seen = "public" if public else "private"
        typer.echo(
            f"{manifest.kind}: {len(manifest.files)} files, {manifest.size:,} bytes, {seen}, tag {manifest.tag}; nothing was sent"
        )
        typer.echo(f"the card: {prepared.folder / 'README.md'}")
        return
    published = publish(prepared)
    typer.echo(f"{published.address} {'is there already' if published.already else 'is published'} ({manifest.kind})")
    typer.echo(f"read it with: her pull {repository}@{manifest.tag}")


def _withdraw(repository: str, run: str, also: list[str]) -> None:
    from her.deploy.hub.withdrawing import withdraw, withdrawn_ids
    from her.store import Store

    if run or not repository:
        raise InputError("a withdrawal names one data set and no run: her publish --withdraw OWNER/NAME [--id ID]")
    with closing(Store()) as store:
        done = withdraw(repository, withdrawn_ids(store.withdrawn_ids(), also))
    typer.echo(f"{repository}: {done.rows} rows taken out, history squashed, contents deleted; the rest is tag {done.tag}")
    if done.removed_tags:
        typer.echo(f"tags that are gone: {', '.join(done.removed_tags)}")
    for each in done.trained:
        typer.echo(f"trained on these rows: {each.repository}@{each.tag} ({each.kind} of run '{each.run}')")
    if done.unmarked:
        raise HerError(f"{len(done.unmarked)} cards could not be marked, start the command again: {done.unmarked[0]}")


@app.command("pull", rich_help_panel=PANEL)
def pull_publication(
    address: Annotated[str, typer.Argument(metavar="OWNER/NAME[@TAG]", help="A publication; default: the newest whole one.")],
    to: Annotated[Path | None, typer.Option(help="Folder; default: HER_HOME/pulled/OWNER--NAME@TAG.")] = None,
) -> None:
    """Read a publication back and compare every file with its hashes."""
    from her.deploy.hub.pulling import pull

    folder, manifest = pull(address, to)
    typer.echo(f"{folder}: {manifest.kind} of run '{manifest.run}', {len(manifest.files)} files, every hash as published")
    if manifest.kind == "model":
        typer.echo(f"play with it: her play --backend local:{folder}")
