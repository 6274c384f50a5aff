"""What went wrong with an OpenAI-compatible server, as a BackendError of one sentence: host, model, and what to do.

No sentence holds a key: a server's own words are cut to one short line and everything that looks like a key is blotted out.
"""

import json
import re
import socket
from collections.abc import Iterator

import httpx2
import openai

from her.errors import BackendError, Reason

_SECRET = re.compile(r"(?i)bearer\s+\S+|\b(?:sk|hf|key|tok|gsk|xai|AIza)[-_][\w.*-]{6,}")
_LONGEST = 240
_TABLE: dict[int, tuple[Reason, str]] = {
    400: ("bad_request", "did not accept the request"),
    401: ("unauthorised", "refused the key; set HER_OPENAI_API_KEY to a valid one and start again"),
    403: ("unauthorised", "forbids this key the model; use another key or another model"),
    404: ("not_found", "knows no such model or path; check the model's name and the address, which often ends in /v1"),
    405: ("not_found", "has no chat route here; check the address, which often ends in /v1"),
    408: ("timeout", "gave up waiting; try again"),
    413: ("bad_request", "says that the prompt is too long; shorten the chat or connect a model with a longer context"),
    429: ("rate_limited", "asks to slow down or the quota is used up; wait{wait} and try again"),
}


class ServerLabel:
    """Where a call went, for sentences: `host (model)`; knows the key only to blot it out."""

    def __init__(self, host: str, model: str, key: str) -> None:
        self.host, self.model, self._key = host, model, key
        self.keyed = bool(key)

    def __str__(self) -> str:
        return f"{self.host} (model {self.model!r})" if self.model else self.host

    def redact(self, text: str) -> str:
        """The text on one short line, without the key or anything that looks like one."""
        shown = text.replace(self._key, "***") if self._key else text
        shown = " ".join(_SECRET.sub("***", shown).split())
        return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"

    def error(self, reason: Reason, what: str, retry_after: float | None = None) -> BackendError:
        """`host (model) what.` as an error."""
        return BackendError(f"{self} {what}.", reason, retry_after)


def error_from_exception(error: Exception, place: ServerLabel, begun: bool = False) -> BackendError:
    """The BackendError for what the openai client raised; `begun` when part of the answer had arrived.

    Anything but the errors of a call is raised again as it is: it is a fault of ours.
    """
    if isinstance(error, openai.APIStatusError):
        return _status(error.status_code, error, place)
    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        return place.error("timeout", "could not be reached in time; check that it runs and try again")
    if isinstance(error, (openai.APIConnectionError, httpx2.HTTPError)):
        return error_from_connection(error, place, begun)
    if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, openai.APIResponseValidationError)):
        return place.error("invalid_reply", "sent something that is not JSON; check that the address is that of a chat API")
    raise error


def error_from_event(error: object, place: ServerLabel) -> BackendError:
    """The BackendError for an error object that a server sent as an event, in the midst of its answer."""
    code = str(error.get("code") or "") if isinstance(error, dict) else ""
    status = int(code) if code.isdecimal() and 400 <= int(code) <= 599 else 500
    return error_from_status(status, place, _message_of(error))


def _message_of(body: object) -> str:
    """The server's own message, empty when it sent none or a web page."""
    if isinstance(body, dict):
        body = next((body[key] for key in ("message", "error", "detail") if body.get(key)), "")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body, ensure_ascii=False)
    return "" if "<html" in text.lower() or "<!doctype" in text.lower() else text


def server_message(content: bytes) -> str:
    """What a server says in the body of a refusal, JSON or not."""
    text = content.decode("utf-8", "replace")
    try:
        said = json.loads(text)
    except ValueError:
        return _message_of(text)
    return _message_of(said.get("error", said) if isinstance(said, dict) else said)


def _status(status: int, error: openai.APIStatusError, place: ServerLabel) -> BackendError:
    header = error.response.headers.get("retry-after", "")
    return error_from_status(status, place, _message_of(error.body), header)


def error_from_status(status: int, place: ServerLabel, said: str = "", retry_after: str = "") -> BackendError:
    """The BackendError for an HTTP status that is no success; `said` in the server's words, `retry_after` as its header."""
    wait = float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after) else None
    reason, what = _TABLE.get(status, ("bad_request", "did not accept the request"))
    if 300 <= status < 400:
        reason, what = "not_found", "redirects to another address, which is not followed; give the final address"
    if status >= 500:
        reason, what = "server_error", "failed on its side; look at the server's log, then try again"
    if status == 401 and not place.keyed:
        what = "wants a key; set HER_OPENAI_API_KEY (OPENAI_API_KEY, or HF_TOKEN for router.huggingface.co) and start again"
    what = what.format(wait=f" {wait:g} s" if wait is not None else " a little")
    said = place.redact(said).rstrip(".")
    return place.error(reason, f"{what} (HTTP {status}{': ' + said if said else ''})", wait)


def error_from_connection(error: Exception, place: ServerLabel, begun: bool) -> BackendError:
    """The BackendError for a connection that could not be made or broke; `begun` when part of the answer had arrived."""
    causes = list(_causes(error))
    text = " ".join(str(cause) for cause in causes)
    if any(isinstance(cause, socket.gaierror) for cause in causes) or re.search(r"Name or service|nodename|getaddrinfo", text):
        return place.error("unreachable", "cannot be found: there is no such host name; check the address")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes) or re.search("refused|All connection attempts", text):
        return place.error("unreachable", "does not answer: connection refused; start the server or check the port")
    if "certificate" in text.lower() or "ssl" in text.lower():
        return place.error("unreachable", "could not be reached safely: its TLS certificate was not accepted")
    if begun or re.search("peer closed|incomplete", text):
        return place.error("broken_stream", "broke the connection before the answer ended; try again")
    return place.error("unreachable", "closed the connection without an answer; check that it runs and try again")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that caused it, groups opened."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or any(cause is old for old in seen):
            continue
        seen.append(cause)
        yield cause
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
