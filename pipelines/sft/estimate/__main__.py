"""Estimate what a fine-tuning run takes, in both layouts, without starting it: memory, tokens a second, hours, money.

    python -m pipelines.sft.estimate @pipelines/configs/qwen3-4b.toml estimate.gpu=H200 estimate.gpus=8 estimate.dollars=3.5
    her estimate pipelines/configs/qwen3-32b.toml estimate.targets=340000 estimate.prompt_tokens=2600 ...

Settings are those of the run; settings of the estimate begin with `estimate.` (`EstimateSettings`). `--json` prints one JSON
object. Samples that are on disk are counted with the model's own tokenizer if that is on this machine, else estimated;
nothing is downloaded.
"""

import logging
import sys
from collections.abc import Sequence

from her import config
from her.errors import HerError
from pipelines.sft.estimate.estimate import estimate
from pipelines.sft.estimate.settings import EstimateOptions
from pipelines.sft.estimate.table import as_json, table

log = logging.getLogger("estimate")


def main(words: Sequence[str]) -> int:
    """The command line; 0, or 2 after an error of the house."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options, dry_run = config.load(EstimateOptions, [_file(word) for word in words if word != "--json"])
        if dry_run:
            sys.stdout.write(config.dump(options))
            return 0
        made = estimate(options)
    except HerError as error:
        log.error("%s", " ".join(str(error).split()))
        return 2
    sys.stdout.write(as_json(made) if "--json" in words else table(made))
    return 0


def _file(word: str) -> str:
    """A file may be named without its `@`: nothing else that is said here ends so."""
    return f"@{word}" if word.endswith(".toml") and "=" not in word and not word.startswith("@") else word


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
