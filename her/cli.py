"""The command line: parses, calls, prints. Run: `her --help`.

An error of the house is one line on stderr and exit code 2; `her personas validate` exits 1 when it found problems.
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


class House(TyperGroup):
    """Commands whose house errors are shown as one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit code 2 after an error of the house."""
        try:
            return super().invoke(ctx)
        except HerError as error:
            typer.echo(f"her: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=House,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Chat with personas whose inner life is visible.",
)
STAGE, TRAINING, HOUSE = "On stage", "Data and models", "The house"
"""Where `her --help` lists a command."""
personas_app = typer.Typer(no_args_is_help=True, help="Persona and scene files.")
ratings_app = typer.Typer(no_args_is_help=True, help="What people said about the turns they read.")
space_app = typer.Typer(no_args_is_help=True, help="The playground on a Hugging Face Space.")
backends_app = typer.Typer(no_args_is_help=True, help="Models: whether one answers.")
runs_app = typer.Typer()
app.add_typer(personas_app, name="personas", rich_help_panel=STAGE)
app.add_typer(ratings_app, name="ratings", rich_help_panel=STAGE)
app.add_typer(space_app, name="space", rich_help_panel=STAGE)
app.add_typer(backends_app, name="backends", rich_help_panel=STAGE)
app.add_typer(runs_app, name="runs", rich_help_panel=TRAINING)

SETTINGS = "Settings; pipelines/configs has files of them, PIPELINE.toml names every one, --dry-run prints them."
RunName = Annotated[str, typer.Argument(help="As `her runs` lists it.")]
ExportFormat = Literal["jsonl", "sft", "preference", "kto"]


@app.command(rich_help_panel=STAGE)
def play(
    scenes: Annotated[list[str] | None, typer.Option(help="A CoSER book or test set to open as scenes; may be repeated.")] = None,
    backend: Annotated[str | None, typer.Option(help="scripted:, openai:URL#model or local:PATH; default HER_BACKEND.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; default 7860, 0 takes a free one.")] = None,
    allow_visitor_urls: Annotated[
        bool, typer.Option("--allow-visitor-urls", help="Let visitors connect models by URL; not for public servers.")
    ] = False,
) -> None:
    """Open the playground."""
    from her.config import Settings

    given: dict[str, Any] = {"backend": backend, "host": host, "port": port}
    settings = Settings(
        scenes=tuple(scenes or ()),
        allow_visitor_urls=allow_visitor_urls,
        **{key: value for key, value in given.items() if value is not None},
    )
    from her.ui.build import launch

    launch(settings)


@app.command("run", rich_help_panel=TRAINING, context_settings={"ignore_unknown_options": True})
def run_pipeline(
    pipeline: Annotated[str, typer.Argument(help="synthesize or sft.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[@FILE.toml] [KEY=VALUE] [--dry-run]", help=SETTINGS)] = None,
) -> None:
    """Run a pipeline; started again with the same settings it goes on where it ended."""
    from her.runs.pipelines import main_of

    main = main_of(pipeline)
    if not words:
        raise InputError(f"name a file of settings, such as: her run {pipeline} @pipelines/configs/{pipeline}_smoke.toml")
    raise typer.Exit(main(words))


@app.command("estimate", rich_help_panel=TRAINING, context_settings={"ignore_unknown_options": True})
def estimate_run(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE.toml [KEY=VALUE] [estimate.gpu=H200] [--json]", help="Settings of a run, and what is asked."
        ),
    ] = None,
) -> None:
    """Print what a fine-tuning run would take: memory, tokens a second, hours and money, in both layouts."""
    from her.runs.pipelines import PIPELINES, main_of

    main = main_of("sft", PIPELINES["sft"].estimate)
    if not words:
        raise InputError("name the settings of a run, such as: her estimate pipelines/configs/qwen3-4b.toml estimate.gpu=H200")
    raise typer.Exit(main(words))


@runs_app.callback(invoke_without_command=True)
def runs(context: typer.Context) -> None:
    """Runs of pipelines; alone it lists them."""
    if context.invoked_subcommand is None:
        list_runs()


@runs_app.command("list")
def list_runs() -> None:
    """Print the state of every run."""
    from her.runs.commands import overview

    for line in overview():
        typer.echo(line)


@runs_app.command("show")
def show_run(name: RunName) -> None:
    """Print state, settings, versions, losses, checkpoints and outputs of a run, and how to go on with it."""
    from her.runs.commands import show

    typer.echo(show(name))


@runs_app.command("resume")
def resume_run(
    name: RunName,
    background: Annotated[bool, typer.Option("--background", help="In a process of its own, which outlives this one.")] = False,
) -> None:
    """Start a run again with its own settings; it goes on where it ended."""
    from her.runs.commands import resume

    code = resume(name, background)
    if background:
        typer.echo(f"started; look at it with: her runs show {name}")
    raise typer.Exit(code)


@runs_app.command("stop")
def stop_run(name: RunName) -> None:
    """Ask a run to stop, as Ctrl-C would; it can be gone on with."""
    from her.runs.processes import stop

    seen = stop(name)
    typer.echo(f"{name} was asked to stop" if seen.state == "running" else f"{name} does not run: it is {seen.state}")


@runs_app.command("rm")
def remove_run(name: RunName, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete a run: its folder, with all checkpoints and outputs in it."""
    from her.runs.commands import removable, remove, size

    folder = removable(name)
    if not yes:
        typer.confirm(f"Delete '{folder}' ({size(folder):,} bytes)?", abort=True)
    typer.echo(f"{remove(name)} is deleted")


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
    plan = serving.plan(checkpoint, asked, machine=machine.probe(paths.home()))
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


@app.command("doctor", rich_help_panel=HOUSE)
def doctor_report(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Say what is installed, what does not go together, and what can run here; exit 1 when something does not."""
    from her.capacity import doctor

    report = doctor.examine()
    typer.echo(report.model_dump_json(indent=2) if as_json else doctor.text(report))
    if report.conflicts:
        raise typer.Exit(1)


@app.command(rich_help_panel=HOUSE)
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
