"""Weigh the advantage of each token by its mutual information with the persona (after RAPO, arXiv:2606.27025); off by default.

    weight = clip(1 + strength x (log p(token | prompt) - log p(token | prompt without the persona))), divided by its mean

A phrase that anybody could say is as likely without the persona and gets little of the advantage. It is a weight and never a
reward: as a reward, copying the profile would maximise it. The mean over an answer is 1, so no answer gains by it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from her.types import Value

if TYPE_CHECKING:
    import torch


class TokenWeightOptions(Value):
    """Weights of tokens by their mutual information with the persona.

    Args:
        strength: 0 for none, every token then has weight 1.
        low: least weight, before the division by the mean.
        high: most.
    """

    strength: float = Field(default=0, ge=0)
    low: float = Field(default=0.25, gt=0, le=1)
    high: float = Field(default=4, ge=1)


def persona_weights(own: "torch.Tensor", without: "torch.Tensor", mask: "torch.Tensor", options: TokenWeightOptions) -> Any:
    """Return the weights (answers, tokens): mean 1 over the tokens of an answer, 1 for an answer without tokens."""
    information = (own - without) * mask
    weights = (1 + options.strength * information).clamp(options.low, options.high) * mask
    mean = weights.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return weights / mean.clamp(min=options.low) * mask + (1 - mask)


def without_persona(prompt: Sequence[dict[str, str]], speaker: str) -> list[dict[str, str]]:
    """Return the prompt with a first message that names the speaker and says nothing else of anyone."""
    rest = [message for message in prompt if message["role"] != "system"]
    return [{"role": "system", "content": f"You are {speaker}."}, *rest]


def weight_tokens(trainer: Any, inputs: Sequence[dict[str, Any]], output: dict[str, Any], options: TokenWeightOptions) -> None:
    """Replace the advantages (answers,) of a sampled batch by weighted ones (answers, tokens)."""
    import torch

    from pipelines.rl.shared_sampling import padded

    answers, mask = output["completion_ids"], output["completion_mask"]
    stripped = [without_persona(row["prompt"], row.get("speaker", "")) for row in inputs]
    prompts = trainer._tokenize_prompts(stripped)[0]
    size, tokens = trainer.args.per_device_train_batch_size, answers.shape[1]
    with torch.no_grad():
        both = []
        for ids, counted in (
            (output["prompt_ids"], output["prompt_mask"]),
            padded(prompts, trainer.processing_class.pad_token_id, answers.device),
        ):
            whole = torch.cat((ids, answers), 1), torch.cat((counted, mask), 1)
            logps, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, *whole, tokens, batch_size=size)
            both.append(logps)
    weights = persona_weights(both[0], both[1], mask.float(), options)
    trainer._metrics["train"]["token_weight_largest"].append(float(weights.max()))
    output["advantages"] = output["advantages"][:, None] * weights
