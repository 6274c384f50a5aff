"""Write prompts for reinforcement learning on verl or slime, with the reward functions and the command line.

    python -m pipelines.rl.engine_export out=export model=~/.her/runs/sft/model prompts.runs="['synthesize']"

writes

    train.parquet, val.parquet   rows of verl's RLHFDataset; slime reads the same file
    her_verl_reward.py           `compute_score` and the group reward manager
    her_slime_reward.py          slime's group reward
    run_verl.sh                  the command, in an environment of its own (see its head)

The reward comes from `her serve reward`, which is started beside it. One schema for all rows: free-form fields are JSON texts.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from her.errors import InputError
from her.files.atomic import replacing
from her.runs.command_line import run_command_line
from her.tokens import estimate_tokens
from her.types import NonEmpty, Value
from pipelines.rl import engines
from pipelines.rl.prompts import PromptOptions, RolloutPrompt, read_prompts

COPIES = {"verl_reward.py": "her_verl_reward.py", "slime_reward.py": "her_slime_reward.py"}
VERL = "verl==0.9.1"


class EngineExportOptions(Value):
    """Settings of an export.

    Args:
        out: folder to create.
        model: folder or repository of the SFT checkpoint.
        prompts: what the policy answers.
        held_out: share of the prompts for validation.
        prompt_tokens: longest prompt; verl drops longer ones.
        answer_tokens: longest answer.
        group: answers of one prompt.
        batch: prompts of one step.
        gpus: on one node.
    """

    out: Path
    model: NonEmpty
    prompts: PromptOptions
    seed: int = 42
    held_out: float = Field(default=0.02, gt=0, lt=1)
    prompt_tokens: int = Field(default=8192, ge=16)
    answer_tokens: int = Field(default=2048, ge=16)
    group: int = Field(default=8, ge=2)
    batch: int = Field(default=64, ge=1)
    gpus: int = Field(default=8, ge=1)


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, EngineExportOptions, export, "export")


def export(options: EngineExportOptions) -> Path:
    """Write the export and return its folder.

    Raises:
        InputError: the folder is there, there are fewer than two prompts, or a source cannot be read.
    """
    out = options.out.expanduser()
    if out.exists():
        raise InputError(f"'{out}' exists; give another folder, or delete it")
    prompts = read_prompts(options.prompts, options.seed, room=options.prompt_tokens, count=estimate_tokens)
    held_out = max(1, round(options.held_out * len(prompts)))
    if len(prompts) - held_out < options.batch:
        raise InputError(
            f"{len(prompts)} prompts less {held_out} for validation are fewer than a step's {options.batch}; lower batch"
        )
    out.mkdir(parents=True)
    write_rows(prompts[held_out:], "train", out / "train.parquet")
    write_rows(prompts[:held_out], "val", out / "val.parquet")
    source = Path(engines.__path__[0])
    for name, copy in COPIES.items():
        shutil.copyfile(source / name, out / copy)
    with replacing(out / "run_verl.sh") as file:
        file.write(command(options))
    (out / "run_verl.sh").chmod(0o755)
    return out


def write_rows(prompts: Sequence[RolloutPrompt], split: str, path: Path) -> None:
    """Write prompts as rows of verl."""
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(list(verl_rows(prompts, split)), schema=_schema()), path, compression="zstd")


def verl_rows(prompts: Sequence[RolloutPrompt], split: str) -> Iterator[dict[str, Any]]:
    """Yield one row a prompt; `ground_truth` is the reference answer, empty where there is none."""
    for index, prompt in enumerate(prompts):
        messages = [message.model_dump() for message in prompt.messages]
        yield {
            "data_source": "her",
            "prompt": messages,
            "ability": "roleplay",
            "reward_model": {"style": "model", "ground_truth": prompt.reference},
            "extra_info": {
                "index": index,
                "split": split,
                "id": prompt.id,
                "conversation": prompt.conversation,
                "speaker": prompt.speaker,
                "others": json.dumps(prompt.others, ensure_ascii=False),
                "language": prompt.language,
                "reference": prompt.reference,
                "messages": json.dumps(messages, ensure_ascii=False),
            },
        }


def _schema() -> Any:
    import pyarrow as pa

    text = pa.string()
    names = ("split", "id", "conversation", "speaker", "others", "language", "reference", "messages")
    return pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            ("extra_info", pa.struct([("index", pa.int64()), *((name, text) for name in names)])),
        ]
    )


def command(options: EngineExportOptions) -> str:
    """Return the script that trains on verl; every setting that verl would otherwise choose against us is set."""
    settings = {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": "False",
        "data.train_files": "train.parquet",
        "data.val_files": "val.parquet",
        "data.train_batch_size": options.batch,
        "data.max_prompt_length": options.prompt_tokens,
        "data.max_response_length": options.answer_tokens,
        "data.filter_overlong_prompts": "True",
        "data.truncation": "error",
        "data.return_raw_chat": "True",
        "actor_rollout_ref.model.path": options.model,
        "actor_rollout_ref.actor.optim.lr": "1e-6",
        "actor_rollout_ref.actor.ppo_mini_batch_size": options.batch,
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": 1,
        "actor_rollout_ref.actor.use_kl_loss": "False",
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.n": options.group,
        "actor_rollout_ref.rollout.enable_prefix_caching": "True",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": 1,
        "reward.custom_reward_function.path": "her_verl_reward.py",
        "reward.custom_reward_function.name": "compute_score",
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.module.path": "her_verl_reward.py",
        "reward.reward_manager.name": "GroupRewardManager",
        "trainer.n_gpus_per_node": options.gpus,
        "trainer.nnodes": 1,
        "trainer.logger": "['console']",
        "trainer.project_name": "her",
    }
    lines = " \\\n".join(f"    {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
    return (
        "#!/bin/sh\n"
        "# Train on verl, in an environment of its own: its pins are not those of this project.\n"
        f"#     python -m venv verl && verl/bin/pip install '{VERL[:4]}[vllm]{VERL[4:]}'\n"
        "# and the reward service beside it:\n"
        "#     her serve reward --endpoint openai:http://127.0.0.1:8000/v1\n"
        "# HER_REWARD_URL and HER_REWARD_TOKEN name it; more settings may follow as arguments.\n"
        'set -e\ncd "$(dirname "$0")"\n'
        f"export HER_GROUP_SIZE={options.group}\n"
        f'exec python -m verl.trainer.main_ppo \\\n{lines} "$@"\n'
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
