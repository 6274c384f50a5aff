"""Compare presets of the reward by whole runs: reference or group, hard or soft verdicts, gate or addend, swapped or not.

    python -m pipelines.rl.ablation @pipelines/configs/rl_qwen3-0.6b.toml name=first ablation.seeds=[1,2,3] \
        'ablation.judge=["openai:http://127.0.0.1:8000/v1"]' 'panel.held_out=["openai:http://127.0.0.1:8001/v1"]'
    python -m pipelines.rl.ablation @pipelines/configs/rl_smoke.toml 'ablation.presets=["addend"]' 'ablation.seeds=[1,2]'

Each preset and seed is a run of its own, HER_HOME/runs/NAME-PRESET-SEED; the report is HER_HOME/ablations/NAME/report.md. Started
again with the same words, it runs only what is not done.
"""

import sys
from collections.abc import Sequence

from her.runs.command_line import run_command_line
from pipelines.rl.ablation.kit import run_ablation
from pipelines.rl.ablation.presets import AblationOptions


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, AblationOptions, run_ablation, "rl.ablation")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
