"""One answer of a chat completion server, put together from its JSON values as they arrive.

Streamed and whole answers are read by the same rules: a whole answer is a stream of one value (her/backends/wire.py cuts a body
into values). A value that holds neither text nor an error is skipped; an error is found wherever it hides. docs/servers.md lists
what servers send.
"""

from collections.abc import Iterator
from typing import Any

from her.backends.base import Completion, Delta, FinishReason, TokenChoice, Usage, replace_surrogates
from her.backends.openai_errors import ServerLabel, error_from_event
from her.backends.openai_fields import (
    Content,
    ending,
    parse_usage,
    read_content,
    reasoning_field,
    same_model,
    string_field,
    token_choices,
)
from her.backends.wire import Arrival
from her.errors import BackendError

IDLE_BYTES = 2_000_000
"""Bytes without text after which a server counts as one that floods; a keepalive each second for 10 minutes has 20,000."""
IDLE_VALUES = 50_000
"""Values without text after which it floods as well; a model that thinks out of sight may send an empty one for each token."""
_NOTHING = Delta()
_REPEATED = 24
"""Characters from which a piece equal to all before it is the same text sent again, not a repetition by the model."""


class StreamedAnswer:
    """The part of one answer that has arrived.

    Args:
        server: for error sentences.
        limit: most characters of text and reasoning together.

    Attributes:
        finish: set when the server has sent a finish reason and no text after it.
        begun: True when some text has arrived.
        ended: True once the server has sent `[DONE]`.
        model: the name that the server answers under; empty while it has named none.
        choices: log-probabilities of the last tokens, where the server sends them.
    """

    def __init__(self, server: ServerLabel, limit: int) -> None:
        self.finish: FinishReason | None = None
        self.begun = self.ended = False
        self.model = ""
        self.choices: tuple[TokenChoice, ...] = ()
        self._server, self._limit = server, limit
        self._size = self._idle = self._idle_values = self._thought_size = self._values = 0
        self._usable = False
        self._usage: Usage | None = None
        self._field = ""  # where the reasoning comes from: the same text may come under several names
        self._refusal: list[str] = []
        self._said: list[str] = []
        self._thought: list[str] = []
        self._text, self._reasoning = _SurrogatePairs(), _SurrogatePairs()

    @property
    def whole(self) -> bool:
        """True when nothing can undo the answer any more: it has text and a finish reason."""
        return self.begun and self.finish is not None

    def count(self, size: int) -> None:
        """Count bytes that arrived.

        Raises:
            BackendError: the server floods: too many of them without text.
        """
        self._idle += size
        if self._idle > IDLE_BYTES + self._limit * 12:
            raise self._floods(f"{self._idle // 1_000_000} MB")

    def _floods(self, how_much: str) -> BackendError:
        return self._server.error("invalid_reply", f"sent {how_much} without a word; it was disconnected")

    def add(self, arrival: Arrival) -> Delta:
        """Add one value and return its text, which may be empty.

        Raises:
            BackendError: an error of the server, or too much text.
        """
        self.ended = self.ended or arrival.end
        values = arrival.value if isinstance(arrival.value, list) else [arrival.value]
        delta = _joined([self._add_value(value, arrival.event) for value in values if isinstance(value, dict | str)])
        self._idle_values = 0 if delta.text or delta.reasoning else self._idle_values + len(values)
        if self._idle_values > IDLE_VALUES:
            raise self._floods(f"{self._idle_values:,} pieces")
        return delta

    def last_delta(self) -> Delta:
        """Return the delta that ends the answer.

        Raises:
            BackendError: `broken_stream` without an end, `empty` without text, `invalid_reply` when no value was one of a chat
                completion, `bad_request` for a refusal.
        """
        if self._refusal:
            words = self._server.redact("".join(self._refusal)).rstrip(".")
            raise self._server.error("bad_request", f"refused to answer: {words}")
        if not self._usable:
            if not self._values and not self.ended:
                raise self._server.error_with_advice("broken_stream", "ended the stream before the answer ended")
            raise self._protocol_error()
        if self.finish is None and not self.ended:
            raise self._server.error_with_advice("broken_stream", "ended the stream before the answer ended")
        if not self.begun:
            raise self._server.error_with_advice("empty", "said nothing")
        rest = Delta(text=self._text.rest(), reasoning=self._reasoning.rest())
        return rest.model_copy(update={"finish": self.finish or "stop", "usage": self._usage, "model": self.model})

    def completion(self, arrivals: Iterator[Arrival]) -> Completion:
        """Return the whole answer of these values; raises as `add` and `last_delta`."""
        deltas = [self.add(arrival) for arrival in arrivals]
        # A body that has ended is whole, whether or not it names a finish reason.
        self.ended = self.ended or self.begun
        deltas.append(self.last_delta())
        text, reasoning = ("".join(getattr(delta, name) for delta in deltas) for name in ("text", "reasoning"))
        last = deltas[-1]
        return Completion(
            text=text,
            reasoning=reasoning,
            finish=last.finish or "stop",
            usage=last.usage,
            choices=self.choices,
            model=self.model,
        )

    def _add_value(self, value: dict[str, Any] | str, event: str) -> Delta:
        error = _error_in(value, event)
        if error is not None and not self.whole:  # after a whole answer an error is about something else
            raise error_from_event(error, self._server)
        if isinstance(value, str) or error is not None:
            return _NOTHING
        self._values += 1
        self._note_model(value.get("model"))
        self._usage = parse_usage(value.get("usage")) or self._usage
        choices = value.get("choices")
        if isinstance(choices, list):
            own = [choice for choice in choices if isinstance(choice, dict) and choice.get("index") in (0, None)]
            self._usable = self._usable or bool(own)
            deltas = [self._add_choice(choice) for choice in own]
            return _joined(deltas)
        if "message" in value and isinstance(value["message"], dict):  # Ollama's own protocol
            self._usable = True
            return self._add_choice(
                {**value, "finish_reason": value.get("done_reason") or ("stop" if value.get("done") else None)}
            )
        if value.get("detail") and not self.whole:  # FastAPI
            raise self._protocol_error(str(value["detail"]))
        return _NOTHING

    def _protocol_error(self, words: str = "") -> BackendError:
        shown = f" ({self._server.redact(words)})" if words else ""
        return self._server.error("invalid_reply", f"answered in another protocol; a chat completion was expected{shown}")

    def _add_choice(self, choice: dict[str, Any]) -> Delta:
        if choice.get("error") and not self.whole:
            raise error_from_event(choice["error"], self._server)
        self.choices = token_choices(choice.get("logprobs")) or self.choices
        delta = self._add_texts(*self._texts(choice))
        self._add_finish(choice.get("finish_reason"))
        return delta

    def _texts(self, choice: dict[str, Any]) -> tuple[Content, str]:
        """Return the texts of a choice and its reasoning: those of `delta`, else those of a whole `message` or of `text`."""
        delta, message = choice.get("delta"), choice.get("message")
        source: Any = delta if isinstance(delta, dict) and (delta or not isinstance(message, dict)) else message
        if not isinstance(source, dict):
            return Content(text=string_field(choice, "text")), ""
        content = read_content(source.get("content"))
        if refusal := string_field(source, "refusal"):
            content = content._replace(refusal=refusal)
        name, reasoning = reasoning_field(source, self._field)
        self._field = self._field or name
        if source is message:  # a whole message at the end of a stream repeats what has come
            content = content._replace(text=_rest(content.text, self._said), reasoning=_rest(content.reasoning, self._thought))
            reasoning = _rest(reasoning, self._thought)
        return content, reasoning

    def _add_texts(self, content: Content, reasoning: str) -> Delta:
        if content.refusal:
            self._refusal.append(content.refusal)
        reasoning = reasoning or content.reasoning
        if _REPEATED <= len(reasoning) == self._thought_size and reasoning == "".join(self._thought):
            reasoning = ""
        text, reasoning = self._text.feed(content.text), self._reasoning.feed(reasoning)
        if text or reasoning:
            # Text after a finish cancels it: some servers write `stop` into a first, empty chunk.
            self.begun, self.finish, self._idle = True, None, 0
            self._said.append(text)
            self._thought.append(reasoning)
            self._thought_size += len(reasoning)
        self._size += len(text) + len(reasoning)
        if self._size > self._limit:
            raise self._server.error_with_advice("endless", f"did not stop after {self._limit} characters")
        return Delta(text=text, reasoning=reasoning) if text or reasoning else _NOTHING

    def _add_finish(self, reason: object) -> None:
        end = ending(reason)
        if end is None or self.whole:
            return
        if end == "filtered":
            raise self._server.error("bad_request", f"stopped the answer by its content filter ({str(reason)[:40]})")
        if end == "failed":
            what = f"gave up in the middle of the answer ({str(reason)[:40]})"
            raise self._server.error_with_advice("broken_stream", what)
        self.finish = end

    def _note_model(self, name: object) -> None:
        if not self.model and isinstance(name, str) and name and not same_model(name, self._server.model or name):
            self.model = name[:200]


