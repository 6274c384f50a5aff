"""Fields of an OpenAI chat completion that streamed and unstreamed answers share.

The names are those of the OpenAI API reference (chat completions). `reasoning_content` and `reasoning` are extensions for the
text of a reasoning model, see docs/protocols.md.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from her.backends.base import CHOICES_KEPT, LEAST_LOGPROB, FinishReason, TokenChoice, Usage, replace_surrogates


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


def token_choices(logprobs: Any) -> tuple[TokenChoice, ...]:
    """Return the last tokens of `logprobs.content` with their alternatives; none where it is absent or has another form."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, list):
        return ()
    chosen = [_choice(token) for token in content[-CHOICES_KEPT:]]
    # One token in another form and the places no longer add up to the text: then none is used.
    return tuple(filter(None, chosen)) if all(chosen) else ()


def _choice(token: Any) -> TokenChoice | None:
    """Return one token with its alternatives, likeliest first; None for another form."""
    own = _logprob(token)
    if own is None:
        return None
    listed = token.get("top_logprobs")
    others = [pair for pair in map(_logprob, listed if isinstance(listed, list) else ()) if pair is not None]
    # A sampled token may be missing in the list of the likeliest.
    pairs = dict([own, *others])
    return TokenChoice(text=own[0], logprobs=tuple(sorted(pairs.items(), key=lambda pair: -pair[1])))


def _logprob(token: Any) -> tuple[str, float] | None:
    text, value = (token.get("token"), token.get("logprob")) if isinstance(token, Mapping) else (None, None)
    if not isinstance(text, str) or isinstance(value, bool) or not isinstance(value, int | float) or not value <= 0.001:
        return None  # NaN and what is no probability as well; rounding may make a certain token slightly more than 1
    return replace_surrogates(text), min(0.0, max(float(value), LEAST_LOGPROB))


def same_model(name: str, other: str) -> bool:
    """Return True when two names can mean one model: path, case, `:tag`, `.gguf` and an appended date do not count."""
    bare, bare_other = _bare(name), _bare(other)
    return bare.startswith(bare_other) or bare_other.startswith(bare)


def _bare(name: str) -> str:
    base = name.lower().replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"\.gguf$|:.*$|[^\w.]", "", base)


def with_extra_fields(body: dict[str, Any], extra: str) -> dict[str, Any]:
    """Return the body with the fields of `Sampling.extra`, which replace others; null takes one away."""
    fields: dict[str, Any] = json.loads(extra)
    kept = {name: value for name, value in body.items() if name not in fields}
    # In `extra_body`, which the openai package puts into the body: it refuses arguments that it does not know.
    added = {name: value for name, value in fields.items() if value is not None}
    return kept | {"extra_body": body.get("extra_body", {}) | added}
