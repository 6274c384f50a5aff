"""Estimate a reinforcement-learning run: seconds of sampling, judging and updating a step, memory, hours, judge calls, money.

    her estimate --pipeline rl pipelines/configs/rl_qwen3-4b.toml estimate.gpu=H100 estimate.prompt_tokens=2600
    python -m pipelines.rl.estimate @pipelines/configs/rl_qwen3-32b.toml estimate.gpus=8 estimate.sampler_gpus=4 --json

Settings are those of the run; those of the estimate begin with `estimate.` (`RlEstimateSettings`). Nothing is downloaded.
"""

import sys
from collections.abc import Sequence

from pipelines.models.hardware import print_estimate
from pipelines.rl.estimate.estimate import estimate_run
from pipelines.rl.estimate.settings import RlEstimateOptions
from pipelines.rl.estimate.table import to_json, to_table


def main(words: Sequence[str]) -> int:
    """Run the command line; return 0, or 2 after a HerError."""
    return print_estimate(words, RlEstimateOptions, estimate_run, to_table, to_json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
