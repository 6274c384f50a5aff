"""Turn failures of an OpenAI-compatible server into BackendErrors of one sentence: host, model, what is wrong, what to do.

No sentence holds a key. A server's own words are cut to one short line, and everything that looks like a key is removed from
them.
"""

import json
import re
import socket
from collections.abc import Iterator

import httpx2
import openai

from her.errors import BackendError, Reason

_SECRET = re.compile(r"(?i)bearer\s+\S+|\b(?:sk|hf|key|tok|gsk|xai|AIza)[-_][\w.*-]{6,}")
"""Authorization headers and the prefixes of common providers' keys."""
_LONGEST = 240
"""Characters of a server's own words that are shown."""
_STATUS: dict[int, tuple[Reason, str]] = {
    400: ("bad_request", "did not accept the request"),
    401: ("unauthorised", "refused the key; set HER_OPENAI_API_KEY to a valid one and start again"),
    403: ("unauthorised", "forbids this key the model; use another key or another model"),
    404: ("not_found", "knows no such model or path; check the model's name and the address, which often ends in /v1"),
    405: ("not_found", "has no chat route here; check the address, which often ends in /v1"),
    408: ("timeout", "gave up waiting; try again"),
    413: ("bad_request", "says that the prompt is too long; shorten the chat or connect a model with a longer context"),
    429: ("rate_limited", "asks to slow down or the quota is used up; wait{wait} and try again"),
}
"""HTTP status -> reason and advice. Status 3xx and 5xx are handled in `error_from_status`."""


class ServerLabel:
    """Name of a server in sentences: `host (model)`. It holds the key only to remove it from texts."""

    def __init__(self, host: str, model: str, key: str) -> None:
        self.host, self.model, self._key = host, model, key
        self.has_key = bool(key)

    def __str__(self) -> str:
        return f"{self.host} (model {self.model!r})" if self.model else self.host

    def redact(self, text: str) -> str:
        """Return the text as one short line, without the key or anything that looks like one."""
        shown = text.replace(self._key, "***") if self._key else text
        shown = " ".join(_SECRET.sub("***", shown).split())
        return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"

    def error(self, reason: Reason, what: str, retry_after: float | None = None) -> BackendError:
        """Return a BackendError with the sentence `host (model) what.`; `retry_after` in seconds."""
        return BackendError(f"{self} {what}.", reason, retry_after)

    def error_with_advice(self, reason: Reason, what: str) -> BackendError:
        """Return a BackendError with the sentence `host (model) what; advice of her.errors.REASONS.`."""
        return BackendError.with_advice(f"{self} {what}", reason)


def error_from_exception(error: Exception, server: ServerLabel, begun: bool = False) -> BackendError:
    """Return the BackendError for an exception of the openai package.

    An exception that has nothing to do with the call is a fault of this program; it is raised again unchanged.

    Args:
        begun: part of the answer had arrived.
    """
    if isinstance(error, openai.APIStatusError):
        header = error.response.headers.get("retry-after", "")
        return error_from_status(error.status_code, server, _message_of(error.body), header)
    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        return server.error("timeout", "could not be reached in time; check that it runs and try again")
    if isinstance(error, (openai.APIConnectionError, httpx2.HTTPError)):
        return error_from_connection(error, server, begun)
    if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError, openai.APIResponseValidationError)):
        return server.error("invalid_reply", "sent something that is not JSON; check that the address is that of a chat API")
    raise error


def error_from_event(error: object, server: ServerLabel) -> BackendError:
    """Return the BackendError for an error object that the server sent as an event within its answer."""
    code = str(error.get("code") or "") if isinstance(error, dict) else ""
    # Only some servers put the HTTP status into `code`; others write a word, or nothing.
    status = int(code) if code.isdecimal() and 400 <= int(code) <= 599 else 500
    return error_from_status(status, server, _message_of(error))


def server_message(content: bytes) -> str:
    """Return the server's own words from the body of a refusal, JSON or plain text."""
    text = content.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        return _message_of(text)
    return _message_of(body.get("error", body) if isinstance(body, dict) else body)


def _message_of(body: object) -> str:
    """Return the message in a decoded body; empty when there is none, or only a web page."""
    if isinstance(body, dict):
        # OpenAI: message (within error); Ollama: error; FastAPI: detail.
        body = next((body[key] for key in ("message", "error", "detail") if body.get(key)), "")
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body, ensure_ascii=False)
    return "" if "<html" in text.lower() or "<!doctype" in text.lower() else text


def error_from_status(status: int, server: ServerLabel, message: str = "", retry_after: str = "") -> BackendError:
    """Return the BackendError for an HTTP status that is not a success.

    Args:
        message: the server's own words.
        retry_after: value of the header; only the form in seconds is used (RFC 9110, section 10.2.3).
    """
    wait = float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after) else None
    reason, what = _STATUS.get(status, ("bad_request", "did not accept the request"))
    if 300 <= status < 400:
        # Following it could send the key to another host.
        reason, what = "not_found", "redirects to another address, which is not followed; give the final address"
    if status >= 500:
        reason, what = "server_error", "failed on its side; look at the server's log, then try again"
    if status == 401 and not server.has_key:
        what = "wants a key; set HER_OPENAI_API_KEY (OPENAI_API_KEY, or HF_TOKEN for router.huggingface.co) and start again"
    what = what.format(wait=f" {wait:g} s" if wait is not None else " a little")
    message = server.redact(message).rstrip(".")
    return server.error(reason, f"{what} (HTTP {status}{': ' + message if message else ''})", wait)


def error_from_connection(error: Exception, server: ServerLabel, begun: bool) -> BackendError:
    """Return the BackendError for a connection that failed or broke; `begun`: part of the answer had arrived.

    The HTTP packages wrap the cause in classes of their own, some of them without a type for it. So the texts of all causes are
    searched as well.
    """
    causes = list(_all_causes(error))
    text = " ".join(str(cause) for cause in causes)
    if any(isinstance(cause, socket.gaierror) for cause in causes) or re.search(r"Name or service|nodename|getaddrinfo", text):
        return server.error("unreachable", "cannot be found: there is no such host name; check the address")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes) or re.search("refused|All connection attempts", text):
        return server.error("unreachable", "does not answer: connection refused; start the server or check the port")
    if "certificate" in text.lower() or "ssl" in text.lower():
        return server.error("unreachable", "could not be reached safely: its TLS certificate was not accepted")
    if begun or re.search("peer closed|incomplete", text):
        return server.error_with_advice("broken_stream", "broke the connection before the answer ended")
    return server.error("unreachable", "closed the connection without an answer; check that it runs and try again")


def _all_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything that caused it, the members of exception groups included."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop()
        if cause is None or any(cause is earlier for earlier in seen):  # causes may form a circle
            continue
        seen.append(cause)
        yield cause
        waiting += [cause.__cause__, cause.__context__]
        if isinstance(cause, BaseExceptionGroup):
            waiting += cause.exceptions
