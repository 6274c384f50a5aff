"""Estimate token counts where no tokenizer is at hand."""

import math
import re
from collections.abc import Sequence

from her.types import Message

_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Tokens of these messages where no tokenizer is at hand.

    The rule: 1 a CJK character, 1 for 3.6 other characters (English prose with tags, on today's 100k+ vocabularies), 4 a
    message for its role marks.
    """
    count = 0
    for message in messages:
        wide = len(_CJK.findall(message.content))
        count += 4 + wide + math.ceil((len(message.content) - wide) / 3.6)
    return count
