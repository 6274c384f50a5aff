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
    count = 0
    for message in messages:
        wide = len(_CJK.findall(message.content))
        count += 4 + wide + math.ceil((len(message.content) - wide) / 3.6)
    return count
