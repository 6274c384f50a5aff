"""Commands that publish runs on the Hugging Face Hub and read them back."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from her.errors import BackendError, HerError, InputError

if TYPE_CHECKING:
    from her.deploy.hub.figures import CheckpointFigures
    from her.deploy.hub.manifest import HubManifest
    from her.types import Message

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
    unmeasured: Annotated[
        bool, typer.Option("--unmeasured", help="Do not load a model and measure its free metrics; the card has none then.")
    ] = False,
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
    from her.judging.worse import worse_section

    options = PublicationOptions(public=public, tag=tag, licence=licence, accepted=tuple(accept or ()))
    prepared = prepare(run, repository, options, None if unmeasured else _measure, worse_section)
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
    unmeasured: Annotated[bool, typer.Option("--unmeasured", help="Do not measure the free metrics of a model again.")] = False,
) -> None:
    """Read a publication back, compare every file with its hashes, and measure the free metrics of a model again."""
    from her.deploy.hub.pulling import pull

    folder, manifest, commit = pull(address, to)
    typer.echo(f"{folder}: {manifest.kind} of run '{manifest.run}', {len(manifest.files)} files, every hash as published")
    if not unmeasured:
        _compare_figures(folder, manifest)
    if manifest.kind == "model":
        typer.echo(f"play with it: her play --backend local:{folder}")
    if manifest.repository_type == "model":
        typer.echo(f"go on from it: model.base={manifest.repository}@{manifest.tag} (commit {commit[:12]})")


def _compare_figures(folder: Path, manifest: "HubManifest") -> None:
    """Say whether the free metrics of a pulled model are those of its card."""
    from her.deploy.hub.figures import other_versions, read_figures, unlike

    published = read_figures(folder, manifest)
    if published is None:
        if manifest.repository_type == "model":
            typer.echo("free metrics: the publication has none, so there is nothing to compare")
        return
    try:
        measured = _measure(folder, published.prompts)
    except BackendError as error:
        typer.echo(f"free metrics: not measured again: {error}")
        return
    count = len(published.turns) or len(published.scores)
    if problems := unlike(published, measured):
        apart = other_versions(published, measured)
        why = f"measured with other versions: {apart}" if apart else "with the same versions; the machine rounds otherwise"
        typer.echo(f"free metrics: not equal: {'; '.join(problems)}; {why}")
    else:
        what = "greedy turns" if published.turns else "scores"
        typer.echo(f"free metrics: equal, {len(published.figures)} figures and {count} {what}")


def _measure(folder: Path, prompts: "tuple[tuple[Message, ...], ...]") -> "CheckpointFigures":
    from her.judging.checkpoint_figures import measure_checkpoint

    return measure_checkpoint(folder, prompts)
