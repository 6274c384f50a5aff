"""Which versions of packages go together: a table, read by `her doctor`. Source: the packages' metadata on 2026-11-21."""

from typing import NamedTuple


class Rule(NamedTuple):
    """While `when` of `package` is installed, `other` has to be of `needs` if it is installed at all."""

    package: str
    when: str
    other: str
    needs: str
    reason: str
    mend: str


_OWN = "give it an environment of its own"
RULES = (
    Rule("trl", ">=1.16,<1.17", "vllm", ">=0.22,<=0.31.0", "trl 1.16 knows vllm 0.22 to 0.31", "pip install vllm==0.31.0"),
    Rule(
        "trl",
        ">=1.16,<1.17",
        "transformers",
        ">=4.56.2,<5.24",
        "trl 1.16 was tried up to 5.23",
        "pip install 'transformers>=5.17,<5.24'",
    ),
    Rule(
        "vllm",
        ">=0.33",
        "torch",
        "==2.14.*",
        "vllm 0.33 is built for torch 2.14, training here for 2.13",
        "pip install vllm==0.31.0 torch==2.13.0",
    ),
    Rule("vllm", ">=0.33", "gradio", "<0", "vllm 0.33 wants pillow 13, gradio 6 an older one", "pip install vllm==0.31.0"),
    Rule("vllm", ">=0.29,<0.33", "torch", "==2.13.*", "vllm 0.29 to 0.32 is built for torch 2.13", "pip install torch==2.13.0"),
    Rule(
        "vllm",
        ">=0.31,<0.32",
        "transformers",
        ">=5.10.4,<5.18",
        "vllm 0.31 takes transformers below 5.18",
        "pip install transformers==5.17.0",
    ),
    Rule(
        "vllm",
        ">=0.32,<0.33",
        "transformers",
        ">=5.16.1,<5.20",
        "vllm 0.32 takes transformers below 5.20",
        "pip install vllm==0.31.0 transformers==5.17.0",
    ),
    Rule("vllm", ">=0.31,<0.34", "fastapi", "<0.137", "vllm takes fastapi below 0.137", "pip install fastapi==0.136.3"),
    Rule(
        "torch",
        "==2.13.*",
        "torchvision",
        "==0.28.*",
        "torchvision 0.28 is the one for torch 2.13",
        "pip install torchvision==0.28.0",
    ),
    Rule(
        "torch",
        "==2.14.*",
        "torchvision",
        "==0.29.*",
        "torchvision 0.29 is the one for torch 2.14",
        "pip install torchvision==0.29.0",
    ),
    Rule(
        "litellm", "<2", "huggingface-hub", "<2", "litellm takes huggingface-hub below 2", "pip install huggingface-hub==1.33.0"
    ),
    Rule(
        "instructor",
        "<2",
        "openai",
        "<3.54",
        "instructor wants jiter below 0.15, openai 3.54 one above",
        "pip uninstall -y instructor",
    ),
    Rule(
        "unsloth",
        "<2027",
        "datasets",
        "<5",
        "unsloth takes datasets below 5, training here wants 5.2",
        f"pip uninstall -y unsloth, or {_OWN}",
    ),
    Rule(
        "unsloth",
        "<2027",
        "trl",
        "<=1.15.0",
        "unsloth takes trl up to 1.15, training here wants 1.16",
        f"pip uninstall -y unsloth, or {_OWN}",
    ),
    Rule(
        "unsloth",
        "<2027",
        "transformers",
        "<=5.17.0",
        "unsloth takes transformers up to 5.17",
        f"pip uninstall -y unsloth, or {_OWN}",
    ),
    Rule("verl", "<1", "torch", "<2.12", "verl 0.9 wants torch 2.11 and vllm 0.24", f"pip uninstall -y verl, or {_OWN}"),
    Rule(
        "openrlhf",
        "<1",
        "transformers",
        "==5.15.0",
        "openrlhf 0.11 pins transformers 5.15 and vllm 0.29",
        f"pip uninstall -y openrlhf, or {_OWN}",
    ),
    Rule("deepspeed", "<0.18.6", "trl", "<1", "trl 1.16 wants deepspeed 0.18.6 or newer", "pip install -U deepspeed"),
)
"""What cannot work, or not for long."""
NOTES = (
    Rule("ray", ">=2", "vllm", "==0.29.0", "ray with its extra llm pins vllm 0.29; without that extra all is well", ""),
    Rule("distilabel", ">=0", "datasets", "<5", "distilabel was last tried with datasets 4", ""),
    Rule("vllm", ">=0.23", "trl", ">=1.16", "older trl does not know vllm 0.23 and newer", "pip install 'trl==1.16.*'"),
)
"""What may be well, and is worth knowing."""
