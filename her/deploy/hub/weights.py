"""Look for weights and recorded figures that are not numbers: a model that collapsed is not published. Needs no torch."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from her.deploy.hub.secrets import safetensors_header
from her.errors import InputError
from her.runs.folder import read_curve

_EXPONENTS = {"F64": ("<u8", 0x7FF0000000000000), "F32": ("<u4", 0x7F800000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}
"""Type of a tensor -> its bits as an integer, and the exponent whose bits are all set: infinity or not a number."""
_PIECE = 1 << 22
"""Values that are read at once."""


def check_weights(name: str, path: Path) -> None:
    """Refuse a safetensors file with a value that is infinite or not a number; integers and smaller floats are not read.

    Raises:
        InputError: names the tensor.
    """
    header = safetensors_header(path)
    start = path.stat().st_size - max((_span(entry)[1] for key, entry in header.items() if key != "__metadata__"), default=0)
    for key, entry in header.items():
        form = _EXPONENTS.get(str(entry.get("dtype")))
        if form is None:
            continue
        first, last = _span(entry)
        for values in _pieces(path, start + first, last - first, form[0]):
            if bool((values & values.dtype.type(form[1]) == form[1]).any()):
                raise InputError(
                    f"'{name}': tensor '{key}' holds infinity or not-a-number: the model collapsed; publish an earlier one"
                )


def _span(entry: Mapping[str, Any]) -> tuple[int, int]:
    first, last = entry["data_offsets"]
    return int(first), int(last)


def _pieces(path: Path, offset: int, length: int, form: str) -> Iterator[NDArray[Any]]:
    size = np.dtype(form).itemsize
    for begin in range(0, length // size, _PIECE):
        count = min(_PIECE, length // size - begin)
        yield np.fromfile(path, dtype=form, count=count, offset=offset + begin * size)


def check_curve(name: str) -> None:
    """Refuse a run whose last recorded value of some figure is infinite or not a number.

    Raises:
        InputError: names the figure and the step.
    """
    last: dict[str, tuple[float, Any]] = {}
    for line in read_curve(name):
        last |= {key: (value, line["step"]) for key, value in line.items() if isinstance(value, float)}
    for key, (value, step) in last.items():
        if not math.isfinite(value):
            raise InputError(f"run '{name}' recorded {key} = {value} at step {step}: it collapsed; publish an earlier checkpoint")
