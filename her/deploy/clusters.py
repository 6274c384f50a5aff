"""Files that start a pipeline on a cluster, for Slurm and SkyPilot: `her launch slurm sft @FILE.toml --nodes 2 --dry-run`.

The texts are her/launch/slurm.sh and skypilot.yaml with `%%{fields}`. Whatever a person gave is checked and quoted before it
is filled in. Nothing is submitted here.
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
_SECRET = re.compile(r"\b(?:hf_|sk-|gh[opsu]_|AKIA)[A-Za-z0-9_-]{16,}|://[^/\s@]+@")


class Job(Value):
    """What is to be started, checked by `job`.

    Args:
        words: settings of the pipeline, as they stand from the repository's folder.
        name: of the run and of the job.
        gpus: on each node; `gpu` is their type, as the cluster calls it.
        hours: until it is stopped; on Slurm it then queues again.
        accelerate: name of the configuration in pipelines/configs/accelerate.
        spot: whether machines may be taken away (SkyPilot).
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


class _Text(Template):
    """A text whose fields are `%%{field}`, so that `$` stays the shell's."""

    delimiter = "%%"


def checked(target: Target, job: Job) -> Job:
    """The job with its words as they stand from the repository's folder, its name and its configuration of accelerate.

    Raises:
        InputError: the first thing that is wrong, be it a setting that the pipeline refuses.
    """
    for option, value, least, most in (
        ("nodes", job.nodes, 1, 9999),
        ("gpus", job.gpus, 1, 64),
        ("hours", job.hours, 0.25, 8760),
    ):
        if not least <= value <= most:
            raise InputError(f"--{option} is {value:g}; give a number from {least:g} to {most:g}")
    for option, named in (("gpu", job.gpu), ("partition", job.partition), ("account", job.account)):
        if named and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._,-]{0,99}", named):
            raise InputError(f"--{option} is {named!r}; give a name of letters, digits, '.', '_' and '-'")
    if target == "skypilot" and not job.gpu:
        raise InputError("SkyPilot needs the type of GPU; give --gpu H200 or another that `sky show-gpus` lists")
    root = require_pipeline(job.pipeline)
    if not PIPELINES[job.pipeline].distributed and job.nodes * job.gpus > 1:
        raise InputError(f"pipeline '{job.pipeline}' is one process; give --nodes 1 --gpus 1")
    words, settings = _settled(job, root)
    if target == "skypilot":
        _uploaded(words, settings, root)
    name = job.name or str(getattr(settings, "name", ""))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise InputError(f"name {name!r} cannot be that of a job; give --name of letters, digits, '.', '_' and '-', 63 at most")
    made = job.model_copy(update={"words": words, "name": name, "accelerate": _accelerate(root, job)})
    _fitting(made, settings)
    return made


def text(target: Target, job: Job, submit: str) -> str:
    """The launch file of a checked job; `submit` is the command that starts it. HerError when it would be no valid one."""
    fields = (_slurm if target == "slurm" else _skypilot)(job)
    template = resources.files("her").joinpath("deploy", "launch", "slurm.sh" if target == "slurm" else "skypilot.yaml")
    filled = _Text(template.read_text("utf-8")).substitute(fields, name=job.name, submit=submit)
    check(target, filled)
    return filled


def submission(target: Target, path: Path) -> str:
    """The command that starts a launch file; InputError when the path would not fit into one line."""
    if not str(path).isprintable():
        raise InputError(f"--out is {str(path)!r}; give a path without control characters")
    file = shlex.quote(str(path))
    return f"sbatch {file}" if target == "slurm" else f"sky jobs launch {file} --env HER_BUCKET --secret HF_TOKEN"


def check(target: Target, filled: str) -> None:
    """Raise HerError unless the shell, where there is one, and YAML can read the file."""
    scripts = [filled]
    if target == "skypilot":
        try:
            task = yaml.safe_load(filled)
        except yaml.YAMLError as error:
            raise HerError(f"the launch file would be no YAML: {' '.join(str(error).split())}") from error
        scripts = [task["setup"], task["run"]]
    shell = shutil.which("bash")
    for script in scripts if shell else ():
        read = subprocess.run([str(shell), "-n"], input=script, capture_output=True, text=True, timeout=20)
        if read.returncode:
            raise HerError(f"the launch file would be no shell script: {read.stderr.strip()}")


def _slurm(job: Job) -> dict[str, str]:
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
        "cpus-per-task": str(8 * job.gpus),
        "time": f"{minutes // 60}:{minutes % 60:02}:00",
        "signal": "B:USR1@300",
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in directives.items() if value]
    whole = ["#SBATCH --exclusive", "#SBATCH --mem=0"] if job.gpus >= 8 else []
    return {
        "directives": "\n".join([*lines, "#SBATCH --requeue", *whole]),
        "home": shlex.quote(str(paths.home().absolute())),
        "python": shlex.quote(sys.executable),
        "root": shlex.quote(str(require_pipeline(job.pipeline))),
        "arguments": _arguments(job, " " * 4),
    }


