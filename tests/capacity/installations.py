"""Machines and sets of installed packages for the tests of the doctor."""

from her.backends.open import backend_needs
from her.capacity.doctor import COMMANDS, DoctorReport, diagnose
from her.capacity.installation import Installation
from her.capacity.machine import GIB, InstalledGpu, Machine
from her.runs.pipelines import pipeline_needs

NEEDS = {"backend": backend_needs(), "command": COMMANDS, "stage": pipeline_needs()}
H200 = Machine(
    system="Linux", cores=16, memory=128 * GIB, free=100 * GIB, disk=60 * GIB, gpus=(InstalledGpu(name="H200", memory=1, free=1),)
)
LAPTOP = Machine(system="Linux", cores=2, memory=24 * GIB, free=20 * GIB, disk=60 * GIB)
BASE = {
    "her": "0.1.0",
    "gradio": "6.31.0",
    "sqlalchemy": "2.1.9",
    "alembic": "1.18",
    "bm25s": "0.3",
    "openai": "3.54.0",
    "scikit-learn": "1.8.0",
    "scipy": "1.17.0",
}
TRAINING = {
    **BASE,
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "trl": "1.16.0",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "datasets": "5.2.0",
    "pyarrow": "26.0.1",
    "huggingface-hub": "2.4.0",
    "fastapi": "0.165.0",
    "matplotlib": "3.11.0",
}
"""The newest versions that the extra `train` takes."""
WITH_VLLM = {**TRAINING, "transformers": "5.17.0", "huggingface-hub": "1.33.0", "fastapi": "0.136.3", "vllm": "0.31.0"}
"""Versions that train and serve in one environment."""


def report_on(versions: dict[str, str], machine: Machine = LAPTOP, **requires: tuple[str, ...]) -> DoctorReport:
    """Return the report on these versions; `requires` is what packages declare in their metadata."""
    return diagnose(Installation(python="3.11.7", versions=versions, requires=requires), machine, NEEDS)
