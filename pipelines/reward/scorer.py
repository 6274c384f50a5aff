"""Score texts with a scalar reward model in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from her.errors import InputError
from her.types import Message
from pipelines.models.chat_template import ChatTemplate

TOKENS_AT_ONCE = 16_384
"""Padded tokens of one forward pass; a batch of 4 sequences of 4,096 tokens."""


class ScalarScorer:
    """Scalar reward model with its tokenizer; a `her.judging.reward_models.RewardModel`.

    Args:
        model: sequence classification model with one output.
        template: of its tokenizer.
    """

    def __init__(self, model: Any, template: ChatTemplate, name: str = "scalar") -> None:
        self.name = name
        self._model, self._template = model, template

    def render(self, messages: Sequence[Message]) -> str:
        """Return the text of messages, as the chat template renders it."""
        rows = [{"role": message.role, "content": message.content} for message in messages]
        return str(self._template.tokenizer.apply_chat_template(rows, tokenize=False))

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return one score for each rendered text; the head's output without an activation."""
        encoded = self._template.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        return self.score_ids(encoded)

    def score_messages(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """Return one score for each list of messages, whose last one is the candidate."""
        return self.score_ids([self._template.ids(messages, False) for messages in conversations])

    def score_ids(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Return one score for each row of token ids; rows of about the same length are scored together."""
        import torch

        scores = [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        training = self._model.training
        self._model.eval()
        try:
            with torch.no_grad():
                for places in _batches(order, rows):
                    for place, score in zip(places, self._forward([rows[place] for place in places]), strict=True):
                        scores[place] = score
        finally:
            self._model.train(training)
        return scores

    def _forward(self, rows: Sequence[Sequence[int]]) -> list[float]:
        import torch

        pad, width = self._template.tokenizer.pad_token_id, max(map(len, rows))
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        device = next(self._model.parameters()).device
        # A trainer wraps `forward` to compute in bfloat16; scores are compared in the weights' own precision.
        forward = vars(self._model).get("_original_forward", self._model)
        logits = forward(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits
        scores: list[float] = logits[:, 0].float().cpu().tolist()
        return scores


def load_scorer(folder: Path, device: str = "cpu") -> ScalarScorer:
    """Return the scorer of a saved scalar reward model.

    Raises:
        InputError: the folder holds no such model, or its tokenizer belongs to another one.
    """
    from transformers import AutoModelForSequenceClassification

    if not (folder / "config.json").is_file():
        raise InputError(f"'{folder}' has no config.json, so no reward model; give the folder `model` of a reward run")
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    if report["missing_keys"] or model.config.num_labels != 1:
        raise InputError(f"'{folder}' is not a scalar reward model: it lacks a trained head of one output")
    template = ChatTemplate(str(folder))
    if len(template.tokenizer) > model.get_input_embeddings().num_embeddings:
        raise InputError(
            f"the tokenizer in '{folder}' has {len(template.tokenizer)} tokens and the model takes fewer; it is another model's"
        )
    return ScalarScorer(model.to(device), template, folder.parent.name)


def _batches(order: Sequence[int], rows: Sequence[Sequence[int]]) -> "list[list[int]]":
    """Return places in batches of at most `TOKENS_AT_ONCE` padded tokens; `order` is by length."""
    batches: list[list[int]] = []
    for place in order:
        if batches and (len(batches[-1]) + 1) * len(rows[place]) <= TOKENS_AT_ONCE:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches
