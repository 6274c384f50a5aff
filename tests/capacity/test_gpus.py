"""her/capacity/gpus.py: names in any case, and an error that lists the names."""

import pytest

from her.capacity.gpus import GPUS, find_gpu
from her.errors import InputError


def test_gpus_are_found_in_any_case() -> None:
    assert find_gpu("h200") == GPUS["H200"]


def test_an_unknown_gpu_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="there is no GPU 'V100'; there are B200, .*H200"):
        find_gpu("V100")


def test_each_entry_has_its_key_as_name() -> None:
    assert [gpu.name for gpu in GPUS.values()] == list(GPUS)
