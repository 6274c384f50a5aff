"""Write files that start a pipeline on a cluster with Slurm or SkyPilot: `her launch slurm sft @FILE.toml --nodes 2 --dry-run`.

The templates are her/deploy/launch/slurm.sh and skypilot.yaml with `%%{fields}`. User input is checked and quoted before it is
filled in. Nothing is submitted.
"""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata, resources
from pathlib import Path
from string import Template
from typing import Any, Literal

import yaml
from pydantic import BaseModel

from her import config, paths
from her.errors import HerError, InputError
from her.runs.pipelines import PIPELINES, pipeline_options, require_pipeline
from her.types import Value

Target = Literal["slurm", "skypilot"]
ENDINGS: dict[str, str] = {"slurm": ".sbatch", "skypilot": ".sky.yaml"}
CONFIGS = "pipelines/configs/accelerate"
PINNED = ("accelerate", "datasets", "peft", "pyarrow", "safetensors", "torch", "transformers", "trl")
# Tokens of Hugging Face, OpenAI, GitHub and AWS, and passwords in URLs.
_SECRET = re.compile(r"\b(?:hf_|sk-|gh[opsu]_|AKIA)[A-Za-z0-9_-]{16,}|://[^/\s@]+@")


class ClusterJob(Value):
    """A pipeline run on a cluster; `check_job` checks it.

    Args:
        words: settings of the pipeline; after `check_job` with paths relative to the repository.
        name: name of the run and of the job.
        nodes: number of machines.
        gpus: GPUs of each machine.
        gpu: type of GPU, as the cluster names it.
        hours: time limit; on Slurm the job then queues again.
        partition: Slurm partition; `account` the Slurm account.
        accelerate: name of a file in pipelines/configs/accelerate.
        spot: whether preemptible machines may be used (SkyPilot).
    """

    pipeline: str
    words: tuple[str, ...] = ()
    name: str = ""
    nodes: int = 1
    gpus: int = 8
    gpu: str = ""
    hours: float = 24
    partition: str = ""
    account: str = ""
    accelerate: str = ""
    spot: bool = False


class _LaunchTemplate(Template):
    """Template with fields `%%{field}`, because `$` belongs to the shell."""

    delimiter = "%%"


def check_job(target: Target, job: ClusterJob) -> ClusterJob:
    """Check a job and its settings; return it with its name, its accelerate configuration and paths from the repository.

    Raises:
        InputError: the first problem, of the job or of a setting.
    """
    _check_limits(target, job)
    root = require_pipeline(job.pipeline)
    if not PIPELINES[job.pipeline].distributed and job.nodes * job.gpus > 1:
        raise InputError(f"pipeline '{job.pipeline}' runs in one process; give --nodes 1 --gpus 1")
    words, settings = _resolve_settings(job, root)
    if target == "skypilot":
        _require_uploaded(words, settings, root)
    name = job.name or str(getattr(settings, "name", ""))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise InputError(f"name {name!r} cannot be a job's; give --name of letters, digits, '.', '_' and '-', 63 at most")
    checked = job.model_copy(update={"words": words, "name": name, "accelerate": _accelerate_config(root, job)})
    _refuse_unfit_settings(checked, settings)
    return checked


def _check_limits(target: Target, job: ClusterJob) -> None:
    for option, value, least, most in (
        ("nodes", job.nodes, 1, 9999),
        ("gpus", job.gpus, 1, 64),
        ("hours", job.hours, 0.25, 8760),
    ):
        if not least <= value <= most:
            raise InputError(f"--{option} is {value:g}; give a number from {least:g} to {most:g}")
    for option, name in (("gpu", job.gpu), ("partition", job.partition), ("account", job.account)):
        if name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._,-]{0,99}", name):
            raise InputError(f"--{option} is {name!r}; give a name of letters, digits, '.', '_' and '-'")
    if target == "skypilot" and not job.gpu:
        raise InputError("SkyPilot needs the type of GPU; give --gpu H200 or another that `sky show-gpus` lists")


