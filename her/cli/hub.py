"""Commands that publish runs on the Hugging Face Hub and read them back."""

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Data and models"
"""Heading in `her --help`."""
app = typer.Typer()


@app.command("publish", rich_help_panel=PANEL)
def publish_run(
    run: Annotated[str, typer.Argument(help="Name of a finished run, or RUN/PART of one that trained several models.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where it goes.")],
    public: Annotated[bool, typer.Option("--public", help="Everybody may see it; else only you.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, list every file with size and hash, send nothing.")] = False,
    tag: Annotated[str, typer.Option(help="Tag that marks the whole upload; default: the name of the run.")] = "",
    licence: Annotated[str, typer.Option(help="Licence, where the run's card states none.")] = "",
    accept: Annotated[list[str] | None, typer.Option(help="Fingerprint of a finding that is no secret; repeatable.")] = None,
) -> None:
    """Publish a run on the Hugging Face Hub, privately, with lineage and hashes. Started again, a cut upload resumes."""
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
