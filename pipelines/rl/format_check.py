"""Look at answers of the untrained policy before the first step: a checkpoint that does not know the format learns nothing."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from her.errors import InputError
from her.rewards import malformation
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.merging import base_of
from pipelines.models.sampled_turns import SampledTurn, evaluation_mode, generate
from pipelines.rl.options import RlOptions
from pipelines.rl.prompts import RolloutPrompt

log = logging.getLogger(__name__)
LEAST_AT_ONCE = 8
"""Answers that are sampled together at least; more where a training batch has more."""


def require_formatted(model: Any, template: ChatTemplate, prompts: Sequence[RolloutPrompt], options: RlOptions) -> float:
    """Return the share of answers that pass the format gate.

    Raises:
        InputError: fewer than `format_check.least` pass; the sentence counts the faults.
    """
    chosen = prompts[: options.format_check.answers]
    answers = sample_answers(model, template, chosen, options)
    plans = options.reward.plans if options.reward else True
    faults = Counter(
        malformation(answer.text, prompt.speaker, prompt.others, finished=answer.finished, plans=plans)
        for prompt, answer in zip(chosen, answers, strict=True)
    )
    passed = faults.pop("", 0)
    share = passed / max(1, len(chosen))
    log.info("%d of %d answers of the start checkpoint pass the format gate", passed, len(chosen))
    if chosen and share < options.format_check.least:
        counted = ", ".join(f"{name} {count}" for name, count in faults.most_common(3))
        raise InputError(
            f"{passed} of {len(chosen)} answers of '{options.model.base}' pass the format gate ({counted}), so this is no "
            "checkpoint that was fine-tuned on the format; give model.base the model of a run of `her run sft`, or raise "
            "rollout.tokens when answers are truncated"
        )
    return share


def sample_answers(
    model: Any, template: ChatTemplate, prompts: Sequence[RolloutPrompt], options: RlOptions, seed: int | None = None
) -> list[SampledTurn]:
    """Return one answer of the model for each prompt, sampled as in training; random state and modes stay as before."""
    rows = [template.ids(prompt.messages, ask=True) for prompt in prompts]
    answers: list[SampledTurn] = []
    rollout, unwrapped = options.rollout, base_of(model) if not hasattr(model, "generate") else model
    with evaluation_mode(unwrapped, options.seed if seed is None else seed):
        at_once = max(LEAST_AT_ONCE, options.rows)
        for first in range(0, len(rows), at_once):
            part = rows[first : first + at_once]
            answers += generate(unwrapped, template.tokenizer, part, rollout.temperature, rollout.tokens)
    return answers
