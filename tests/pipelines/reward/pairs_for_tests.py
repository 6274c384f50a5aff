"""Preferences and tiny models for the tests of pipelines/reward."""

from pathlib import Path
from typing import Any

from her.types import Comparison, Defect, Message, Part, Preference, Turn, Verdict
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.loading import load_tokenizer
from pipelines.models.options import LoraOptions, ModelOptions, ShapeOptions
from pipelines.reward.inputs import encode_pairs, pair_texts
from pipelines.reward.options import LossOptions, PairOptions, RewardOptions

SHAPE = ShapeOptions(hidden=16, intermediate=16, layers=1, heads=1, kv_heads=1, head=16, vocabulary=400, context=512)


def turn(text: str, speaker: str = "Mara", thought: str = "", plan: str = "", defect: str = "") -> Turn:
    """Return a turn of at most three parts."""
    parts = [Part(kind="system_thinking", text=plan)] if plan else []
    parts += [Part(kind="role_thinking", text=thought)] if thought else []
    parts += [Part(kind="speech", text=text)] if text else []
    return Turn(speaker=speaker, parts=tuple(parts), raw=text, defects=(Defect(name=defect),) if defect else ())


def preference(
    chosen: Turn | str = "Come in.",
    rejected: Turn | str = "Go away.",
    conversation: str = "c1",
    *,
    winner: Any = "a",
    probability: float | None = None,
    decided: str = "",
    system: str = "You are Mara.",
    **fields: Any,
) -> Preference:
    """Return a preference over two lines of Mara."""
    sides = [turn(side) if isinstance(side, str) else side for side in (chosen, rejected)]
    comparisons = (Comparison(principle=decided, winner=winner),) if decided else ()
    return Preference(
        prompt=(Message(role="system", content=system), Message(role="user", content="Tom: May I?")),
        chosen=sides[0],
        rejected=sides[1],
        verdict=Verdict(winner=winner, judge="rule", probability=probability, comparisons=comparisons),
        conversation=conversation,
        **fields,
    )


def options(**changes: Any) -> RewardOptions:
    """Return the settings of a tiny run on a CPU."""
    settings: dict[str, Any] = {
        "device": "cpu",
        "model": ModelOptions(shape=SHAPE),
        "pairs": PairOptions(files=(Path("unused.jsonl"),)),
        "rows": 2,
        "batch": 2,
        "steps": 2,
        "checkpointing": False,
        "learning_rate": 0.01,
    }
    return RewardOptions(**{**settings, **changes})


def tiny(
    folder: Path, preferences: list[Preference], loss: LossOptions | None = None, lora: LoraOptions | None = None
) -> tuple[Any, ChatTemplate]:
    """Return the trainer of a tiny model over some preferences, and its template."""
    from pipelines.reward.scalar import build_trainer

    loss = loss or LossOptions()
    settings = options(loss=loss, lora=lora or LoraOptions())
    template = ChatTemplate(load_tokenizer(settings.model, pair_texts(preferences)))
    rows, _ = encode_pairs(template, preferences, loss, 512)
    return build_trainer(settings, template.tokenizer, rows, folder, "cpu"), template