def launch_file(target: Target, job: ClusterJob, submit: str) -> str:
    """Return the text of the launch file of a checked job.

    Args:
        submit: command that submits the file, for its comment.

    Raises:
        HerError: the filled template is not valid YAML or shell.
    """
    fields = (_slurm_fields if target == "slurm" else _skypilot_fields)(job)
    template = resources.files("her").joinpath("deploy", "launch", "slurm.sh" if target == "slurm" else "skypilot.yaml")
    filled = _LaunchTemplate(template.read_text("utf-8")).substitute(fields, name=job.name, submit=submit)
    check_syntax(target, filled)
    return filled


def submit_command(target: Target, path: Path) -> str:
    """Return the command that submits a launch file; InputError for a path with control characters."""
    if not str(path).isprintable():
        raise InputError(f"--out is {str(path)!r}; give a path without control characters")
    file = shlex.quote(str(path))
    return f"sbatch {file}" if target == "slurm" else f"sky jobs launch {file} --env HER_BUCKET --secret HF_TOKEN"


def check_syntax(target: Target, text: str) -> None:
    """Raise HerError unless YAML, and bash if it is installed, can parse the file."""
    scripts = [text]
    if target == "skypilot":
        try:
            task = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise HerError(f"the launch file would not be valid YAML: {' '.join(str(error).split())}") from error
        scripts = [task["setup"], task["run"]]
    shell = shutil.which("bash")  # may be missing on Windows and in small containers
    for script in scripts if shell else ():
        parsed = subprocess.run([str(shell), "-n"], input=script, capture_output=True, text=True, timeout=20)
        if parsed.returncode:
            raise HerError(f"the launch file would not be a valid shell script: {parsed.stderr.strip()}")


def _slurm_fields(job: ClusterJob) -> dict[str, str]:
    minutes = round(job.hours * 60)
    directives = {
        "job-name": job.name,
        "output": f"{job.name}-%j.log",
        "open-mode": "append",
        "partition": job.partition,
        "account": job.account,
        "nodes": str(job.nodes),
        "ntasks-per-node": "1",
        "gpus-per-node": f"{job.gpu}:{job.gpus}" if job.gpu else str(job.gpus),
        "cpus-per-task": str(8 * job.gpus),  # fewer than most nodes have per GPU; the run itself needs few
        "time": f"{minutes // 60}:{minutes % 60:02}:00",
        "signal": "B:USR1@300",  # 300 s before the time limit, to the batch shell only; slurm.sh passes it on
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in directives.items() if value]
    # A job with all GPUs of a node gets its memory too; without --mem=0 Slurm may grant a small default.
    full_node = ["#SBATCH --exclusive", "#SBATCH --mem=0"] if job.gpus >= 8 else []
    return {
        "directives": "\n".join([*lines, "#SBATCH --requeue", *full_node]),
        "home": shlex.quote(str(paths.home().absolute())),
        "python": shlex.quote(sys.executable),
        "root": shlex.quote(str(require_pipeline(job.pipeline))),
        "arguments": _arguments(job, " " * 4),
    }


def _skypilot_fields(job: ClusterJob) -> dict[str, str]:
    pins = [f"{package}=={version}" for package, version in _installed_versions()]
    pins += ["deepspeed>=0.18.6,<0.20"] if job.accelerate == "zero3" else []
    return {
        "name_yaml": json.dumps(job.name),
        "root": json.dumps(str(require_pipeline(job.pipeline)), ensure_ascii=False),
        "nodes": str(job.nodes),
        "accelerators": json.dumps(f"{job.gpu}:{job.gpus}"),
        "spot": json.dumps(job.spot),
        "pins": shlex.join(pins),
        "hours": f"{job.hours:g}",
        "arguments": _arguments(job, " " * 6),
    }


def _arguments(job: ClusterJob, indent: str) -> str:
    """Return the arguments of `accelerate launch`, quoted for the shell; rank and address of the machine are in the template."""
    lines = [
        f"--config_file {CONFIGS}/{job.accelerate}.yaml",
        f"--num_machines {job.nodes} --num_processes {job.nodes * job.gpus}" + (" --same_network" if job.nodes > 1 else ""),
        f"-m pipelines.{job.pipeline}",
        *map(shlex.quote, job.words),
    ]
    return f" \\\n{indent}".join(lines)


