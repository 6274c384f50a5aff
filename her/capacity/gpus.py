"""GPUs by name, with the figures of their data sheets. `her estimate` reads this table.

Figures are the makers' own: memory in decimal gigabytes, dense bfloat16 rate (data sheets often print twice that, which holds
only for 2:4 sparse matrices), memory bandwidth. To add a GPU, add one entry to GPUS.
"""

from pydantic import Field

from her.errors import InputError
from her.types import Value

USABLE = 0.9
"""Share of a GPU's memory that an estimate fills. The rest is left for the CUDA context, allocator fragments and buffers."""


class Gpu(Value):
    """Figures of one GPU model.

    Args:
        memory: in bytes.
        flops: dense bfloat16 operations per second.
        bandwidth: bytes per second between memory and cores.
        dollars: price of one hour; 0 when unknown.
    """

    name: str
    memory: float = Field(gt=0)
    flops: float = Field(gt=0)
    bandwidth: float = Field(gt=0)
    dollars: float = Field(default=0, ge=0)


GPUS: dict[str, Gpu] = {
    "B200": Gpu(name="B200", memory=180e9, flops=2250e12, bandwidth=8.0e12),
    "MI300X": Gpu(name="MI300X", memory=192e9, flops=1307e12, bandwidth=5.3e12),
    "H200": Gpu(name="H200", memory=141e9, flops=989e12, bandwidth=4.8e12),
    "H100": Gpu(name="H100", memory=80e9, flops=989e12, bandwidth=3.35e12),
    "A100-80GB": Gpu(name="A100-80GB", memory=80e9, flops=312e12, bandwidth=2.04e12),
    "A100-40GB": Gpu(name="A100-40GB", memory=40e9, flops=312e12, bandwidth=1.555e12),
    "L40S": Gpu(name="L40S", memory=48e9, flops=362e12, bandwidth=0.864e12),
    "RTX4090": Gpu(name="RTX4090", memory=24e9, flops=165e12, bandwidth=1.008e12),
    "L4": Gpu(name="L4", memory=24e9, flops=121e12, bandwidth=0.3e12),
}


def find_gpu(name: str) -> Gpu:
    """Return the GPU of that name, in upper or lower case.

    Raises:
        InputError: the name is not in GPUS; the sentence lists the names that are.
    """
    for known, gpu in GPUS.items():
        if known.lower() == name.lower():
            return gpu
    raise InputError(f"there is no GPU {name!r}; there are {', '.join(GPUS)}")
