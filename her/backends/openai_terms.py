"""Terms of one server: which fields, roles and continuations of a request it takes. They are learned from its refusals.

A refusal that names a field, a role or the order of roles changes the terms by one row of `_RULES` and the request is sent again;
the terms are remembered for the backend. A refusal that no row fits, or that changes nothing, is an error.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from her.prompts import fill
from her.types import Message, Value

Continuing = Literal["flags", "plain", "prefix", "asked"]
"""How the last assistant message is continued: with vLLM's two flags, by standing last, with `prefix: true` (Mistral, DeepSeek),
or by a user message that asks for it."""
CONTINUE_FLAGS = {"continue_final_message": True, "add_generation_prompt": False}
"""Fields that make vLLM continue the last assistant message. They are not part of OpenAI's API; llama.cpp continues without."""
_DROPPABLE = ("seed", "top_p", "temperature", "stop", "stream_options", "logprobs", "top_logprobs")
"""Fields that a request is still right without, in the order in which they are given up when a server names none."""
ROUNDS = 8
"""Most refusals that one request may answer; each gives up at least one thing."""


class Terms(Value):
    """Fields and roles that a server takes; the defaults are the whole API.

    Args:
        dropped: fields that are left out.
        max_tokens: the name of the limit of the answer.
        most_tokens: highest limit that it accepts; 0 when it has not refused any.
        continuing: see `Continuing`.
        folds_system: the system text goes into the first user message.
        alternates: neighbours of one role are joined.
        usage_known: a request with `stream_options` was accepted, so a later refusal has another cause.
    """

    dropped: tuple[str, ...] = ()
    max_tokens: str = "max_tokens"
    most_tokens: int = 0
    continuing: Continuing = "flags"
    folds_system: bool = False
    alternates: bool = False
    usage_known: bool = False

    def without(self, *names: str) -> "Terms":
        """Return the terms that leave out these fields as well."""
        return self.model_copy(update={"dropped": tuple(dict.fromkeys((*self.dropped, *names)))})

    def sentences(self) -> list[str]:
        """Say in words what this server does not take; empty for a server that takes everything."""
        said = [f"takes no {name}" for name in self.dropped]
        said += [f"wants {self.max_tokens}"] if self.max_tokens != "max_tokens" else []
        said += [f"answers with at most {self.most_tokens:,} tokens"] if self.most_tokens else []
        said += ["has no system role: its text stands in the first user message"] if self.folds_system else []
        return said + (["wants alternating roles"] if self.alternates else [])


