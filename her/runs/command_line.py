"""Run the command line of a pipeline: parse settings, run, log one sentence, return an exit code."""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from her import config
from her.config import ConfigT
from her.errors import HerError
from her.runs.open_run import RunCollapsed, RunStopped


def run_command_line(words: Sequence[str], model: type[ConfigT], run: Callable[[ConfigT], Path], pipeline: str) -> int:
    """Parse `words` into `model`, call `run` and log the path that it returns; with `--dry-run` print the settings only.

    Returns:
        0 when the run is done, 2 after a HerError, 3 when it was stopped and can be resumed, 4 when it collapsed.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    log = logging.getLogger(pipeline)
    try:
        options, dry_run = config.load(model, words)
        if dry_run:
            sys.stdout.write(config.dump(options))
            return 0
        output = run(options)
    except (RunStopped, KeyboardInterrupt) as stopped:
        log.error("stopped: %s; run the same command again to resume", str(stopped) or "by hand")
        return 3
    except RunCollapsed as collapsed:
        log.error("collapsed: %s", collapsed)
        return 4
    except HerError as error:
        log.error("%s", " ".join(str(error).split()))
        return 2
    log.info("%s", output)
    return 0
