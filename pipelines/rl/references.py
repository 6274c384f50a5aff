"""Sample the frozen answers of the start checkpoint, which sources of kind `paper` compare with (arXiv:2601.21459)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from her.errors import InputError
from her.files import jsonl
from her.types import NonEmpty, Value
from pipelines.models.chat_template import ChatTemplate
from pipelines.rl.format_check import sample_answers
from pipelines.rl.options import RlOptions
from pipelines.rl.prompts import RolloutPrompt

log = logging.getLogger(__name__)
FILE = "references.jsonl"


class FrozenAnswer(Value):
    """Answer of the start checkpoint to the prompt `id`."""

    id: NonEmpty
    text: str


def needs_references(options: RlOptions) -> bool:
    """Return whether a source of the reward compares with the start checkpoint."""
    return options.reward is not None and any(source.kind == "paper" for source in options.reward.sources)


def with_references(
    prompts: Sequence[RolloutPrompt], model: Any, template: ChatTemplate, options: RlOptions, folder: Path, resumed: bool
) -> list[RolloutPrompt]:
    """Return the prompts with the answers of the start checkpoint, from the run's file when it is there.

    Args:
        model: with the weights of the start checkpoint.
        resumed: whether `model` will be replaced by a checkpoint, so that nothing can be sampled any more.

    Raises:
        InputError: a resumed run lost its file, or the file is of other prompts.
    """
    path = folder / FILE
    if not path.is_file():
        if resumed:
            raise InputError(
                f"'{path}' is gone, and the start checkpoint answers nothing any more; start a run with another name"
            )
        log.info("the start checkpoint answers %d prompts", len(prompts))
        answers = sample_answers(model, template, prompts, options)
        found = [FrozenAnswer(id=each.id, text=answer.text) for each, answer in zip(prompts, answers, strict=True)]
        jsonl.write(path, found)
    known = {each.id: each.text for each in jsonl.read(path, FrozenAnswer)}
    if lost := [prompt.id for prompt in prompts if prompt.id not in known]:
        raise InputError(f"'{path}' has no answer to {len(lost)} of {len(prompts)} prompts; start a run with another name")
    return [prompt.model_copy(update={"reference": known[prompt.id]}) for prompt in prompts]
