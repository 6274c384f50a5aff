"""her/capacity/machine.py: rows of nvidia-smi, and the machine that runs the tests."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from her.capacity.machine import GIB, InstalledGpu, list_gpus, probe_machine

H200 = "NVIDIA H200, 143771, 143158, 9.0, 580.82.07\n"


@pytest.mark.parametrize(
    ("output", "gpus"),
    [
        (H200, [("NVIDIA H200", 9.0, "580.82.07")]),
        (H200 + "Tesla T4, 15360, 15000, 7.5, 580.82.07\n", [("NVIDIA H200", 9.0, "580.82.07"), ("Tesla T4", 7.5, "580.82.07")]),
        ("GB10, [N/A], [N/A], 12.1, 580.95\n", [("GB10", 12.1, "580.95")]),
        ("No devices were found\n", []),
        ("", []),
    ],
)
def test_the_rows_of_nvidia_smi_are_gpus(output: str, gpus: list[tuple[str, float, str]]) -> None:
    listed = list_gpus(lambda _: output)
    assert [(gpu.name, gpu.capability, gpu.driver) for gpu in listed] == gpus


def test_memory_is_in_bytes() -> None:
    assert list_gpus(lambda _: H200)[0] == InstalledGpu(
        name="NVIDIA H200", memory=143771 * 2**20, free=143158 * 2**20, capability=9.0, driver="580.82.07"
    )


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.CalledProcessError(9, "nvidia-smi")])
def test_a_driver_that_does_not_answer_means_no_gpu(error: Exception) -> None:
    def fails(_: Sequence[str]) -> str:
        raise error

    assert list_gpus(fails) == ()


def test_this_machine_has_cores_memory_and_disk(tmp_path: Path) -> None:
    machine = probe_machine(tmp_path)
    assert machine.cores >= 1
    assert 0 < machine.free <= machine.memory
    assert machine.memory > GIB // 4
    assert machine.disk > 0
