"""Command line of the project: parse words, call the package that does the work, print. Run: `her --help`.

A HerError is printed as one line on stderr with exit code 2. `her personas validate` and `her doctor` exit with 1 when they
report problems. Imports stand inside the commands, so that `her --help` starts without loading models, Gradio or the database.
"""

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from her import __version__
from her.errors import HerError, InputError
from her.runs.pipelines import HELP, PIPELINES


class OneLineErrors(TyperGroup):
    """Command group that prints a HerError as one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit with code 2 after a HerError."""
        try:
            return super().invoke(ctx)
        except HerError as error:
            typer.echo(f"her: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Chat with personas whose inner life is visible, and train models on the ratings.",
)
PLAYGROUND, TRAINING, INSTALLATION = "Playground", "Data and models", "Installation"
"""Headings of `her --help`."""
personas_app = typer.Typer(no_args_is_help=True, help="List and validate persona and scene files.")
ratings_app = typer.Typer(no_args_is_help=True, help="Count and export the ratings of turns.")
principles_app = typer.Typer(no_args_is_help=True, help="List and validate the principles that turns are judged by.")
space_app = typer.Typer(no_args_is_help=True, help="Deploy the playground to a Hugging Face Space.")
backends_app = typer.Typer(no_args_is_help=True, help="Check whether a model answers.")
runs_app = typer.Typer(help="List, show, resume, stop and delete runs of pipelines.")
app.add_typer(personas_app, name="personas", rich_help_panel=PLAYGROUND)
app.add_typer(ratings_app, name="ratings", rich_help_panel=PLAYGROUND)
app.add_typer(space_app, name="space", rich_help_panel=PLAYGROUND)
app.add_typer(backends_app, name="backends", rich_help_panel=PLAYGROUND)
app.add_typer(principles_app, name="principles", rich_help_panel=TRAINING)
app.add_typer(runs_app, name="runs", rich_help_panel=TRAINING)

SETTINGS = "Settings. pipelines/configs/PIPELINE.toml names all of them with their defaults; --dry-run prints them."
RunName = Annotated[str, typer.Argument(help="Name of the run, as `her runs` lists it.")]
ExportFormat = Literal["jsonl", "sft", "preference", "kto"]
PersonaFolder = Annotated[Path | None, typer.Argument(help="Folder of persona files; default: the personas of this project.")]


@app.command(rich_help_panel=PLAYGROUND)
def play(
    scenes: Annotated[list[str] | None, typer.Option(help="CoSER book or test set to open as scenes; repeatable.")] = None,
    backend: Annotated[str | None, typer.Option(help="scripted:, openai:URL#model or local:PATH; default: HER_BACKEND.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port; default: 7860. 0 takes a free one.")] = None,
    allow_visitor_urls: Annotated[
        bool, typer.Option("--allow-visitor-urls", help="Let visitors connect models by URL; never on a public server.")
    ] = False,
) -> None:
    """Start the playground and print its address."""
    from her.config import Settings

    overrides: dict[str, Any] = {"backend": backend, "host": host, "port": port}
    settings = Settings(
        scenes=tuple(scenes or ()),
        allow_visitor_urls=allow_visitor_urls,
        **{key: value for key, value in overrides.items() if value is not None},
    )
    from her.ui.build import launch

    launch(settings)


@app.command("run", rich_help_panel=TRAINING, context_settings={"ignore_unknown_options": True})
def run_pipeline(
    pipeline: Annotated[str, typer.Argument(help=HELP)],
    words: Annotated[list[str] | None, typer.Argument(metavar="[@FILE.toml] [KEY=VALUE] [--dry-run]", help=SETTINGS)] = None,
) -> None:
    """Run a pipeline. Started again with the same settings, an unfinished run resumes."""
    from her.runs.pipelines import pipeline_main

    main = pipeline_main(pipeline)
    if not words:
        raise InputError(f"name a file of settings, such as: her run {pipeline} @{PIPELINES[pipeline].example}")
    raise typer.Exit(main(words))


