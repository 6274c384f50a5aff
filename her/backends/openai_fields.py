"""Fields of an OpenAI chat completion that streamed and unstreamed answers share.

The names are those of the OpenAI API reference (chat completions). `reasoning_content` and `reasoning` are extensions for the
text of a reasoning model, see docs/protocols.md.
"""

import re
from collections.abc import Mapping
from typing import Any

from her.backends.base import FinishReason, Usage


def finish_reason(reason: object) -> FinishReason:
    """Return `length` for an answer that was cut off by a token limit (some servers say `max_tokens`), else `stop`."""
    return "length" if reason in ("length", "max_tokens") else "stop"


def string_field(message: Any, name: str) -> str:
    """Return a text field of a message or delta; empty when it is absent, null or not a text."""
    value = message.get(name) if isinstance(message, Mapping) else None
    return value if isinstance(value, str) else ""


def reasoning_text(message: Any) -> str:
    """Return the text of the reasoning field, whichever name it has.

    Not both joined: servers that move from one name to the other send the same text under both.
    """
    return string_field(message, "reasoning_content") or string_field(message, "reasoning")


def parse_usage(counts: Any) -> Usage | None:
    """Return the token counts of `usage`; None when they are absent or not whole numbers."""
    if not isinstance(counts, Mapping):
        return None
    prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if isinstance(prompt, int) and isinstance(completion, int):
        return Usage(prompt_tokens=prompt, completion_tokens=completion)
    return None


def same_model(name: str, other: str) -> bool:
    """Return True when two names can mean one model: path, case, `:tag`, `.gguf` and an appended date do not count."""
    bare, bare_other = _bare(name), _bare(other)
    return bare.startswith(bare_other) or bare_other.startswith(bare)


def _bare(name: str) -> str:
    base = name.lower().replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"\.gguf$|:.*$|[^\w.]", "", base)