def _error_in(value: dict[str, Any] | str, event: str) -> object:
    """Return the error in a value, wherever it hides; None when there is none."""
    if isinstance(value, str):
        return value if event == "error" else None
    if value.get("error"):
        return value["error"]
    if value.get("errors"):
        return value["errors"]
    if isinstance(value.get("choices"), list):
        return None
    named = event == "error" or "error" in (value.get("object"), value.get("type"))
    # A bare error object: a message with a code or status.
    bare = isinstance(value.get("message"), str) and ("code" in value or "status" in value)
    return value if named or bare else None


def _joined(deltas: list[Delta]) -> Delta:
    if len(deltas) < 2:  # as nearly always
        return deltas[0] if deltas else _NOTHING
    return Delta(text="".join(one.text for one in deltas), reasoning="".join(one.reasoning for one in deltas))


def _rest(text: str, before: list[str]) -> str:
    """Return what a whole text adds to the pieces that came before it."""
    so_far = "".join(before)
    return text[len(so_far) :] if so_far and text.startswith(so_far) else "" if so_far else text


class _SurrogatePairs:
    """Joins a UTF-16 surrogate pair that arrives in two chunks; a lone surrogate becomes U+FFFD, so that it can be stored."""

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":  # a high surrogate: its low half may begin the next chunk
            text, self._high = text[:-1], text[-1]
        return replace_surrogates(text)

    def rest(self) -> str:
        return "\ufffd" if self._high else ""
