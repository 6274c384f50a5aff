"""Translate the settings of a run into TRL's arguments, and refuse a launch that splits groups."""

from pathlib import Path
from typing import Any

from her.errors import InputError
from pipelines.rl.options import RlOptions

LOSSES = {"gspo": "grpo"}
"""TRL's loss of a method where the name differs; GSPO (arXiv:2507.18071) is GRPO with importance weights of sequences."""


def require_whole_batches(options: RlOptions, processes: int) -> int:
    """Return how many batches a device reads for one step.

    Raises:
        InputError: the batch of a step is not a multiple of what all devices read at once.
    """
    at_once = options.rows * processes
    if options.batch % at_once:
        raise InputError(
            f"batch={options.batch} is not a multiple of {at_once} (rows={options.rows} on each of {processes} devices), so a "
            f"device would get a part of a group; take {max(1, round(options.batch / at_once)) * at_once}"
        )
    return options.batch // at_once


def grpo_config(options: RlOptions, folder: Path, device: str, processes: int) -> Any:
    """Return TRL's arguments for a run with rewards; checkpoints go to `checkpoints/` in `folder`."""
    from trl import GRPOConfig

    rollout = options.rollout
    batches = require_whole_batches(options, processes)
    reloaded = bool(options.kl and options.model.revision and not options.lora.rank)
    return GRPOConfig(
        **shared_arguments(options, folder, device, batches),
        steps_per_generation=batches,  # the answers of one optimiser step, so that no group is spread over two
        num_iterations=rollout.iterations,
        num_generations=rollout.answers,
        max_completion_length=rollout.tokens,
        temperature=rollout.temperature,
        top_p=1.0,
        top_k=0,
        loss_type=LOSSES.get(options.method, options.method),
        importance_sampling_level="sequence" if options.method == "gspo" else "token",
        scale_rewards="group" if rollout.divide and options.method != "dr_grpo" else "none",
        beta=options.kl,
        model_init_kwargs={"revision": options.model.revision} if reloaded else None,  # TRL loads the reference by name
        epsilon=options.clip_low,
        # TRL's CISPO (arXiv:2506.13585) takes the largest ratio itself, the others how far it may rise above 1.
        epsilon_high=options.clip_high + (options.method == "cispo"),
        mask_truncated_completions=False,  # a truncated answer is judged by the gate
        shuffle_dataset=True,
        remove_unused_columns=False,  # the reward reads the other columns
        use_vllm=rollout.sampler != "transformers",
        vllm_mode="server" if rollout.sampler == "vllm_server" else "colocate",
        vllm_server_base_url=rollout.url or None,
        vllm_gpu_memory_utilization=rollout.gpu_share,
    )


def shared_arguments(options: RlOptions, folder: Path, device: str, batches: int) -> dict[str, Any]:
    """Return the arguments that all of TRL's trainers take."""
    full = options.checkpointing == "full"
    return {
        "output_dir": str(folder / "checkpoints"),
        "per_device_train_batch_size": options.rows,
        "gradient_accumulation_steps": batches,
        "max_steps": options.steps,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.schedule,
        "warmup_steps": options.warmup,  # below 1 transformers reads it as a share of all steps
        "adam_beta2": options.beta2,
        "max_grad_norm": options.clip,
        "gradient_checkpointing": full,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if full else None,
        "bf16": options.model.precision != "float32",
        "use_cpu": device == "cpu",
        "dataloader_pin_memory": device != "cpu",
        "logging_steps": options.log_every,
        "logging_nan_inf_filter": False,  # a NaN loss must reach the callback that stops the run
        "ddp_find_unused_parameters": False,
        "save_steps": options.save_every,
        "report_to": [],
        "seed": options.seed,
        "data_seed": options.seed,
        "disable_tqdm": True,
    }