def apply(terms: Terms, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request as this server takes it."""
    asked = {name: value for name, value in body.items() if name not in terms.dropped}
    messages = [dict(message) for message in body["messages"]]
    continues = bool(messages) and messages[-1]["role"] == "assistant"
    if terms.folds_system:
        messages = _folded(messages)
    if terms.alternates:
        messages = _joined(messages)
    if continues and terms.continuing == "flags":
        asked |= CONTINUE_FLAGS
    elif continues and terms.continuing == "prefix":
        messages[-1]["prefix"] = True
    elif continues and terms.continuing == "asked":
        messages.append({"role": "user", "content": _continue_words(str(messages[-1]["content"]))})
    if terms.most_tokens and "max_tokens" in asked:
        asked["max_tokens"] = min(asked["max_tokens"], terms.most_tokens)
    if terms.max_tokens != "max_tokens" and "max_tokens" in asked:
        asked[terms.max_tokens] = asked.pop("max_tokens")
    return asked | {"messages": messages}


def plain_messages(messages: Sequence[Message], clean: Callable[[str], str]) -> list[dict[str, Any]]:
    """Return messages as the API writes them."""
    return [{"role": message.role, "content": clean(message.content)} for message in messages]


def _continue_words(begun: str) -> str:
    zh = len(re.findall(r"[\u4e00-\u9fff]", begun)) * 3 > len(begun)
    return fill("continue_turn", "zh" if zh else "en", {})


def _folded(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put system messages into the first user message; one is made where there is none."""
    system = "\n\n".join(str(message["content"]) for message in messages if message["role"] == "system")
    rest = [message for message in messages if message["role"] != "system"]
    if not system:
        return rest
    if not rest or rest[0]["role"] != "user":
        return [{"role": "user", "content": system}, *rest]
    return [{**rest[0], "content": f"{system}\n\n{rest[0]['content']}"}, *rest[1:]]


def _joined(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbours of one role; the first message after the system text is a user's."""
    joined: list[dict[str, Any]] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1]["content"] = f"{joined[-1]['content']}\n\n{message['content']}"
        else:
            joined.append(message)
    first = next((place for place, message in enumerate(joined) if message["role"] != "system"), len(joined))
    if first < len(joined) and joined[first]["role"] == "assistant" and first + 1 < len(joined):
        joined.insert(first, {"role": "user", "content": "…"})
    return joined


# -- what a refusal changes ----------------------------------------------------------------------------------------------

Change = Callable[[Terms, Mapping[str, Any], str], Terms | None]


def _rename_limit(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    if "max_completion_tokens" in body:
        return (
            terms.model_copy(update={"max_tokens": "max_tokens"}).without("max_tokens")
            if terms.max_tokens != "max_tokens"
            else None
        )
    return terms.model_copy(update={"max_tokens": "max_completion_tokens"}) if "max_tokens" in body else None


def _lower_limit(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    asked = body.get("max_tokens") or body.get("max_completion_tokens") or 0
    numbers = [int(text) for text in re.findall(r"(?<![\d.])\d{1,7}(?![\d.])", re.sub(r"(?<=\d),(?=\d{3})", "", words))]
    most = max((number for number in numbers if 1 <= number < asked), default=0)
    return terms.model_copy(update={"most_tokens": most}) if most else None


def _drop_flags(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    return terms.model_copy(update={"continuing": "plain"}) if terms.continuing == "flags" and _continues(body) else None


def _continue_otherwise(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    if not _continues(body) or terms.continuing == "asked":
        return None
    knows_prefix = "prefix" in words.lower() and "prefill" not in words.lower()
    return terms.model_copy(update={"continuing": "prefix" if knows_prefix and terms.continuing != "prefix" else "asked"})


def _continues(body: Mapping[str, Any]) -> bool:
    return bool(body["messages"]) and body["messages"][-1]["role"] == "assistant"


def _fold_system(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    has_system = any(message["role"] == "system" for message in body["messages"])
    return terms.model_copy(update={"folds_system": True}) if has_system else None


def _alternate(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    changed = terms.model_copy(update={"alternates": True})
    if not terms.alternates and _joined([dict(message) for message in body["messages"]]) != body["messages"]:
        return changed
    # The roles alternate already, so it is the system message that stands in the way.
    return _fold_system(changed, body, words)


def _drop_named(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    if re.search(r"(?i)temperature.{0,40}top_p|top_p.{0,40}temperature", words) and "top_p" in body:
        return terms.without("top_p")
    named = [name for name in _DROPPABLE if name in body and re.search(rf"(?<!\w){name}(?!\w)", words)]
    if "seed" not in named and "seed" in body and re.search(r"(?i)\bseed\b", words):
        named.append("seed")
    return terms.without(*named) if named else None


def _drop_usage(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    return terms.without("stream_options") if "stream_options" in body and not terms.usage_known else None


def _drop_unnamed(terms: Terms, body: Mapping[str, Any], words: str) -> Terms | None:
    if _continues(body) and terms.continuing == "flags":
        return _drop_flags(terms, body, words)
    first = next((name for name in ("stream_options", "seed", "top_p") if name in body), "")
    return terms.without(first) if first else None


_UNKNOWN = (
    r"(?i)extra.?(?:inputs?|fields?|forbidden)"
    r"|(?:unknown|unexpected|unrecogni[sz]ed|unsupported|additional|invalid) (?:request )?"
    r"(?:fields?|param\w*|arguments?|inputs?|keys?|propert\w*|keyword)"
)
_RULES: tuple[tuple[re.Pattern[str], Change], ...] = (
    (re.compile(r"continue_final_message|add_generation_prompt"), _drop_flags),
    (
        re.compile(
            r"(?i)max_(?:completion_)?tokens.{0,80}(?:unsupported|not supported|unrecogni|unknown|not permitted|unexpected)"
        ),
        _rename_limit,
    ),
    (
        re.compile(r"(?i)(?:unsupported|unrecogni|unknown|unexpected|not permitted).{0,80}max_(?:completion_)?tokens"),
        _rename_limit,
    ),
    (re.compile(r"(?i)use '?max_completion_tokens"), _rename_limit),
    (re.compile(r"(?i)max_(?:completion_|output_|new_)?tokens.{0,120}\d"), _lower_limit),
    (
        re.compile(
            r"(?i)prefill|last (?:message|role)|end with a user|final message|prefix:? ?true|assistant message.{0,30}(?:last|end)"
        ),
        _continue_otherwise,
    ),
    (re.compile(r"(?i)alternat|consecutive|same role|(?:first|start\w*).{0,40}\buser\b|roles? must"), _alternate),
    (
        re.compile(
            r"(?i)system.{0,20}(?:role|message|prompt)|role.{0,20}system|\bsystem\b.{0,60}(?:support|allow|unexpected|invalid)"
        ),
        _fold_system,
    ),
    (re.compile(r"\w"), _drop_named),
    (re.compile(_UNKNOWN), _drop_unnamed),
    (re.compile(r""), _drop_usage),
)
"""Words of a refusal -> what to change; the first rule that changes something counts."""


def learn(terms: Terms, body: Mapping[str, Any], words: str, guess: bool = True) -> Terms | None:
    """Return the terms after the refusal of `body` in these words; None when there is nothing to change.

    Args:
        body: as it was sent, by `apply`.
        words: the server's own words, its names of codes and parameters included.
        guess: whether to give up `stream_options` for a refusal that names nothing.
    """
    for pattern, change in _RULES if guess else _RULES[:-1]:
        if pattern.search(words) and (changed := change(terms, body, words)) is not None and changed != terms:
            return changed
    return None
