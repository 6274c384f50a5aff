"""Commands that run pipelines and serve models: run, estimate, launch, serve."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from her.errors import InputError
from her.runs.pipelines import HELP, PIPELINES

PANEL = "Data and models"
"""Heading in `her --help`."""
app = typer.Typer()
SETTINGS = "Settings. pipelines/configs/PIPELINE.toml names all of them with their defaults; --dry-run prints them."


@app.command("run", rich_help_panel=PANEL, context_settings={"ignore_unknown_options": True})
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


@app.command("estimate", rich_help_panel=PANEL, context_settings={"ignore_unknown_options": True})
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


@app.command("launch", rich_help_panel=PANEL)
def write_launch_file(
    target: Annotated[Literal["slurm", "skypilot"], typer.Argument(help="Cluster software.")],
    pipeline: Annotated[str, typer.Argument(help=HELP)],
    words: Annotated[list[str] | None, typer.Argument(metavar="[@FILE.toml] [KEY=VALUE]", help="Settings of the run.")] = None,
    name: Annotated[str, typer.Option(help="Name of the run and the job; default: that of the settings.")] = "",
    nodes: Annotated[int, typer.Option(help="Number of machines.")] = 1,
    gpus: Annotated[int, typer.Option(help="GPUs of each machine.")] = 8,
    gpu: Annotated[str, typer.Option(help="Type of GPU, such as H200.")] = "",
    hours: Annotated[float, typer.Option(help="Time limit; on Slurm the job then queues again.")] = 24,
    partition: Annotated[str, typer.Option(help="Slurm partition.")] = "",
    account: Annotated[str, typer.Option(help="Slurm account.")] = "",
    accelerate: Annotated[str, typer.Option(help="File of pipelines/configs/accelerate; default: by nodes and GPUs.")] = "",
    spot: Annotated[bool, typer.Option("--spot", help="SkyPilot: use cheaper, preemptible machines.")] = False,
    out: Annotated[Path | None, typer.Option(help="File to write; default: NAME.sbatch or NAME.sky.yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and print the file; write nothing.")] = False,
) -> None:
    """Write a file that starts a pipeline on a cluster, and print the command that submits it."""
    from her.deploy import clusters
    from her.files.atomic import replacing

    request = clusters.ClusterJob(
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
    job = clusters.check_job(target, request)
    path = out or Path(f"{job.name}{clusters.ENDINGS[target]}")
    submit = clusters.submit_command(target, path)
    text = clusters.launch_file(target, job, submit)
    if dry_run:
        typer.echo(f"{text}\n# not written; submit {path} with: {submit}")
        return
    if path.exists() and not force:
        raise InputError(f"'{path}' exists already; give --force to replace it, or --out")
    with replacing(path) as file:
        file.write(text)
    typer.echo(f"{path} is written; submit it with: {submit}")


@app.command("serve", rich_help_panel=PANEL)
def serve_checkpoint(
    checkpoint: Annotated[str, typer.Argument(help="Folder, name of a run, or repository (owner/name).")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 8000,
    context: Annotated[int, typer.Option(min=0, help="Longest prompt and reply in tokens; 0: as many as fit.")] = 0,
    only_print: Annotated[bool, typer.Option("--print", help="Print the command only.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the checkpoint, print it and the command.")] = False,
) -> None:
    """Serve a checkpoint with vLLM; system thinking is returned apart from the reply."""
    from her import paths
    from her.capacity import machine
    from her.deploy import vllm_command as vllm

    options = vllm.ServerOptions(host=host, port=port, context=context, elsewhere=only_print)
    command = vllm.build_command(checkpoint, options, machine=machine.probe_machine(paths.home()))
    for note in command.notes:
        typer.echo(f"her: {note}", err=True)
    if only_print:
        typer.echo(str(command))
        return
    if dry_run:
        typer.echo(vllm.describe_checkpoint(checkpoint))
        typer.echo(str(command))
    if not vllm.installed_vllm():
        raise InputError(vllm.missing_vllm_advice(checkpoint))
    typer.echo(f"her: once it answers, run: her play --backend {shlex.quote(command.spec)}", err=True)
    if not dry_run:
        vllm.run_server(command)
