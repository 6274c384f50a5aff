"""Estimate token counts where no tokenizer is at hand."""

import math
import re
from collections.abc import Sequence

from her.types import Message

_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Return an estimate of the tokens of these messages.

    1 token for each CJK character, 1 for 3.6 other characters (English prose with tags, on vocabularies of 100,000 and more),
    and 4 for the role marks of each message.
    """
    return sum(4 + estimate_text_tokens(message.content) for message in messages)


def estimate_text_tokens(text: str) -> int:
    """Estimate the tokens of one text, by the same rule without role marks."""
    wide = len(_CJK.findall(text))
    return wide + math.ceil((len(text) - wide) / 3.6)
