"""Commands of the playground: play, personas, ratings, space, backends."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from her.errors import InputError

PANEL = "Playground"
"""Heading in `her --help`."""
app = typer.Typer()
personas_app = typer.Typer(no_args_is_help=True, help="List and validate persona and scene files.")
ratings_app = typer.Typer(no_args_is_help=True, help="Count and export the ratings of turns.")
space_app = typer.Typer(no_args_is_help=True, help="Deploy the playground to a Hugging Face Space.")
admin_app = typer.Typer(no_args_is_help=True, help="Let the organiser of a playtest in.")
backends_app = typer.Typer(no_args_is_help=True, help="Check whether a model answers.")
app.add_typer(personas_app, name="personas", rich_help_panel=PANEL)
app.add_typer(ratings_app, name="ratings", rich_help_panel=PANEL)
app.add_typer(admin_app, name="admin", rich_help_panel=PANEL)
app.add_typer(space_app, name="space", rich_help_panel=PANEL)
app.add_typer(backends_app, name="backends", rich_help_panel=PANEL)

Serving = Literal["router", "endpoint", "zero"]
ExportFormat = Literal["jsonl", "sft", "preference", "kto", "rm", "verdicts"]
Share = Literal["lan"]
PersonaFolder = Annotated[Path | None, typer.Argument(help="Folder of persona files; default: the personas of this project.")]


@app.command(rich_help_panel=PANEL)
def play(
    scenes: Annotated[list[str] | None, typer.Option(help="CoSER book or test set to open as scenes; repeatable.")] = None,
    backend: Annotated[str | None, typer.Option(help="scripted:, openai:URL#model or local:PATH; default: HER_BACKEND.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port; default: 7860. 0 takes a free one.")] = None,
    allow_visitor_urls: Annotated[
        bool, typer.Option("--allow-visitor-urls", help="Let visitors connect models by URL; never on a public server.")
    ] = False,
    playtest: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Consent, missions and comparisons; see personas/playtests.")
    ] = None,
    author: Annotated[
        bool, typer.Option("--author", help="Write personas in the page, with a preview; this machine alone.")
    ] = False,
    share_with: Annotated[
        Share | None, typer.Option(help="lan: open it to the local network; prints the addresses and a QR code.")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Open the organiser's page too, and print its link.")] = False,
) -> None:
    """Start the playground and print its address."""
    from her import paths
    from her.config import Settings

    if share_with and host in ("127.0.0.1", "localhost", "::1"):
        raise InputError(f"--host {host} answers this machine alone; leave it out with --share-with lan")
    if share_with and host is None:
        host = "0.0.0.0"
    overrides: dict[str, Any] = {"backend": backend, "host": host, "port": port, "share_with": share_with}
    if playtest is not None:
        overrides["playtest"] = str(playtest)
    settings = Settings(
        scenes=tuple(scenes or ()),
        allow_visitor_urls=allow_visitor_urls,
        author=author,
        admin=admin,
        **{key: value for key, value in overrides.items() if value is not None},
    )
    paths.prepare_for_gradio()
    from her.ui.build import launch

    launch(settings)


@personas_app.command("list")
def list_personas(folder: PersonaFolder = None) -> None:
    """Print id, language, name and tagline of every persona; exit with 1 when a file is faulty, and say why."""
    from her.characters.persona_shelf import PersonaShelf

    shelf = PersonaShelf(folder)
    for persona in shelf.values():
        typer.echo(f"{persona.id:<24} {persona.language}  {persona.name}: {persona.tagline}")
    for sentence in shelf.faults.values():
        typer.echo(sentence, err=True)
    if shelf.faults:
        raise typer.Exit(1)


@personas_app.command("validate")
def validate_personas(folder: PersonaFolder = None) -> None:
    """Print every problem of persona files and of the scenes beside them; exit with 1 when there is one."""
    from her import paths
    from her.characters import personas, scenes

    folder = folder or paths.personas_folder()
    files = personas.persona_files(folder)
    if not files:
        raise InputError(f"no persona files (*.yaml) in '{folder}'; give the folder that holds them")
    problems = personas.validate(folder)
    problems += scenes.validate_scenes(folder / "scenes", frozenset(path.stem for path in files))
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    for persona in personas.load_personas(folder).values():
        typer.echo(str(personas.report(persona)))
    count = len(scenes.load_scenes(folder / "scenes"))
    typer.echo(f"{len(files)} personas and {count} scenes, no problems")


@ratings_app.command("stats")
def ratings_stats() -> None:
    """Print counts and means of the ratings as JSON."""
    from her.feedback.preferences import stats
    from her.store import Store

    typer.echo(json.dumps(stats(Store()), indent=2, ensure_ascii=False))


@ratings_app.command("export")
def ratings_export(
    format: Annotated[ExportFormat, typer.Option(help="What to write; README.md says what the rows are.")],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write or replace: Parquet with the ending .parquet, else one JSON object a line; '-' for stdout. "
            "A folder, or a new name without an ending, gets FORMAT.parquet and a dataset card."
        ),
    ],
    since: Annotated[str, typer.Option(metavar="DATE", help="First day or moment, UTC: 2026-11-28 or 2026-11-28T18:30.")] = "",
    until: Annotated[str, typer.Option(metavar="DATE", help="Last day, or the first moment after.")] = "",
    persona: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only chats with this persona; repeatable.")] = None,
    rater: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this rater, as in files; repeatable.")] = None,
    mission: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only chats of this mission; repeatable.")] = None,
    dimension: Annotated[str, typer.Option(metavar="ID", help="Only ratings and votes on this dimension of the rubric.")] = "",
) -> None:
    """Write ratings and votes as JSON lines or Parquet: as they are, or as training rows of TRL."""
    from her.feedback.export import export
    from her.feedback.export_card import write_export
    from her.feedback.export_filter import read_filter
    from her.store import Store

    named: dict[str, Any] = {"personas": persona or (), "raters": rater or (), "missions": mission or ()}
    store = Store()
    only = read_filter(since=since, until=until, dimension=dimension, **named)
    if str(out) == "-":
        exported = export(store, format, sys.stdout.write, only)
    else:
        out, exported = write_export(store, format, out, only)
    reasons = "".join(f"; left out: {count} {reason}" for reason, count in exported.left_out.items())
    typer.echo(f"{out}: {exported.written} lines{reasons}", err=True)


@admin_app.command("link")
def admin_link() -> None:
    """Print a link to the organiser's page of a running `her play --admin`: for one use within 15 minutes."""
    from her import paths
    from her.ui.organiser_door import OrganiserDoor

    typer.echo(OrganiserDoor(paths.home()).link())