def _skypilot(job: Job) -> dict[str, str]:
    pins = [f"{package}=={version}" for package, version in _versions()]
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


def _arguments(job: Job, indent: str) -> str:
    """What follows `accelerate launch`, quoted for the shell; the rank and address of the machine stand in the text."""
    lines = [
        f"--config_file {CONFIGS}/{job.accelerate}.yaml",
        f"--num_machines {job.nodes} --num_processes {job.nodes * job.gpus}" + (" --same_network" if job.nodes > 1 else ""),
        f"-m pipelines.{job.pipeline}",
        *map(shlex.quote, job.words),
    ]
    return f" \\\n{indent}".join(lines)


def _accelerate(root: Path, job: Job) -> str:
    """The configuration that was chosen, else the one that fits."""
    if not job.accelerate:
        return "fsdp2_nodes" if job.nodes > 1 else "fsdp2_node" if job.gpus > 1 else "one_gpu"
    there = sorted(path.stem for path in (root / CONFIGS).glob("*.yaml"))
    if job.accelerate not in there:
        raise InputError(f"--accelerate is {job.accelerate!r}; there are {', '.join(there)}")
    return job.accelerate


def _fitting(job: Job, settings: BaseModel) -> None:
    """Refuse what the pipeline would refuse on the cluster, after all its preparations."""
    processes, lora = job.nodes * job.gpus, getattr(settings, "lora", None)
    if job.accelerate == "cpu2":
        raise InputError("--accelerate cpu2 is two processes on this machine's processor; a job has GPUs")
    if job.accelerate == "one_gpu" and processes > 1:
        raise InputError(f"--accelerate one_gpu is one process, and this job has {processes} GPUs; leave it out")
    if getattr(lora, "quantise", "") and job.accelerate != "one_gpu":
        raise InputError(f"lora.quantise={lora.quantise}: a base in 4 bits lies whole on one GPU; give --nodes 1 --gpus 1")  # type: ignore[union-attr]
    if getattr(lora, "rank", 0) and job.accelerate == "zero3" and getattr(settings, "checkpointing", "") == "light":
        raise InputError("ZeRO-3 does not know checkpointing=light with adapters; give checkpointing=full")
    if getattr(settings, "device", "") == "cpu":
        raise InputError("device=cpu in the settings, and the job has GPUs; leave it out")


def _settled(job: Job, root: Path) -> tuple[tuple[str, ...], BaseModel]:
    """The words as the job will read them, in the repository's folder, and the settings they make."""
    words = (*job.words, *([f"name={json.dumps(job.name)}"] if job.name else []))
    for word in words:
        if not word.isprintable() or _SECRET.search(word):
            why = "seems to hold a secret, which would stand in the file" if word.isprintable() else "holds a control character"
            raise InputError(f"setting {word.partition('=')[0][:40]!r} {why}; leave it to the environment")
    model = pipeline_options(job.pipeline)
    settings, dry = config.load(model, words)
    if dry:
        raise InputError("--dry-run among the settings would make the job print them and end; give it to her launch")
    moved = tuple(_moved(word, root) for word in words)
    with contextlib.chdir(root):
        there, _ = config.load(model, moved)
    if settings != there:
        raise InputError(f"a path in the settings is meant from '{Path.cwd()}', but the job starts in '{root}'; give it whole")
    return moved, settings


def _uploaded(words: Sequence[str], settings: BaseModel, root: Path) -> None:
    """Refuse files that neither the repository nor the bucket holds."""
    for path in (*(Path(word[1:]) for word in words if word.startswith("@")), *_paths(settings)):
        if path.is_absolute() and not path.is_relative_to(root) and not path.is_relative_to("/her"):
            raise InputError(f"'{path}' is not in '{root}', which is what SkyPilot uploads; put it in the bucket: /her/...")


def _moved(word: str, root: Path) -> str:
    """A word that names a file of settings, seen from the repository; others stay."""
    if not word.startswith("@"):
        return word
    path = Path(word[1:]).absolute()
    return f"@{path.resolve().relative_to(root) if path.resolve().is_relative_to(root) else path}"


def _paths(value: Any) -> Iterator[Path]:
    """Every path in settings."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _paths(getattr(value, key))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _paths(each)


def _versions() -> Iterator[tuple[str, str]]:
    """Packages that training needs, as they are installed here, without the build (`+cpu`)."""
    for package in PINNED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield package, metadata.version(package).partition("+")[0]
