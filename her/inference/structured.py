"""Turn the text of a model into a value of a pydantic class, by tiers that are counted.

server      the server was held to the schema, and the whole text is valid JSON of it
plain       the text contains valid JSON of the schema, after reasoning, in a code fence or between other words
repaired    json-repair corrected the JSON first
reasked     the second answer was valid, after the model was shown the problem of the first
failed      neither was valid; the answer has an error and no value

A truncated answer (at its limit of tokens) is never repaired: the repaired value would look complete and is not.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from her.format import after_thinking
from her.types import Message

Tier = Literal["", "server", "plain", "repaired", "reasked", "failed"]
TIERS: tuple[Tier, ...] = ("server", "plain", "repaired", "reasked", "failed")
"""Free text has the empty tier."""
_MOST_STARTS = 64
"""Positions in one answer at which a JSON value is looked for; text full of braces would take quadratic time."""
_LONGEST_PROBLEM, _MOST_PROBLEMS = 400, 4
"""Characters and single problems in the description of what is wrong with an answer."""

_REASK = (
    "That answer cannot be used: {problem}\n"
    "Answer again, whole, with one JSON value and nothing else. It has to fit this JSON schema:\n{schema}"
)


@dataclass(frozen=True, slots=True)
class StructuredText:
    """A text read by its schema.

    Args:
        tier: how the value was found.
        fixed: JSON of the value; empty if the text itself is that.
        problem: why there is no value, in words for the model.
    """

    tier: Tier
    fixed: str = ""
    problem: str = ""


def parse_structured(text: str, schema: type[BaseModel], *, truncated: bool, held: bool) -> StructuredText:
    """Find the value of a schema in an answer.

    Args:
        text: of the model.
        schema: pydantic class of the value.
        truncated: the answer ended at its limit of tokens.
        held: the server was held to the schema.
    """
    problem = _problem(text, schema)
    if problem is None:
        return StructuredText("server" if held else "plain")
    text = after_thinking(text)  # a draft of the answer within the thinking is not the answer
    if truncated:  # also before repairing: a list cut in the middle would become a shorter list
        return StructuredText("failed", problem="it was cut off at the limit of tokens; say less")
    for value in _json_values(text):
        problem = _problem(value, schema)
        if problem is None:
            return StructuredText("plain", value)
    if (repaired := _repaired(text)) and _problem(repaired, schema) is None:
        return StructuredText("repaired", repaired)
    return StructuredText("failed", problem=problem or "")


def value_of(text: str, schema: type[BaseModel]) -> BaseModel:
    """Return the value of a JSON text that `parse_structured` has accepted."""
    return schema.model_validate_json(text)


def repair_messages(messages: tuple[Message, ...], text: str, problem: str, schema: type[BaseModel]) -> tuple[Message, ...]:
    """Return the messages of the second request: the first ones, the answer, its problem and the schema."""
    again = _REASK.format(problem=problem, schema=json.dumps(strict_schema(schema), ensure_ascii=False))
    return (*messages, Message(role="assistant", content=text), Message(role="user", content=again))


@lru_cache(256)
def strict_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema in the form of OpenAI's strict mode: every field required, no others, no defaults."""
    strict: dict[str, Any] = _strict(schema.model_json_schema())
    return strict


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    # Below "properties", `default` is the name of a field if it maps to a schema.
    strict = {name: _strict(item) for name, item in node.items() if name != "default" or isinstance(item, dict)}
    if isinstance(fields := strict.get("properties"), dict) and strict.get("type") == "object":
        strict |= {"required": list(fields), "additionalProperties": False}
    return strict


def _problem(text: str, schema: type[BaseModel]) -> str | None:
    """Describe what is wrong with a text as JSON of this schema; None if it is valid."""
    try:
        schema.model_validate_json(text)
    except ValidationError as error:
        problems = error.errors(include_url=False)[:_MOST_PROBLEMS]
        texts = [f"{'.'.join(map(str, item['loc'])) or 'the answer'}: {item['msg']}" for item in problems]
        return "; ".join(texts)[:_LONGEST_PROBLEM]
    except ValueError as error:  # a lone surrogate cannot be encoded
        return str(error)[:_LONGEST_PROBLEM]
    return None


def _json_values(text: str) -> Iterator[str]:
    """Yield the outermost JSON objects and arrays in a text, the last first: an answer follows its reasoning."""
    decoder, values, at = json.JSONDecoder(strict=False), [], 0
    for _ in range(_MOST_STARTS):
        start = _first_bracket(text, at)
        if start is None:
            break
        try:
            value, at = decoder.raw_decode(text, start)
            values.append(value)
        except (ValueError, RecursionError):
            at = start + 1  # a bracket in prose; the value may begin at the next one
    return (json.dumps(value, ensure_ascii=False) for value in reversed(values))


def _repaired(text: str) -> str:
    """Return the JSON object or array that json-repair makes of a text, or an empty string."""
    start = _first_bracket(text, 0)
    if start is None:
        return ""
    import json_repair  # slow to import, needed for broken answers only

    try:
        value = json_repair.loads(text[start:])
    except (ValueError, RecursionError):
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) and value else ""


def _first_bracket(text: str, at: int) -> int | None:
    """Return the position of the next opening brace or bracket."""
    starts = [place for mark in "{[" if (place := text.find(mark, at)) >= 0]
    return min(starts, default=None)
