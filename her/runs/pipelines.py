"""The table of pipelines: its entries are all that the command line, the doctor, the launcher and the run list know of them."""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from pydantic import BaseModel

from her import paths
from her.errors import InputError


class Pipeline(NamedTuple):
    """One entry of the table: all that `her/` knows of a pipeline, which it never imports.

    Args:
        options: `module:class` of its settings, below `pipelines.NAME`.
        trains: whether it may run in many processes, under `accelerate launch`.
        estimate: module whose `main` estimates what a run takes; empty when there is none.
    """

    name: str
    options: str
    trains: bool = False
    estimate: str = ""


PIPELINES = {
    entry.name: entry
    for entry in (
        Pipeline("synthesize", "options:SynthesisOptions"),
        Pipeline("sft", "options:TrainingOptions", trains=True, estimate="estimate.__main__"),
    )
}


def check_pipeline(pipeline: str) -> Path:
    """The folder to run pipelines from; InputError when there is no such pipeline or this is no checkout."""
    if pipeline not in PIPELINES:
        raise InputError(f"there is no pipeline '{pipeline}'; there are {', '.join(PIPELINES)}")
    if not (paths.ROOT / "pipelines" / "__init__.py").is_file():
        raise InputError("the pipelines are part of the repository, not of the installed package; run this from a checkout")
    return paths.ROOT


def main_of(pipeline: str, part: str = "__main__") -> Callable[[Sequence[str]], int]:
    """The command line of a pipeline, or of another part of it such as `plan`: words in, exit code out."""
    main: Callable[[Sequence[str]], int] = _part(pipeline, part).main

    def run(words: Sequence[str]) -> int:
        with _installed(pipeline):
            return main(words)

    return run


def options_of(pipeline: str) -> type[BaseModel]:
    """The settings of a pipeline, for `her.config.load`."""
    check_pipeline(pipeline)
    module, _, name = PIPELINES[pipeline].options.partition(":")
    options: type[BaseModel] = getattr(_part(pipeline, module), name)
    return options


def _part(pipeline: str, part: str) -> ModuleType:
    """A module of a pipeline, found by its name: the house does not know the pipelines."""
    root = str(check_pipeline(pipeline))
    if root not in sys.path:
        sys.path.insert(0, root)
    with _installed(pipeline):
        return importlib.import_module(f"pipelines.{pipeline}.{part}")


@contextmanager
def _installed(pipeline: str) -> Iterator[None]:
    """Say of a package that is not there, such as torch, how it comes there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("pipelines", "her"):
            raise
        raise InputError(
            f"pipeline '{pipeline}' needs the package {error.name}; install it with pip install -e '.[train]'"
        ) from error
