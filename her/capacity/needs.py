"""Describe what one way to run a pipeline needs, for `her doctor`. The entries stand in the table of her/runs/pipelines.py."""

from typing import NamedTuple


class Needs(NamedTuple):
    """Needs of one way to run a pipeline.

    Args:
        name: how the doctor names it, such as "sft on a GPU".
        packages: distributions that must be installed.
        extras: extras of this project that install them, as in `pip install -e '.[train]'`.
        gpu: whether an NVIDIA GPU is needed; `instead` is what to do on a machine without one.
    """

    name: str
    packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ("train",)
    gpu: bool = False
    instead: str = ""