def _accelerate_config(root: Path, job: ClusterJob) -> str:
    """Return the accelerate configuration of the job, or the one for its number of nodes and GPUs."""
    if not job.accelerate:
        return "fsdp2_nodes" if job.nodes > 1 else "fsdp2_node" if job.gpus > 1 else "one_gpu"
    known = sorted(path.stem for path in (root / CONFIGS).glob("*.yaml"))
    if job.accelerate not in known:
        raise InputError(f"--accelerate is {job.accelerate!r}; there are {', '.join(known)}")
    return job.accelerate


def _refuse_unfit_settings(job: ClusterJob, settings: BaseModel) -> None:
    """Refuse settings that the pipeline itself would refuse on the cluster, but only after it had prepared its rows."""
    processes, lora = job.nodes * job.gpus, getattr(settings, "lora", None)
    if job.accelerate == "cpu2":
        raise InputError("--accelerate cpu2 starts two processes on a CPU; a job has GPUs")
    if job.accelerate == "one_gpu" and processes > 1:
        raise InputError(f"--accelerate one_gpu starts one process, and this job has {processes} GPUs; leave it out")
    if getattr(lora, "quantise", "") and job.accelerate != "one_gpu":
        raise InputError(f"lora.quantise={lora.quantise}: a base in 4 bits must be complete on one GPU; give --nodes 1 --gpus 1")  # type: ignore[union-attr]
    if getattr(lora, "rank", 0) and job.accelerate == "zero3" and getattr(settings, "checkpointing", "") == "light":
        raise InputError("ZeRO-3 does not support checkpointing=light with adapters; give checkpointing=full")
    if getattr(settings, "device", "") == "cpu":
        raise InputError("device=cpu in the settings, and the job has GPUs; leave it out")


def _resolve_settings(job: ClusterJob, root: Path) -> tuple[tuple[str, ...], BaseModel]:
    """Return the words with paths from the repository's folder, where the job starts, and the settings that they give."""
    # json.dumps makes a TOML string, so that a name such as 1e5 stays text.
    words = (*job.words, *([f"name={json.dumps(job.name)}"] if job.name else []))
    for word in words:
        if not word.isprintable() or _SECRET.search(word):
            problem = "seems to be a secret, which would be in the file" if word.isprintable() else "has a control character"
            raise InputError(f"setting {word.partition('=')[0][:40]!r} {problem}; put it into the environment")
    model = pipeline_options(job.pipeline)
    settings, dry = config.load(model, words)
    if dry:
        raise InputError("--dry-run among the settings would make the job print them and end; give it to her launch instead")
    # The job starts in the repository. Settings are read from there too and compared: a relative path must not mean two files.
    from_root = tuple(_from_root(word, root) for word in words)
    with contextlib.chdir(root):
        on_cluster, _ = config.load(model, from_root)
    if settings != on_cluster:
        raise InputError(
            f"a path in the settings is relative to '{Path.cwd()}', but the job starts in '{root}'; give the full path"
        )
    return from_root, settings


def _require_uploaded(words: Sequence[str], settings: BaseModel, root: Path) -> None:
    """Refuse files that are neither in the repository nor in the bucket, which is mounted at /her."""
    for path in (*(Path(word[1:]) for word in words if word.startswith("@")), *_paths(settings)):
        if path.is_absolute() and not path.is_relative_to(root) and not path.is_relative_to("/her"):
            raise InputError(f"'{path}' is not in '{root}', which is what SkyPilot uploads; put it in the bucket: /her/...")


def _from_root(word: str, root: Path) -> str:
    """Return an `@FILE` word with its path from the repository; other words unchanged."""
    if not word.startswith("@"):
        return word
    path = Path(word[1:]).absolute()
    return f"@{path.resolve().relative_to(root) if path.resolve().is_relative_to(root) else path}"


def _paths(value: Any) -> Iterator[Path]:
    """Yield every path in settings."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _paths(getattr(value, key))
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _paths(entry)


def _installed_versions() -> Iterator[tuple[str, str]]:
    """Yield the installed versions of the packages that training needs, without the build (`+cpu`)."""
    for package in PINNED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield package, metadata.version(package).partition("+")[0]
