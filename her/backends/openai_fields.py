"""Fields of an OpenAI chat completion that streamed and unstreamed answers share.

The names are those of the OpenAI API reference (chat completions); what other servers write instead: docs/servers.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from her.backends.base import CHOICES_KEPT, LEAST_LOGPROB, TokenChoice, Usage, replace_surrogates

_STOPS = "stop end_turn eos eos_token end complete completed finished done stop_sequence tool_calls tool_use function_call"
_LENGTHS = "length max_tokens max_output_tokens max_completion_tokens max_new_tokens max_length token_limit model_length"
_MORE_LENGTHS = "context_length model_context_window_exceeded incomplete limit"
_FILTERS = (
    "content_filter content_filtered safety sensitive recitation blocklist prohibited_content spii refusal moderation guardrail"
)
_MORE_FILTERS = "guardrail_intervened image_safety blocked"
_FAILURES = (
    "error abort aborted cancelled canceled timeout failed failure network_error insufficient_system_resource server_error"
)
Ending = Literal["stop", "length", "filtered", "failed"]
_ENDINGS: dict[str, Ending] = {
    **dict.fromkeys(_STOPS.split(), "stop"),
    **dict.fromkeys((*_LENGTHS.split(), *_MORE_LENGTHS.split()), "length"),
    **dict.fromkeys((*_FILTERS.split(), *_MORE_FILTERS.split()), "filtered"),
    **dict.fromkeys(_FAILURES.split(), "failed"),
}
"""What servers write as the reason of the end, in lower case: the APIs of OpenAI, Azure, Anthropic, Gemini, Mistral, DeepSeek and
GLM, and vLLM, SGLang and llama.cpp (docs/servers.md)."""
REASONING_FIELDS = (
    "reasoning_content",
    "reasoning",
    "reasoning_text",
    "thinking",
    "thinking_content",
    "thought",
    "thoughts",
    "reasoning_details",
    "thinking_blocks",
)
"""Fields of the text of a reasoning model, the most frequent first."""
_THOUGHT_BLOCKS = ("thinking", "reasoning", "thought")
_TEXT_KEYS = ("text", "value", "content", "output_text")
_BLOCK_TEXTS = ("text", "thinking", "reasoning", "content", "summary", "value", "thought")


def ending(reason: object) -> Ending | None:
    """Return what a finish reason means, in any case; None for none (null, empty or `null`); an unknown word is an end."""
    word = re.sub(r"[\s-]+", "_", str(reason or "").strip().lower()).removeprefix("finish_reason_")
    return None if word in ("", "null", "none", "unspecified") else _ENDINGS.get(word, "stop")


class Content(NamedTuple):
    """The texts of one message or delta: what is said, and what the model refused to do."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""


def read_content(content: Any) -> Content:
    """Return the texts of `content`: a text, or blocks with a type (Mistral, Anthropic and OpenAI write those)."""
    if isinstance(content, str):
        return Content(text=content)
    blocks = content if isinstance(content, list) else [content] if isinstance(content, Mapping) else []
    texts: dict[str, list[str]] = {"text": [], "reasoning": [], "refusal": []}
    for block in blocks:
        kind = str(block.get("type") or "") if isinstance(block, Mapping) else ""
        if isinstance(block, Mapping) and (kind == "refusal" or (not kind and "refusal" in block)):
            texts["refusal"].append(_block_text(block.get("refusal"), _BLOCK_TEXTS))
        elif any(word in kind for word in _THOUGHT_BLOCKS) or (isinstance(block, Mapping) and "thinking" in block):
            texts["reasoning"].append(_block_text(block, ("thinking", "reasoning", "text", "content", "summary", "thought")))
        elif not kind or "text" in kind:
            texts["text"].append(_block_text(block, _TEXT_KEYS))
    return Content(**{name: "".join(found) for name, found in texts.items()})


def _block_text(block: Any, keys: Sequence[str], depth: int = 4) -> str:
    """Return the text in a block: a string, a list of blocks, or the first of these keys."""
    if isinstance(block, str):
        return block
    if not depth:
        return ""
    if isinstance(block, list):
        return "".join(_block_text(one, keys, depth - 1) for one in block)
    if isinstance(block, Mapping):
        if "encrypted" in str(block.get("type") or ""):
            return ""
        return next((text for key in keys if (text := _block_text(block.get(key), keys, depth - 1))), "")
    return ""


def string_field(message: Any, name: str) -> str:
    """Return a text field of a message or delta; empty when it is absent, null or not a text."""
    value = message.get(name) if isinstance(message, Mapping) else None
    return value if isinstance(value, str) else ""


def reasoning_field(message: Any, known: str = "") -> tuple[str, str]:
    """Return name and text of the reasoning field; two empty texts without one.

    Not all joined: servers that move from one name to another send the same text under both.

    Args:
        known: the field that earlier pieces of this answer came in; then only that one is read.
    """
    names = (known,) if known else REASONING_FIELDS
    for name in names if isinstance(message, Mapping) else ():
        if text := _block_text(message.get(name), _BLOCK_TEXTS):
            return name, text
    return "", ""


def parse_usage(counts: Any) -> Usage | None:
    """Return the token counts of `usage`; None when they are absent or not whole numbers."""
    if not isinstance(counts, Mapping):
        return None
    prompt = counts.get("prompt_tokens", counts.get("input_tokens"))
    completion = counts.get("completion_tokens", counts.get("output_tokens"))
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
    return kept | {name: value for name, value in fields.items() if value is not None}
