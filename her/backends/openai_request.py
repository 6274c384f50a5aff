"""Build the body of a chat completion request as the whole API takes it; what one server takes: `her.backends.openai_terms`."""

from collections.abc import Mapping, Sequence
from typing import Any

from her.backends.base import replace_surrogates
from her.backends.openai_fields import with_extra_fields
from her.backends.openai_terms import plain_messages
from her.types import Message, Sampling


def streamed_body(model: str, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    """Return the body of a request for a stream, with its token counts."""
    return _body(model, messages, sampling) | {"stream": True, "stream_options": {"include_usage": True}}


def unstreamed_body(
    model: str, messages: Sequence[Message], sampling: Sampling, schema: Mapping[str, Any] | None, choices: int
) -> dict[str, Any]:
    """Return the body of a request for a whole answer, in JSON of this schema, with log-probabilities of so many tokens."""
    body = _body(model, messages, sampling) | {"stream": False}
    if schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    if choices:
        body |= {"logprobs": True, "top_logprobs": choices}
    return body


def _body(model: str, messages: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "messages": plain_messages(messages, replace_surrogates),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return with_extra_fields(body, sampling.extra) if sampling.extra else body
