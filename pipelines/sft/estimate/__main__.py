"""Estimate memory, tokens per second, hours and cost of a fine-tuning run, in both layouts, without starting it.

    python -m pipelines.sft.estimate @pipelines/configs/qwen3-4b.toml estimate.gpu=H200 estimate.gpus=8 estimate.dollars=3.5
    her estimate pipelines/configs/qwen3-32b.toml estimate.targets=340000 estimate.prompt_tokens=2600 ...

Settings are those of the run; those of the estimate begin with `estimate.` (`EstimateSettings`). `--json` prints one JSON object.
Samples on disk are counted with the model's own tokenizer if it is on this machine, else estimated. Nothing is downloaded.
"""

import sys
from collections.abc import Sequence

from pipelines.models.hardware import print_estimate
from pipelines.sft.estimate.estimate import estimate_run
from pipelines.sft.estimate.settings import EstimateOptions
from pipelines.sft.estimate.table import to_json, to_table


def main(words: Sequence[str]) -> int:
    """Run the command line; return 0, or 2 after a HerError."""
    return print_estimate(words, EstimateOptions, estimate_run, to_table, to_json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
