"""Structured answers: from the text of a model to a value of a pydantic class, by tiers that are counted.

server      the server was held to the schema, and the text is the value as it stands
plain       the text is JSON of the schema, perhaps after thinking aloud, in a fence or with words around it
repaired    json-repair mended the JSON first
reasked     the second answer was right, after the model was told what was wrong with the first
failed      neither was; the answer carries an error and no value

An answer that was cut off at its limit of tokens is never repaired: what was lost would look whole.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from her.types import Message

Tier = Literal["", "server", "plain", "repaired", "reasked", "failed"]
TIERS: tuple[Tier, ...] = ("server", "plain", "repaired", "reasked", "failed")
"""Free text has the empty tier."""
_TRIED = 64
"""Places in one answer where a JSON value may begin that are tried; a model that thinks in braces has few."""
_LONGEST_PROBLEM = 400

_REASK = (
    "That answer cannot be used: {problem}\n"
    "Answer again, whole, with one JSON value and nothing else. It has to fit this JSON schema:\n{schema}"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text was read as: the JSON of the value, where it is not the text itself; or the problem, in words."""

    tier: Tier
    fixed: str = ""
    problem: str = ""


def parse_structured(text: str, schema: type[BaseModel], *, cut: bool, held: bool) -> Reading:
    """Read an answer.

    Args:
        cut: it ended at its limit of tokens.
        held: the server was asked to keep to the schema.
    """
    problem = _problem(text, schema)
    if problem is None:
        return Reading("server" if held else "plain")
    if cut:
        return Reading("failed", problem="it was cut off at the limit of tokens; say less")
    for found in _values(text):
        if _problem(found, schema) is None:
            return Reading("plain", found)
        problem = _problem(found, schema)
    if (mended := _mended(text)) and _problem(mended, schema) is None:
        return Reading("repaired", mended)
    return Reading("failed", problem=problem or "")


def value_of(text: str, schema: type[BaseModel]) -> BaseModel:
    """The value of a text that `read` accepted."""
    return schema.model_validate_json(text)


def repair_messages(messages: tuple[Message, ...], text: str, problem: str, schema: type[BaseModel]) -> tuple[Message, ...]:
    """The messages that ask again: what was answered, what is wrong with it, and the schema."""
    again = _REASK.format(problem=problem, schema=json.dumps(strict_schema(schema), ensure_ascii=False))
    return (*messages, Message(role="assistant", content=text), Message(role="user", content=again))


@lru_cache(256)
def strict_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema as servers want it that keep to one: every field required, no others, no defaults."""
    strict: dict[str, Any] = _strict(schema.model_json_schema())
    return strict


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _strict(each) for name, each in node.items() if name != "default" or isinstance(each, dict)}
    if isinstance(fields := kept.get("properties"), dict) and kept.get("type") == "object":
        kept |= {"required": list(fields), "additionalProperties": False}
    return kept


def _problem(text: str, schema: type[BaseModel]) -> str | None:
    """What is wrong with a text as JSON of this schema, None when nothing is."""
    try:
        schema.model_validate_json(text)
    except ValidationError as error:
        said = [f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}" for one in error.errors(include_url=False)[:4]]
        return "; ".join(said)[:_LONGEST_PROBLEM]
    except ValueError as error:  # half a character (a lone surrogate)
        return str(error)[:_LONGEST_PROBLEM]
    return None


def _values(text: str) -> Iterator[str]:
    """The JSON objects and arrays in a text that stand in no other one, the last first: what is meant follows the thinking."""
    decoder, found, at = json.JSONDecoder(strict=False), [], 0
    for _ in range(_TRIED):
        starts = [place for mark in "{[" if (place := text.find(mark, at)) >= 0]
        if not starts:
            break
        try:
            value, at = decoder.raw_decode(text, min(starts))
            found.append(value)
        except (ValueError, RecursionError):
            at = min(starts) + 1
    return (json.dumps(value, ensure_ascii=False) for value in reversed(found))


def _mended(text: str) -> str:
    """The JSON object or array that json-repair makes of a text, empty when it makes none."""
    starts = [place for mark in "{[" if (place := text.find(mark)) >= 0]
    if not starts:
        return ""
    import json_repair  # needed for broken answers only

    try:
        value = json_repair.loads(text[min(starts) :])
    except (ValueError, RecursionError):
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) and value else ""
