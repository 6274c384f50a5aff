"""Table of all pipelines. To add one, add an entry to `PIPELINES` and its folder `pipelines/NAME/`; nothing else.

Command line, doctor, launcher and list of runs read this table. `her/` never imports a pipeline: it loads one by its name.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from pydantic import BaseModel

from her import paths
from her.capacity.needs import Needs
from her.errors import InputError

CONFIGS = "pipelines/configs"
TRAINING = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "pyarrow")
"""Distributions that every pipeline with a trainer needs."""
REWARD_ON_A_CPU = f"her run reward @{CONFIGS}/reward_smoke.toml"
WITHOUT_GPU = f"her run sft @{CONFIGS}/tiny.toml"


class Publication(NamedTuple):
    """The files of a run that `her publish` sends to the Hub.

    Args:
        kind: what it is, such as `model`.
        repository_type: `model` or `dataset`.
        roots: folders whose files stand at the root of the repository.
        files: patterns of other files, which keep their path.
        required: of these at least one must be there.
        form: setting whose value stands before the kind, such as `head`: `scalar reward model`; empty for none.
    """

    kind: str
    repository_type: Literal["model", "dataset"]
    required: tuple[str, ...]
    roots: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    form: str = ""


class Pipeline(NamedTuple):
    """Entry of one pipeline, whose code is `pipelines/NAME/`, with a `main(words)` in `__main__.py`.

    Args:
        summary: what it does, for `her run --help`; no full stop.
        options: `module:Class` of its settings, below `pipelines.NAME`.
        example: settings file of a small run on a CPU, from the repository's root.
        needs: one entry for each way to run it.
        distributed: whether it can run in several processes, under `accelerate launch`.
        estimate: module below `pipelines.NAME` whose `main(words)` estimates memory, hours and cost; empty for none.
        publishes: what of a run goes to the Hub; None for nothing.
    """

    name: str
    summary: str
    options: str
    example: str
    needs: tuple[Needs, ...]
    distributed: bool = False
    estimate: str = ""
    publishes: Publication | None = None


_ENTRIES = (
    Pipeline(
        name="synthesize",
        summary="Turn books and scenes into training samples with layered thoughts",
        options="options:SynthesisOptions",
        example=f"{CONFIGS}/synthesize_smoke.toml",
        needs=(Needs("synthesize", ("pyarrow", "datasets"), ("train",)),),
        publishes=Publication(
            kind="transcripts and samples",
            repository_type="dataset",
            required=("dataset",),
            roots=("dataset",),
            files=("transcripts.jsonl", "held_out.json", "report.json", "audit.md"),
        ),
    ),
    Pipeline(
        name="sft",
        summary="Fine-tune a model on samples and save a checkpoint for the playground",
        options="options:TrainingOptions",
        example=f"{CONFIGS}/sft_smoke.toml",
        needs=(
            Needs("sft on a CPU", TRAINING, ("train",)),
            Needs("sft on a GPU", TRAINING, ("train",), gpu=True, instead=WITHOUT_GPU),
            Needs("sft in 4 bits (QLoRA)", (*TRAINING, "bitsandbytes"), ("train", "quantise"), gpu=True, instead=WITHOUT_GPU),
        ),
        distributed=True,
        estimate="estimate.__main__",
        publishes=Publication(kind="model", repository_type="model", required=("model",), roots=("model",), files=("adapter/*",)),
    ),
    Pipeline(
        name="reward",
        summary="Train a reward model on preferences of people or judges",
        options="options:RewardOptions",
        example=f"{CONFIGS}/reward_smoke.toml",
        needs=(
            Needs("reward on a CPU", (*TRAINING, "matplotlib"), ("train",)),
            Needs(
                "reward on a GPU",
                (*TRAINING, "matplotlib"),
                ("train",),
                gpu=True,
                instead=f"her run reward @{CONFIGS}/reward_smoke.toml",
            ),
        ),
        publishes=Publication(
            kind="reward model",
            repository_type="model",
            required=("model",),
            roots=("model",),
            files=("report.json", "report.md", "report_card.*", "manifest.json"),
            form="head",
        ),
    ),
    Pipeline(
        name="rl",
        summary="Reinforce a fine-tuned model by a reward, or by preferences, and save a checkpoint for the playground",
        options="options:RlOptions",
        example=f"{CONFIGS}/rl_smoke.toml",
        needs=(
            Needs("rl on a CPU", TRAINING, ("train",)),
            Needs("rl on a GPU", TRAINING, ("train",), gpu=True, instead=f"her run rl @{CONFIGS}/rl_smoke.toml"),
        ),
        distributed=True,
        estimate="estimate.__main__",
        publishes=Publication(kind="model", repository_type="model", required=("model",), roots=("model",), files=("adapter/*",)),
    ),
    Pipeline(
        name="ratings",
        summary="Make a data set of ratings and votes that may be published, without names and ids",
        options="options:RatingsOptions",
        example=f"{CONFIGS}/ratings.toml",
        needs=(Needs("ratings", ("pyarrow", "huggingface_hub"), ("train",)),),
        publishes=Publication(
            kind="preferences and verdicts", repository_type="dataset", required=("dataset",), roots=("dataset",)
        ),
    ),
    Pipeline(
        name="principles",
        summary="Make principles of preferences and keep those that reproduce the label on other conversations",
        options="options:PrinciplesOptions",
        example=f"{CONFIGS}/principles_smoke.toml",
        needs=(Needs("principles", ("scikit-learn", "scipy"), ()),),
        publishes=Publication(
            kind="principles",
            repository_type="dataset",
            required=("library",),
            files=("library/*", "principles.jsonl", "decisions.jsonl", "manifest.json"),
        ),
    ),
    Pipeline(
        name="judge_check",
        summary="Check a judge against labels of people and write its report card",
        options="options:JudgeCheckOptions",
        example=f"{CONFIGS}/judge_check_smoke.toml",
        needs=(Needs("judge_check", ("matplotlib",), ("train",)),),
        publishes=Publication(
            kind="evaluation report", repository_type="dataset", required=("report_card.json",), files=("report_card.*",)
        ),
    ),
    Pipeline(
        name="evaluate",
        summary="Play scenes of books with a model, have them judged, and report scores with intervals",
        options="options:EvaluateOptions",
        example=f"{CONFIGS}/evaluate_smoke.toml",
        needs=(Needs("evaluate", ("nltk", "rouge", "matplotlib"), ("evaluate",)),),
        publishes=Publication(
            kind="evaluation report",
            repository_type="dataset",
            required=("scores.jsonl",),
            files=("scores.jsonl", "report.*", "manifest.json", ".eval_results/*"),
        ),
    ),
)
PIPELINES = {entry.name: entry for entry in _ENTRIES}
HELP = "; ".join(f"{entry.name}: {entry.summary}" for entry in _ENTRIES)
"""Names and summaries, for `her run --help` and `her launch --help`."""


def pipeline_needs() -> list[Needs]:
    """List what all pipelines need, in the order of the table."""
    return [needs for pipeline in PIPELINES.values() for needs in pipeline.needs]


def require_pipeline(name: str) -> Path:
    """Return the repository's root, from which pipelines run.

    Raises:
        InputError: no such pipeline, or `her` is installed without the repository.
    """
    if name not in PIPELINES:
        raise InputError(f"there is no pipeline '{name}'; there are {', '.join(PIPELINES)}")
    if not (paths.ROOT / "pipelines" / "__init__.py").is_file():
        raise InputError("the pipelines are part of the repository, not of the installed package; run this from a checkout")
    return paths.ROOT


def pipeline_main(name: str) -> Callable[[Sequence[str]], int]:
    """Return the command line of a pipeline: words in, exit code out."""
    return _main(name, "__main__")


def estimate_main(name: str) -> Callable[[Sequence[str]], int]:
    """Return the command line that estimates what a run of a pipeline takes.

    Raises:
        InputError: the pipeline has no estimate.
    """
    require_pipeline(name)
    if not PIPELINES[name].estimate:
        able = " and ".join(entry.name for entry in PIPELINES.values() if entry.estimate)
        raise InputError(f"pipeline '{name}' has no estimate; {able} have")
    return _main(name, PIPELINES[name].estimate)


def pipeline_options(name: str) -> type[BaseModel]:
    """Return the settings class of a pipeline, for `her.config.load`."""
    require_pipeline(name)
    module, _, class_name = PIPELINES[name].options.partition(":")
    options: type[BaseModel] = getattr(_import(name, module), class_name)
    return options


def pipeline_module(name: str, module: str) -> ModuleType:
    """Return a module of a pipeline, such as `scorer` of `reward`.

    Raises:
        InputError: no such pipeline, `her` is installed without the repository, or a package that it needs is missing.
    """
    return _import(name, module)


def _main(name: str, module: str) -> Callable[[Sequence[str]], int]:
    main: Callable[[Sequence[str]], int] = _import(name, module).main

    def run(words: Sequence[str]) -> int:
        with _explain_missing_package(name):
            return main(words)

    return run


def _import(name: str, module: str) -> ModuleType:
    """Import a module of a pipeline from the repository, which need not be on Python's path."""
    root = str(require_pipeline(name))
    if root not in sys.path:
        sys.path.insert(0, root)  # first, so that an installed package named `pipelines` does not win
    with _explain_missing_package(name):
        return importlib.import_module(f"pipelines.{name}.{module}")


@contextmanager
def _explain_missing_package(name: str) -> Iterator[None]:
    """Turn the import error of a package that is not installed, such as torch, into the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("pipelines", "her"):
            raise  # a mistake in this repository
        install = PIPELINES[name].needs[0].install  # the first way needs least; others name their extras themselves
        raise InputError(f"pipeline '{name}' needs the package {error.name}; install it with {install}") from error
