"""Settings of a run with a tiny model and few samples."""

from typing import Any

from pipelines.sft.options import TrainingOptions

SHAPE = {
    "hidden": 16,
    "intermediate": 16,
    "layers": 1,
    "heads": 1,
    "kv_heads": 1,
    "head": 16,
    "context": 8192,
    "vocabulary": 600,
}


def small_options(shape: dict[str, Any] | None = None, **settings: Any) -> TrainingOptions:
    """Return the settings; `shape` adds to that of the model."""
    samples = {"personas": ("bundled",), "chats": 1, "exchanges": 2, "held_out_share": 0.1}
    return TrainingOptions.model_validate({"model": {"shape": SHAPE | (shape or {})}, "samples": samples, **settings})