@app.command("estimate", rich_help_panel=TRAINING, context_settings={"ignore_unknown_options": True})
def estimate_run(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE.toml [KEY=VALUE] [estimate.gpu=H200] [--json]", help="Settings of the run and of the estimate."
        ),
    ] = None,
    pipeline: Annotated[str, typer.Option(help="Pipeline of the run.")] = "sft",
) -> None:
    """Estimate memory, tokens per second, hours and cost of a training run, in both layouts, without starting it."""
    from her.runs.pipelines import estimate_main

    main = estimate_main(pipeline)
    if not words:
        raise InputError("name the settings of a run, such as: her estimate pipelines/configs/qwen3-4b.toml estimate.gpu=H200")
    raise typer.Exit(main(words))


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


@app.command("launch", rich_help_panel=TRAINING)
def launch_file(
    target: Annotated[Literal["slurm", "skypilot"], typer.Argument(help="What starts the job.")],
    pipeline: Annotated[str, typer.Argument(help="sft, for example.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[@FILE.toml] [KEY=VALUE]", help="Settings of the run.")] = None,
    name: Annotated[str, typer.Option(help="Of the run and the job; default: that of the settings.")] = "",
    nodes: Annotated[int, typer.Option(help="Machines.")] = 1,
    gpus: Annotated[int, typer.Option(help="GPUs of each.")] = 8,
    gpu: Annotated[str, typer.Option(help="Their type, such as H200.")] = "",
    hours: Annotated[float, typer.Option(help="Until it is stopped; on Slurm it then queues again.")] = 24,
    partition: Annotated[str, typer.Option(help="Slurm.")] = "",
    account: Annotated[str, typer.Option(help="Slurm.")] = "",
    accelerate: Annotated[str, typer.Option(help="Of pipelines/configs/accelerate; default: by nodes and GPUs.")] = "",
    spot: Annotated[bool, typer.Option("--spot", help="SkyPilot: machines that may be taken away, for less.")] = False,
    out: Annotated[Path | None, typer.Option(help="Default: NAME.sbatch or NAME.sky.yaml here.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file when it is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and print it; write nothing.")] = False,
) -> None:
    """Write the file that starts a training run on a cluster, and say how to submit it."""
    from her.deploy import clusters as launching
    from her.files.atomic import replacing

    asked = launching.Job(
        pipeline=pipeline,
        words=tuple(words or ()),
        name=name,
        nodes=nodes,
        gpus=gpus,
        gpu=gpu,
        hours=hours,
        partition=partition,
        account=account,
        accelerate=accelerate,
        spot=spot,
    )
    job = launching.checked(target, asked)
    path = out or Path(f"{job.name}{launching.ENDINGS[target]}")
    submit = launching.submission(target, path)
    text = launching.text(target, job, submit)
    if dry_run:
        typer.echo(f"{text}\n# not written; {path} would be started with: {submit}")
        return
    if path.exists() and not force:
        raise InputError(f"'{path}' is there already; give --force to replace it, or --out")
    with replacing(path) as file:
        file.write(text)
    typer.echo(f"{path} is written; start it with: {submit}")