@admin_app.command("revoke")
def admin_revoke() -> None:
    """End every session of the organiser's page and every link that was not used."""
    from her import paths
    from her.ui.organiser_door import OrganiserDoor

    OrganiserDoor(paths.home()).revoke()
    typer.echo("all links and sessions of the organiser's page are ended; her admin link makes a new one")


@space_app.command("deploy")
def deploy_space(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Name of the Space.")],
    model: Annotated[str, typer.Option(help="promoted: what her promote put on stage; or OWNER/NAME, OWNER/NAME@TAG.")] = "",
    serve: Annotated[Serving | None, typer.Option(help="How the Space gets the model's answers.")] = None,
    endpoint: Annotated[str, typer.Option(metavar="URL", help="https address of an OpenAI-compatible server.")] = "",
    hardware: Annotated[str, typer.Option(help="Hardware of the Space; default: zero-a10g with --serve zero.")] = "",
    variable: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Public setting; repeatable.")] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=VARIABLE]", help="Secret whose value is in this environment; repeatable."),
    ] = None,
    ratings: Annotated[
        str, typer.Option(metavar="OWNER/NAME", help="Private data set that keeps chats and ratings over restarts.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List all that would be set and uploaded; change nothing.")] = False,
) -> None:
    """Upload the playground to a Space, with a model if one is named; the Space is created if it does not exist."""
    from her.deploy import space
    from her.deploy.space_model import space_model

    space.check_name(name)
    root = space.find_repository()
    chosen = space_model(
        model,
        serve,
        endpoint=endpoint,
        hardware=hardware,
        variables=variable or (),
        secrets=secret or (),
        ratings=ratings,
        root=root,
    )
    files = space.with_model(space.list_uploads(root), root, chosen)
    if dry_run:
        for upload in files:
            typer.echo(f"{upload.size:>9,}  {upload.target}{'  (changed for the model)' if upload.text else ''}")
        for key, value in chosen.variables.items():
            typer.echo(f"variable  {key}={value}")
        for key, variable_name in chosen.secrets.items():
            typer.echo(f"secret    {key}, from {variable_name} of this environment")
        for line in chosen.requirements:
            typer.echo(f"package   {line}")
        typer.echo(f"hardware  {chosen.hardware or 'as it is, cpu-basic for a new Space'}")
        typer.echo(f"{len(files)} files, {sum(upload.size for upload in files):,} bytes, would be uploaded to {name}")
        chosen.secret_values()
        return
    typer.echo(space.deploy(name, root, files, chosen))


@backends_app.command("check")
def check_backend(
    spec: Annotated[str, typer.Argument(help="scripted:, openai:URL#model or local:PATH.")],
    short: Annotated[bool, typer.Option("--short", help="Only test that it answers.")] = False,
) -> None:
    """Ask a model for short answers and print what it can do: streaming, reasoning, seed, continue, stop words, context."""
    from her.backends.base import AbleBackend
    from her.backends.open import open_backend
    from her.characters.personas import load_personas

    async def ask() -> str:
        backend = open_backend(spec, personas=load_personas())
        try:
            if isinstance(backend, AbleBackend) and not short:
                return (await backend.abilities()).table()
            return await backend.check()
        finally:
            await backend.close()

    typer.echo(asyncio.run(ask()))
