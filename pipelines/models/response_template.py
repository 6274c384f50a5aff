"""Write into a tokenizer how its answers split into plan and turn (`response_template`, transformers 5.13 and later).

Servers and `tokenizer.parse_response` read it. It is off during reinforcement learning: TRL hands rewards the parsed answer then,
whose `content` has no plan, so a format gate would refuse every answer.
"""

import copy
from typing import Any

from her.format.tags import WRITTEN

_PROBE = [{"role": "user", "content": "May I?"}]


def response_template(tokenizer: Any) -> dict[str, Any]:
    """Return the template: the plan as `thinking`, all after it up to the stop token as `content`."""
    opening, closing = WRITTEN["system_thinking"]
    return {
        "start_anchor": _generation_prompt(tokenizer),
        "defaults": {"role": "assistant"},
        "fields": {
            "thinking": {"open": opening, "close": closing},
            "content": {"close": tokenizer.eos_token},
        },
    }


def with_template(tokenizer: Any) -> Any:
    """Return a copy of a tokenizer with the template, as it is saved; the tokenizer itself stays without."""
    changed = copy.deepcopy(tokenizer)
    changed.response_template = response_template(tokenizer)
    return changed


def _generation_prompt(tokenizer: Any) -> str:
    """Return what the chat template writes before an answer."""
    asked, plain = (
        str(tokenizer.apply_chat_template(_PROBE, tokenize=False, add_generation_prompt=ask)) for ask in (True, False)
    )
    return asked.removeprefix(plain)
