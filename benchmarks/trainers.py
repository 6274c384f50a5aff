"""Build a bare TRL trainer and the shipped trainer, and time both alike, for the benchmarks of fine-tuning."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from her.types import Message, Sample

if TYPE_CHECKING:
    from pipelines.models.chat_template import ChatTemplate
    from pipelines.models.options import ModelOptions
    from pipelines.sft.options import TrainingOptions


def bare_trl(samples: Sequence[Sample], model: "ModelOptions", template: "ChatTemplate", home: Path, **settings: Any) -> Any:
    """Return a trainer as in the documentation of TRL: prompt and completion, SFTTrainer, and these settings of SFTConfig."""
    from datasets import Dataset
    from transformers import PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    from pipelines.models.loading import load_model
    from pipelines.models.options import LoraOptions

    set_seed(42)
    rows = [{"prompt": _dicts(sample.messages[:-1]), "completion": _dicts(sample.messages[-1:])} for sample in samples]
    arguments = {
        "output_dir": str(home),
        "per_device_train_batch_size": 1,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    trainer = SFTTrainer(
        model=load_model(model, LoraOptions(), template.tokenizer, "cpu", attention="sdpa"),
        args=SFTConfig(**{**arguments, **settings}),
        train_dataset=Dataset.from_list(rows),
        processing_class=template.tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def shipped(samples: Sequence[Sample], options: "TrainingOptions", template: "ChatTemplate", home: Path) -> tuple[Any, int]:
    """Return the trainer of `her run sft` over these samples, and the number of tokens of its rows."""
    from pipelines.sft.rows.prepare import Prepared
    from pipelines.sft.rows.rows import encode_samples, load_rows, write_rows
    from pipelines.sft.train.training import build_trainer

    facts = write_rows(options, home, encode_samples(samples, template), [])
    trainer = build_trainer(options, Prepared(template, load_rows(home / "train"), None, (), facts), home, "cpu")
    return trainer, facts.laid_tokens


def timed(trainer: Any, skipped: int = 0) -> dict[str, Any]:
    """Train; return the logged losses, and the seconds of all steps but the first `skipped`."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        begin = end = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step == skipped:
                self.begin = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            self.end = time.perf_counter()

    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"seconds": round(clock.end - clock.begin, 3), "losses": [round(each, 5) for each in losses]}


def peak_mb() -> int:
    """Return the peak of this process's resident pages, in 10^6 bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) * 1024 / 1e6)


def _dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [message.model_dump() for message in messages]
