"""Table of packages that do not work together although pip installs both. `her doctor` reads it.

The lock files and the extras in pyproject.toml fix the versions that this project installs; packages declare requirements in
their metadata, which the doctor reads. This table holds what neither says: packages that people install beside this project
(vllm, unsloth, verl, torchvision ...), and cases where the fix that metadata suggests would break training.

Source: metadata and release notes of the packages on 2026-11-21.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    """While `package` is installed in the range `when`, `other` must be in the range `needs`, if it is installed at all."""

    package: str
    when: str
    other: str
    needs: str
    reason: str
    fix: str


_UNSLOTH = "pip uninstall -y unsloth, or give it an environment of its own"
RULES = (
    Rule("trl", ">=1.16,<1.17", "vllm", ">=0.22,<=0.31.0", "trl 1.16 supports vllm 0.22 to 0.31", "pip install vllm==0.31.0"),
    Rule(
        "vllm",
        ">=0.33",
        "torch",
        "==2.14.*",
        "vllm 0.33 is built for torch 2.14, training here uses 2.13",
        "pip install vllm==0.31.0 torch==2.13.0",
    ),
    Rule("vllm", ">=0.33", "gradio", "<0", "vllm 0.33 requires pillow 13, gradio 6 an older one", "pip install vllm==0.31.0"),
    Rule(
        "torch",
        "==2.13.*",
        "torchvision",
        "==0.28.*",
        "torch 2.13 belongs to torchvision 0.28",
        "pip install torchvision==0.28.0",
    ),
    Rule(
        "torch",
        "==2.14.*",
        "torchvision",
        "==0.29.*",
        "torch 2.14 belongs to torchvision 0.29",
        "pip install torchvision==0.29.0",
    ),
    Rule(
        "instructor",
        "<2",
        "openai",
        "<3.54",
        "instructor requires jiter below 0.15, openai 3.54 a newer one",
        "pip uninstall -y instructor",
    ),
    Rule("unsloth", "<2027", "datasets", "<5", "unsloth requires datasets below 5, training here 5.2", _UNSLOTH),
    Rule("unsloth", "<2027", "trl", "<=1.15.0", "unsloth supports trl up to 1.15, training here uses 1.16", _UNSLOTH),
    Rule("unsloth", "<2027", "transformers", "<=5.17.0", "unsloth supports transformers up to 5.17", _UNSLOTH),
    Rule(
        "verl",
        "<1",
        "torch",
        "<2.12",
        "verl 0.9 requires torch 2.11 and vllm 0.24",
        "pip uninstall -y verl, or give it an environment of its own",
    ),
    Rule(
        "openrlhf",
        "<1",
        "transformers",
        "==5.15.0",
        "openrlhf 0.11 requires transformers 5.15 and vllm 0.29",
        "pip uninstall -y openrlhf, or give it an environment of its own",
    ),
    Rule("deepspeed", "<0.18.6", "trl", "<1", "trl 1.16 requires deepspeed 0.18.6 or newer", "pip install -U deepspeed"),
)
"""Combinations that fail."""
NOTES = (
    Rule("ray", ">=2", "vllm", "==0.29.0", "ray's extra llm requires vllm 0.29; without that extra they work together", ""),
    Rule("distilabel", ">=0", "datasets", "<5", "distilabel was last tried with datasets 4", ""),
)
"""Combinations that may work."""