@app.command("serve", rich_help_panel=TRAINING)
def serve_checkpoint(
    checkpoint: Annotated[str, typer.Argument(help="A folder, the name of a run, or a repository (owner/name).")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8000,
    context: Annotated[int, typer.Option(min=0, help="Longest prompt and reply in tokens; 0: what fits.")] = 0,
    only_print: Annotated[bool, typer.Option("--print", help="Print the command alone, to be run elsewhere or changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the checkpoint and say what would be run.")] = False,
) -> None:
    """Serve a checkpoint with vLLM; its plans come apart from what is said."""
    from her import paths
    from her.capacity import machine
    from her.deploy import vllm_command as serving

    asked = serving.ServerOptions(host=host, port=port, context=context, elsewhere=only_print)
    plan = serving.plan(checkpoint, asked, machine=machine.probe_machine(paths.home()))
    for note in plan.notes:
        typer.echo(f"her: {note}", err=True)
    if only_print:
        typer.echo(str(plan))
        return
    if dry_run:
        typer.echo(serving.describe_checkpoint(checkpoint))
        typer.echo(str(plan))
    if not serving.installed():
        raise InputError(serving.lacking(checkpoint))
    typer.echo(f"her: once it answers, her play --backend {shlex.quote(plan.spec)}", err=True)
    if not dry_run:
        serving.run(plan)


@app.command("doctor", rich_help_panel=INSTALLATION)
def doctor_report(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Say what is installed, what does not go together, and what can run here; exit 1 when something does not."""
    from her.backends.open import backend_needs
    from her.capacity import doctor
    from her.runs.pipelines import pipeline_needs

    report = doctor.examine({"backend": backend_needs(), "command": doctor.COMMANDS, "stage": pipeline_needs()})
    typer.echo(report.model_dump_json(indent=2) if as_json else doctor.format_report(report))
    if report.conflicts:
        raise typer.Exit(1)


@app.command(rich_help_panel=INSTALLATION)
def version() -> None:
    """Print the version."""
    typer.echo(f"her {__version__}")


@personas_app.command("list")
def list_personas(folder: Annotated[Path | None, typer.Argument(help="Default: the personas of the house.")] = None) -> None:
    """Print id, language, name and tagline of every persona."""
    from her.characters.personas import load_personas

    for persona in load_personas(folder).values():
        typer.echo(f"{persona.id:<24} {persona.language}  {persona.name}: {persona.tagline}")


@personas_app.command("validate")
def validate_personas(folder: Annotated[Path | None, typer.Argument(help="Default: the personas of the house.")] = None) -> None:
    """Print every problem of the persona files and of the scenes beside them; exit 1 when there is one."""
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


@ratings_app.command("stats")
def ratings_stats() -> None:
    """Print counts and means as JSON."""
    from her.feedback.preferences import stats
    from her.store import Store

    typer.echo(json.dumps(stats(Store()), indent=2, ensure_ascii=False))


@ratings_app.command("export")
def ratings_export(
    format: Annotated[ExportFormat, typer.Option(help="What to write, one JSON object a line.")],
    out: Annotated[Path, typer.Option(help="The file to write, replaced when it is there; '-' for stdout.")],
) -> None:
    """Write ratings as JSONL, or as training rows for SFT, preference optimisation or KTO."""
    from her.feedback.preferences import export
    from her.files.atomic import replacing
    from her.store import Store

    store = Store()
    if str(out) == "-":
        exported = export(store, format, sys.stdout.write)
    else:
        with replacing(out) as file:
            exported = export(store, format, file.write)
    reasons = "".join(f"; left out: {count} {reason}" for reason, count in exported.left_out.items())
    typer.echo(f"{out}: {exported.written} lines{reasons}", err=True)


@space_app.command("deploy")
def deploy_space(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The Space.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be uploaded.")] = False,
) -> None:
    """Create the Space when it is missing and upload the playground to it."""
    from her.deploy import space

    space.check_name(name)
    root = space.repository()
    files = space.uploads(root)
    if dry_run:
        for upload in files:
            typer.echo(f"{upload.size:>9,}  {upload.target}")
        typer.echo(f"{len(files)} files, {sum(upload.size for upload in files):,} bytes, would go to {name}")
        return
    typer.echo(space.deploy(name, root, files))


@backends_app.command("check")
def check_backend(spec: Annotated[str, typer.Argument(help="scripted:, openai:URL#model or local:PATH.")]) -> None:
    """Ask a model for a sign of life."""
    from her.backends.open import open_backend
    from her.characters.personas import load_personas

    async def ask() -> str:
        backend = open_backend(spec, personas=load_personas())
        try:
            return await backend.check()
        finally:
            await backend.close()

    typer.echo(asyncio.run(ask()))


if __name__ == "__main__":
    app()
