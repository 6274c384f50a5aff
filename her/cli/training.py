"""Commands that run pipelines and serve models: run, estimate, launch, serve."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

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

    pipeline = pipeline.replace("-", "_")  # `her run judge-check`, as commands are spelled
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


HOST = "Address to listen on; one that others can reach needs HER_REWARD_TOKEN."


class _CheckpointFirst(TyperGroup):
    """Group of `her serve` whose first word may be a checkpoint: `her serve CHECKPOINT` is `her serve checkpoint CHECKPOINT`."""

    def with_command(self, args: list[str]) -> list[str]:
        """Return the words with the command `checkpoint` before them where they name none."""
        return args if not args or args[0] in self.commands or args[0] == "--help" else ["checkpoint", *args]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words as `with_command` returns them."""
        return super().parse_args(ctx, self.with_command(args))


serve_app = typer.Typer(
    cls=_CheckpointFirst,
    no_args_is_help=True,
    help="Serve a checkpoint (`her serve CHECKPOINT`), relative rewards of groups of candidates (`her serve reward`), or "
    "the scores of a scalar reward model (`her serve scores RUN`).",
)
app.add_typer(serve_app, name="serve", rich_help_panel=PANEL)


@serve_app.command("checkpoint")
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


@serve_app.command("reward")
def serve_reward(
    endpoint: Annotated[list[str], typer.Option(help="Backend spec of the judge; repeat it for more servers of one model.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs HER_REWARD_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: any free one.")] = 8100,
    judge: Annotated[
        Literal["pairwise", "pointwise"], typer.Option(help="Compare candidates, or score each alone.")
    ] = "pairwise",
    principles: Annotated[
        str, typer.Option(help="Folder of a library; default: that of this package. `own`: the model names its own.")
    ] = "",
    trained: Annotated[
        bool, typer.Option(help="The judge is a generative reward model of this project: short instructions, its own principles.")
    ] = False,
    design: Annotated[
        Literal["circulant", "all_pairs", "member", "reference", "paper"], typer.Option(help="Pairs that are asked about.")
    ] = "circulant",
    rounds: Annotated[int, typer.Option(min=1, help="How often each candidate stands first and second.")] = 2,
    soft: Annotated[
        bool, typer.Option("--soft/--hard", help="Use the log-probabilities of verdicts and scores where the server gives them.")
    ] = True,
    samples: Annotated[int, typer.Option(min=1, help="Answers for each candidate of a pointwise judge.")] = 1,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds from a group's first candidate to its answer.")] = 600,
    in_flight: Annotated[int, typer.Option(min=1, help="Most calls at once for each endpoint.")] = 64,
    folder: Annotated[Path | None, typer.Option(help="Folder of the ledger; default: HER_HOME/reward_service.")] = None,
    token: Annotated[str, typer.Option(envvar="HER_REWARD_TOKEN", show_default=False, help="Token of clients.")] = "",
) -> None:
    """Serve relative rewards: POST /score one candidate at a time, GET /metrics. A judgement is recorded and asked only once."""
    from her import paths
    from her.judging.principles import LIBRARY
    from her.judging.serving import ServiceOptions, serve_rewards

    options = ServiceOptions(
        endpoints=tuple(endpoint),
        folder=folder or paths.home() / "reward_service",
        host=host,
        port=port,
        judge=judge,
        principles=None if trained or principles == "own" else Path(principles) if principles else LIBRARY,
        instructions="short" if trained else "full",
        design=design,
        rounds=rounds,
        soft=soft,
        samples=samples,
        deadline=deadline,
        in_flight=in_flight,
        token=token,
    )
    serve_rewards(options, lambda address: typer.echo(f"her: rewards at {address}/score, counts at {address}/metrics"))


@serve_app.command("scores")
def serve_model_scores(
    model: Annotated[str, typer.Argument(help="Name of a reward run, or folder of a scalar reward model.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others can reach needs HER_REWARD_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: any free one.")] = 8101,
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    token: Annotated[str, typer.Option(envvar="HER_REWARD_TOKEN", show_default=False, help="Token of clients.")] = "",
) -> None:
    """Serve a scalar reward model: POST /classify as vLLM has it, POST /v1/score for candidates as models write them."""
    from her.deploy.checkpoints import find_folder
    from her.judging.serving import check_access, serve_scores
    from her.runs.pipelines import pipeline_module

    check_access(host, token)  # before the model is loaded
    folder = find_folder(model) or Path(model)
    scorer = pipeline_module("reward", "scorer").load_scorer(folder, device)
    files = (path / "manifest.json" for path in (folder, folder.parent))
    manifest = next((file.read_bytes() for file in files if file.is_file()), None)

    def started(address: str) -> None:
        typer.echo(f"her: scores at {address}/classify and {address}/v1/score")

    serve_scores(scorer, host, port, token, started, manifest)
