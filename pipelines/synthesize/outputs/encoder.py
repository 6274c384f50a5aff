"""The encoder of a run's audit: a tokenizer's own tokens where one is named."""

from her.training_data.audit import Encoder, EstimatedEncoder
from pipelines.models.template import ChatTemplate


def encoder(tokenizer: str) -> Encoder:
    """The encoder for a tokenizer's folder or repository; an honest estimate for none."""
    return ChatTemplate(tokenizer) if tokenizer else EstimatedEncoder()
