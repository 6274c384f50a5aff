"""Encode pairs as the reward model reads them: prompt and candidate, rendered by the model's chat template."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from her.errors import InputError
from her.judging.reward_models import reward_messages
from her.types import Message, Preference
from pipelines.models.chat_template import ChatTemplate
from pipelines.reward.options import LossOptions

Rows = dict[str, list[Any]]
"""Columns of the training set, as `datasets.Dataset.from_dict` takes them."""


def pair_texts(preferences: Sequence[Preference]) -> list[str]:
    """Return all message texts, for a tokenizer that is trained on them."""
    return [
        message.content
        for preference in preferences
        for turn in (preference.chosen, preference.rejected)
        for message in reward_messages(preference.prompt, turn)
    ]


def encode_pairs(
    template: ChatTemplate, preferences: Sequence[Preference], loss: LossOptions, most_tokens: int, prompts: bool = True
) -> tuple[Rows, Counter[str]]:
    """Return the columns of the training set, and how many pairs were left out because they are too long.

    Args:
        prompts: False leaves the prompts out, for the prompt-blind baseline.

    Raises:
        InputError: no pair is left.
    """
    rows: Rows = {name: [] for name in ("chosen_ids", "rejected_ids", "margin", "weight", "label")}
    left_out: Counter[str] = Counter()
    for preference in preferences:
        prompt: tuple[Message, ...] = preference.prompt if prompts else ()
        pair = [template.ids(reward_messages(prompt, turn), False) for turn in (preference.chosen, preference.rejected)]
        if max(map(len, pair)) > most_tokens:
            left_out["too long"] += 1
            continue
        rows["chosen_ids"].append(pair[0])
        rows["rejected_ids"].append(pair[1])
        rows["margin"].append(loss.margin * preference.margin)
        rows["weight"].append(preference.weight if loss.weights else 1.0)
        rows["label"].append(chosen_probability(preference) if loss.soft_labels else 1.0)
    if not rows["weight"]:
        raise InputError(f"every pair has more than pairs.most_tokens={most_tokens} tokens; raise it")
    # Mean 1, so that weights change what a step learns and not how large it is.
    mean = sum(rows["weight"]) / len(rows["weight"])
    rows["weight"] = [weight / mean for weight in rows["weight"]]
    return rows, left_out


def chosen_probability(preference: Preference) -> float:
    """Return the probability that the chosen candidate is the better one: 1 where the verdict has none."""
    verdict = preference.verdict
    if verdict.probability is None:
        return 1.0
    return verdict.probability if verdict.winner == "a" else 1 - verdict.probability
