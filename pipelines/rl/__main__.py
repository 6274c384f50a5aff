"""Run reinforcement learning: an SFT checkpoint, prompts and a reward -> a checkpoint that chats in the playground.

    python -m pipelines.rl @pipelines/configs/rl_smoke.toml name=first --dry-run
    accelerate launch --config_file pipelines/configs/accelerate/fsdp2_node.yaml -m pipelines.rl @FILE.toml

The first is also `her run rl @pipelines/configs/rl_smoke.toml`. The run folder is HER_HOME/runs/NAME, the model is in its
`model/`. Started again with the same settings, an unfinished run resumes from its last complete checkpoint and asks no judge
twice.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from her.deploy.checkpoints import deciding_files
from her.files import atomic as files
from her.runs.command_line import run_command_line
from her.runs.folder import run_folder
from her.runs.open_run import Run, RunCollapsed, open_run
from her.types import Message
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.checkpoints import last_checkpoint
from pipelines.models.fitness import require_fit, require_launcher
from pipelines.models.loading import base_commit, base_files, load_tokenizer, resolve_device
from pipelines.models.saving import save
from pipelines.rl.best_of_n import keep_best
from pipelines.rl.format_check import require_formatted
from pipelines.rl.judge_sources import refuse_trained_prompts
from pipelines.rl.judges import build_reward
from pipelines.rl.looks import add_looks, hold_out, load_best, open_panel
from pipelines.rl.metrics import Metric
from pipelines.rl.options import FROM_PREFERENCES, RlOptions
from pipelines.rl.panel_page import write_panel
from pipelines.rl.preference_training import learn_preferences
from pipelines.rl.prompts import RolloutPrompt, read_prompts
from pipelines.rl.references import needs_references, with_references
from pipelines.rl.replay import ReplayWriter
from pipelines.rl.reward import GroupReward
from pipelines.rl.sessions import session_rows
from pipelines.rl.training import reinforce

log = logging.getLogger(__name__)


def main(words: Sequence[str]) -> int:
    """Run the command line; return an exit code as in `her.runs.command_line.run_command_line`."""
    return run_command_line(words, RlOptions, run, "rl")


def run(options: RlOptions) -> Path:
    """Run all of it and return the folder of the model, or the file of the best answers.

    Raises:
        HerError: the run cannot start or go on; RunStopped when it can be resumed.
    """
    from accelerate import PartialState
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    device = resolve_device(options.device)
    state = PartialState(cpu=device == "cpu")
    require_launcher(state, device)
    if not state.is_main_process:
        _train(options.with_base(), run_folder(options.name), None, device)
        return run_folder(options.name) / "model"
    settings, options = options, options.with_base()
    inputs = [*options.preferences.files, *base_files(options.model)]
    hashes = files.file_hashes(inputs) | base_commit(options.model)
    with open_run("rl", options.name, settings, seed=options.seed, hashes=hashes) as opened:
        return _train(options, opened.folder, opened, device)


def _train(options: RlOptions, folder: Path, opened: Run | None, device: str) -> Path:
    """Train with the method of the settings, and save in the main process."""

    def metric(**values: Any) -> None:
        if opened is not None:
            opened.log_metric(**values)

    grouped = options.method not in (*FROM_PREFERENCES, "best_of_n")
    require_fit(
        options.model, options.lora, unshared="rollout.shared_prefix=false" if grouped and options.rollout.shared_prefix else ""
    )
    template = ChatTemplate(load_tokenizer(options.model))
    template.tokenizer.response_template = None  # with it TRL would hand the reward answers without their plan
    if options.method in FROM_PREFERENCES:
        trainer = learn_preferences(options, template, folder, metric, device)
        return _save(options, template, folder, opened, trainer, trainer.state.global_step)
    prompts = _read_prompts(options, template)
    if options.reward is None:
        raise ValueError("the settings have no reward")
    refuse_trained_prompts(options.reward, prompts)
    watch = (ReplayWriter(folder),) if options.reward.replay else ()
    reward = build_reward(options.reward, options.rollout.answers, template.tokenizer.eos_token_id, watch)
    if options.method == "best_of_n":
        path = keep_best(options, template, prompts, reward, folder, metric, device)
        if opened is not None:
            opened.update_status(outputs={path.name: files.file_hash(path)})
        return path
    return _reinforce(options, template, prompts, reward, folder, opened, metric, device)


def _reinforce(
    options: RlOptions,
    template: ChatTemplate,
    prompts: Sequence[RolloutPrompt],
    reward: GroupReward,
    folder: Path,
    opened: Run | None,
    metric: Metric,
    device: str,
) -> Path:
    """Train online with the panel beside it, and save the model that it chose.

    Raises:
        RunCollapsed: an alarm of the panel ended the run; the model from before its onset is saved.
    """
    trained, apart = hold_out(prompts, options.panel.prompts) if options.panel.every else (list(prompts), [])
    parts: dict[str, Any] = {}

    def check(trainer: Any) -> None:
        _check_format(options, template, trained, trainer, metric)

    def prepare(trainer: Any) -> None:
        if needs_references(options):
            from datasets import Dataset

            model, resumed = trainer.accelerator.unwrap_model(trainer.model), last_checkpoint(folder) is not None
            known = with_references([*trained, *apart], model, template, options, folder, resumed)
            trainer.train_dataset = Dataset.from_list([prompt.row() for prompt in known[: len(trained)]])
            apart[:] = known[len(trained) :]
        if options.panel.every:
            parts["panel"] = open_panel(options, trainer, template, apart, folder)
            parts["looks"] = add_looks(trainer, parts["panel"], options, metric)

    rows = session_rows(trained) if options.rollout.unit == "session" else [prompt.row() for prompt in trained]
    trainer = reinforce(options, template.tokenizer, rows, reward, folder, metric, device, check, prepare)
    if not options.panel.every:
        return _save(options, template, folder, opened, trainer, trainer.state.global_step)
    step, collapsed = load_best(trainer, parts["panel"], folder), parts["looks"].collapsed
    if step is None and not collapsed:
        log.warning("every look of the panel is in doubt, so the model of the last step is saved; look at panel.html")
        step = int(trainer.state.global_step)
    if step is not None:
        _save(options, template, folder, opened, trainer, step)
    if opened is not None:
        write_panel(options.name, options.panel.guard)
    if collapsed:
        saved = f"the model of step {step} is saved" if step is not None else "no checkpoint from before is sound"
        raise RunCollapsed(f"{collapsed}; {saved}")
    return folder / "model"


def _read_prompts(options: RlOptions, template: ChatTemplate) -> list[RolloutPrompt]:
    if options.prompts is None:
        return []
    room = _room(options, template)
    return read_prompts(options.prompts, options.seed, room=room, count=lambda messages: _count(template, messages))


def _check_format(
    options: RlOptions, template: ChatTemplate, prompts: Sequence[RolloutPrompt], trainer: Any, metric: Any
) -> None:
    if options.format_check.answers:
        metric(step=0, formatted=require_formatted(trainer.accelerator.unwrap_model(trainer.model), template, prompts, options))


def _count(template: ChatTemplate, messages: Sequence[Message]) -> int:
    return len(template.ids(messages, ask=True))


def _room(options: RlOptions, template: ChatTemplate) -> int:
    """Return the most tokens of a prompt, so that it and an answer fit the context of the model."""
    from transformers import AutoConfig

    from pipelines.models.loading import model_source

    config = AutoConfig.from_pretrained(model_source(options.model), revision=options.model.revision or "main")
    return int(config.get_text_config().max_position_embeddings) - options.rollout.tokens


def _save(options: RlOptions, template: ChatTemplate, folder: Path, opened: Run | None, trainer: Any, step: int) -> Path:
    """Save the model where the playground opens it, and record its hashes."""
    if opened is None:
        return folder / "model"
    saved = save(
        trainer.accelerator.unwrap_model(trainer.model),
        template.tokenizer,
        folder / "model",
        base=options.model.base,
        licence=options.model.licence,
        facts={
            "pipeline": "rl",
            "method": options.method,
            "steps": step,
            "inputs": dict(opened.status.hashes),
            "commit": opened.status.commit,
        },
        half=options.model.precision == "mixed",
    )
    opened.log_metric(step=step, saved="model", difference=saved.difference)
    deciding = deciding_files(folder / "model")
    opened.update_status(outputs={f"model/{path.name}": files.file_hash(path) for path in deciding})
    return folder / "model"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
