"""her/deploy/vllm_fit.py: number of GPUs, context, number format and cache for a checkpoint on a machine."""

from pathlib import Path

import pytest

from her.capacity.machine import GIB, InstalledGpu, Machine
from her.deploy.checkpoints import read_folder
from her.deploy.vllm_command import ServerOptions, build_command
from her.deploy.vllm_fit import choose_context, count_gpus, fit_checkpoint, served_dtype
from her.errors import InputError
from tests.checkpoint_folders import checkpoint

H200 = Machine(
    cores=16,
    memory=128 * GIB,
    free=100 * GIB,
    gpus=(InstalledGpu(name="H200", memory=139 * GIB, free=139 * GIB, capability=9.0),),
)
T4 = Machine(
    cores=4, memory=16 * GIB, free=12 * GIB, gpus=(InstalledGpu(name="T4", memory=15 * GIB, free=15 * GIB, capability=7.5),)
)
LAPTOP = Machine(cores=2, memory=24 * GIB, free=20 * GIB)
CACHE = 2 * 28 * 8 * 128 * 2
"""Bytes of keys and values of one token of `checkpoint`."""


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "ann")


@pytest.mark.parametrize(
    ("machine", "stored", "served"),
    [
        (H200, "bfloat16", "bfloat16"),
        (H200, "float32", "bfloat16"),
        (H200, "float16", "float16"),
        (T4, "bfloat16", "float16"),
        (LAPTOP, "bfloat16", "bfloat16"),
        (LAPTOP, "float32", "float32"),
        (LAPTOP, "float16", "bfloat16"),
    ],
)
def test_the_number_format_is_one_that_the_machine_supports(machine: Machine, stored: str, served: str) -> None:
    assert served_dtype(stored, machine) == served


def test_a_cpu_has_a_cache_of_eight_chats(ann: Path) -> None:
    words = build_command(str(ann), ServerOptions(context=4096), machine=LAPTOP).words
    assert f"VLLM_CPU_KVCACHE_SPACE={-(-8 * CACHE * 4096 // GIB)}" in words
    assert not [word for word in build_command(str(ann), ServerOptions(), machine=H200).words if "KVCACHE" in word]


def test_the_context_is_what_there_is_room_for(ann: Path) -> None:
    small = Machine(free=3 * GIB)
    fits = GIB // CACHE // 256 * 256
    fit = fit_checkpoint(read_folder(ann), small)
    assert fit.context == fits
    assert fit.notes == (f"this machine has room for {fits} of the 40960 tokens that the checkpoint supports",)
    assert fit_checkpoint(read_folder(ann), small, 2048).context == 2048


@pytest.mark.parametrize(
    ("machine", "context", "sentence"),
    [
        (H200, 50_000, "'ann' supports 40960 tokens; give --context 40960 or less"),
        (Machine(free=3 * GIB), 20_000, r"has room for \d+ tokens of 'ann', not 20000; give --context \d+"),
        (Machine(free=2 * GIB), 0, "this machine has no room for them and a chat of 1024 tokens; serve it where"),
        (Machine(gpus=(InstalledGpu(name="GT 710", memory=GIB, free=GIB),)), 0, "GT 710 has no room"),
    ],
)
def test_a_context_without_room_is_refused(ann: Path, machine: Machine, context: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        fit_checkpoint(read_folder(ann), machine, context)


def test_a_cache_is_counted_as_it_is_served_not_as_it_is_stored(tmp_path: Path) -> None:
    """float32 on disk is served as bfloat16 on a GPU: half the weights and half the cache."""
    contexts = []
    for stored in ("bfloat16", "float32"):
        folder = checkpoint(tmp_path / stored, dtype=stored)
        stored_checkpoint = read_folder(folder).model_copy(update={"size": 2 * GIB if stored == "bfloat16" else 4 * GIB})
        gpu = H200.gpus[0].model_copy(update={"memory": 6 * GIB})
        contexts.append(fit_checkpoint(stored_checkpoint, H200.model_copy(update={"gpus": (gpu,)})).context)
    assert contexts[0] == contexts[1] < 40960


def test_gpus_share_weights_that_one_of_them_does_not_hold(ann: Path) -> None:
    """30 GiB of weights: not on one GPU of 24 GiB, on two of them with 16 heads, never on three."""
    large = read_folder(ann).model_copy(update={"size": 30 * GIB, "dtype": "bfloat16"})
    gpu = InstalledGpu(name="L4", memory=24 * GIB, free=24 * GIB, capability=8.9)
    machines = [H200.model_copy(update={"gpus": (gpu,) * count}) for count in (1, 3, 4)]
    assert [count_gpus(large, machine) for machine in machines] == [1, 2, 2]
    assert [count_gpus(large.model_copy(update={"heads": 3}), machine) for machine in machines] == [1, 3, 3]
    unknown = H200.model_copy(update={"gpus": (InstalledGpu(name="GB10", memory=0, free=0),)})
    assert choose_context(large, unknown, 1) == (40960, [])
    words = build_command(str(ann), ServerOptions(), machine=H200).words
    assert "--tensor-parallel-size" not in words
