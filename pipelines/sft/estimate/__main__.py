"""Estimate memory, tokens per second, hours and cost of a fine-tuning run, in both layouts, without starting it.

    python -m pipelines.sft.estimate @pipelines/configs/qwen3-4b.toml estimate.gpu=H200 estimate.gpus=8 estimate.dollars=3.5
    her estimate pipelines/configs/qwen3-32b.toml estimate.targets=340000 estimate.prompt_tokens=2600 ...

Settings are those of the run; those of the estimate begin with `estimate.` (`EstimateSettings`). `--json` prints one JSON object.
Samples on disk are counted with the model's own tokenizer if it is on this machine, else estimated. Nothing is downloaded.
"""

import logging
import sys
from collections.abc import Sequence

from her import config
from her.errors import HerError
from pipelines.sft.estimate.estimate import estimate_run
from pipelines.sft.estimate.settings import EstimateOptions
from pipelines.sft.estimate.table import to_json, to_table

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Run the command line; return 0, or 2 after a HerError."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options, dry_run = config.load(EstimateOptions, [_with_at(word) for word in words if word != "--json"])
        if dry_run:
            sys.stdout.write(config.dump(options))
            return 0
        estimate = estimate_run(options)
    except HerError as error:
        log.error("%s", " ".join(str(error).split()))
        return 2
    sys.stdout.write(to_json(estimate) if "--json" in words else to_table(estimate))
    return 0


def _with_at(word: str) -> str:
    """Add the `@` to a bare file name: no other word of this command line ends in .toml."""
    return f"@{word}" if word.endswith(".toml") and "=" not in word and not word.startswith("@") else word


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
