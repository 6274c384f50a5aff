"""Turn failures of an OpenAI-compatible server into BackendErrors of one sentence: host, model, what is wrong, what to do.

No sentence holds a key. A server's own words are cut to one short line, and everything that looks like a key is removed from
them.
"""

import json
import re
import socket
from collections.abc import Iterator

import httpx2

from her.backends.wire import TooManyBytes
from her.errors import BackendError, Reason, TooLong

_SECRET = re.compile(r"(?i)bearer\s+\S+|\b(?:sk|hf|key|tok|gsk|xai|AIza)[-_][\w.*-]{6,}")
"""Authorization headers and the prefixes of common providers' keys."""
_LONGEST = 240
"""Characters of a server's own words that are shown."""
_STATUS: dict[int, tuple[Reason, str]] = {
    400: ("bad_request", "did not accept the request"),
    401: ("unauthorised", "refused the key; set HER_OPENAI_API_KEY to a valid one and start again"),
    402: ("unauthorised", "has no credit left for this key; pay the account or use another key"),
    403: ("unauthorised", "forbids this key the model; use another key or another model"),
    404: ("not_found", "knows no such model or path; check the model's name and the address, which often ends in /v1"),
    405: ("not_found", "has no chat route here; check the address, which often ends in /v1"),
    408: ("timeout", "gave up waiting; try again"),
    413: ("bad_request", "says that the prompt is too long; shorten the chat or connect a model with a longer context"),
    429: ("rate_limited", "asks to slow down or the quota is used up; wait{wait} and try again"),
    529: ("rate_limited", "is overloaded; wait{wait} and try again"),
}
"""HTTP status -> reason and advice. Status 3xx and 5xx are handled in `error_from_status`."""
_TOO_LONG = re.compile(
    r"(?i)context[ _-]?(?:length|size|window|limit)|maximum context|exceed\w* (?:the )?(?:available |model'?s? )?context"
    r"|max_model_len"
    r"|context_length_exceeded|exceed_context|prompt (?:is |was )?too (?:long|large)|input (?:is |was )?too (?:long|large)"
    r"|too many (?:input )?tokens|(?:input|prompt)(?: token)?(?: count| length)?\b[^.]{0,40}\bexceed|reduce the length"
    r"|longer than the (?:model|context|max)|sequence length|token limit"
    r"|n_ctx|num_ctx|maximum (?:allowed )?(?:number of )?(?:input )?tokens"
    r"|tokens`? must be <=|上下文长度|超过.{0,8}(?:最大|上下文)"
)
_CAUSES: tuple[tuple[re.Pattern[str], Reason, str], ...] = (
    (
        re.compile(r"(?i)insufficient[ _](?:balance|quota|credit|funds)|out of credits|billing|payment required|欠费|余额不足"),
        *_STATUS[402],
    ),
    (
        re.compile(
            r"(?i)content[ _]?(?:filter|policy|management)|moderation|flagged"
            r"|safety (?:system|setting|filter)|responsible ?ai|敏感"
        ),
        "bad_request",
        "refused the text by its content filter; write it differently or connect another model",
    ),
    (
        re.compile(
            r"(?i)(?:invalid|incorrect|wrong|expired|missing|no)[ _](?:api[ _]?)?(?:key|token)\b"
            r"|authenticat|unauthori[sz]ed|invalid_api_key"
        ),
        *_STATUS[401],
    ),
    (re.compile(r"(?i)rate[ _-]?limit|too many requests|quota|requests per"), *_STATUS[429]),
    (
        re.compile(r"(?i)loading model|model is (?:currently )?loading|warming up"),
        "rate_limited",
        "is still loading the model; wait{wait} and try again",
    ),
    (re.compile(r"(?i)overloaded|at capacity|too busy|server busy|繁忙"), *_STATUS[529]),
    (
        re.compile(
            r"(?i)model\b.{0,80}(?:not found|not exist|not available|is unknown)"
            r"|(?:no such|unknown|invalid) model\b|model_not_found"
        ),
        *_STATUS[404],
    ),
)
"""A server's own words -> reason and advice. They say more than a status: many servers answer everything with 400, 500 or 200."""
_LIMIT_WORDS = (
    r"(?:<=|>)\s*(\d{3,7})",
    r"(?i)(?:context|maximum|max|limit|n_ctx|available|at most|up to|support\w*|allowed)[^.\d]{0,60}?(\d{3,7})(?![\d.])",
    r"(?i)(\d{3,7})(?:[ -]tokens?)?[^.\d]{0,20}(?:context|limit|maximum)",
)
_PROMPT_WORDS = (
    r"(?i)\((\d{1,8}) in the (?:messages|prompt)",
    r"(?i)(\d{1,8}) tokens? (?:from|in|of) the (?:input|messages|prompt)",
    r"(?i)(?:prompt|input|request|messages?)[^.\d]{0,40}?\(?(\d{2,8})[ -]tokens",
    r"(?i)(?:prompt|input|request|messages?)[^.\d]{0,40}?(\d{2,8})",
)


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

    def silent(self, seconds: float) -> BackendError:
        """Return the error for a server that said nothing for so long."""
        return self.error_with_advice("timeout", f"said nothing for {seconds:g} s")

    def unreached(self) -> BackendError:
        """Return the error for a server to which no connection came about in time."""
        return self.error("timeout", "could not be reached in time; check that it runs and try again")

    def refuse_web_page(self, content_type: str) -> None:
        """Raise a BackendError for a response that is a page for people."""
        if "html" in content_type:
            raise self.error("invalid_reply", "answered with a web page; check the address, it often ends in /v1")


def error_from_exception(error: Exception, server: ServerLabel, begun: bool = False) -> BackendError:
    """Return the BackendError for an exception of the HTTP package or of reading its bytes.

    An exception that has nothing to do with the call is a fault of this program; it is raised again unchanged.

    Args:
        begun: part of the answer had arrived.
    """
    if isinstance(error, (httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.WriteTimeout)):
        return server.unreached()
    if isinstance(error, TooManyBytes):
        return server.error("endless", "sent more bytes than an answer can have; it was disconnected")
    if isinstance(error, httpx2.HTTPError):
        return error_from_connection(error, server, begun)
    if isinstance(error, ValueError):
        return server.error("invalid_reply", "sent something that is not JSON; check that the address is that of a chat API")
    raise error


def error_from_event(error: object, server: ServerLabel) -> BackendError:
    """Return the BackendError for an error object that the server sent within its answer."""
    if isinstance(error, list):
        error = next((one for one in error if isinstance(one, dict | str)), "")
    codes = (
        [str(error.get(name) or "") for name in ("status", "code", "status_code", "http_status")]
        if isinstance(error, dict)
        else []
    )
    # Only some servers put the HTTP status into `code`; others write a word, or nothing.
    status = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) <= 599), 500)
    return error_from_status(status, server, _message_of(error), hints=_words_of(error))


def _words_of(error: object) -> str:
    """Return the words of an error object that name its cause, beside the message."""
    names = ("code", "type", "status", "param", "n_ctx", "n_prompt_tokens")
    return " ".join(f"{name}={error[name]}" for name in names if error.get(name)) if isinstance(error, dict) else ""


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
        # OpenAI: message (within error); Ollama: error; FastAPI: detail; routers keep the provider's own words in `metadata`.
        found = next((body[key] for key in ("message", "error", "detail", "msg") if body.get(key)), "")
        raw = body["metadata"].get("raw") if isinstance(body.get("metadata"), dict) else None
        body = f"{found}: {raw}" if isinstance(raw, str) and isinstance(found, str) else found
        if isinstance(body, dict) and body.get("message"):
            body = body["message"]
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body, ensure_ascii=False)
    return "" if "<html" in text.lower() or "<!doctype" in text.lower() else text


def error_hints(content: bytes) -> str:
    """Return the words in the body of a refusal that name its cause, beside its message; empty when it is not JSON."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    error = body.get("error", body) if isinstance(body, dict) else body
    return _words_of(error)


def error_from_status(
    status: int, server: ServerLabel, message: str = "", retry_after: str = "", hints: str = ""
) -> BackendError:
    """Return the BackendError for an HTTP status that is not a success.

    Args:
        message: the server's own words.
        retry_after: value of the header; only the form in seconds is used (RFC 9110, section 10.2.3).
        hints: further words of the server that are not shown, such as a code.
    """
    wait = float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after) else None
    words = f"{message[:4_000]} {hints}"
    shown = server.redact(message).rstrip(".")
    end = f"(HTTP {status}{': ' + shown if shown else ''})"
    if status in (400, 413, 422, 500) and _TOO_LONG.search(words) and "per minute" not in words:
        context, prompt = _tokens_named(words)
        limit = f" of {context:,} tokens" if context else ""
        what = f"has no room for this prompt in its context{limit}; shorten the chat or connect a model with a longer context"
        return TooLong(f"{server} {what} {end}.", context, prompt)
    reason, what = _cause(status, server, words)
    what = what.format(wait=f" {wait:g} s" if wait is not None else " a little")
    return server.error(reason, f"{what} {end}", wait)


def _cause(status: int, server: ServerLabel, words: str) -> tuple[Reason, str]:
    """Return reason and advice: by the server's words where the status says little, else by the status."""
    if 300 <= status < 400:
        # Following it could send the key to another host.
        return "not_found", "redirects to another address, which is not followed; give the final address"
    if status == 401 and not server.has_key:
        return (
            "unauthorised",
            "wants a key; set HER_OPENAI_API_KEY (OPENAI_API_KEY, or HF_TOKEN for router.huggingface.co) and start again",
        )
    if status in (400, 403, 422, 429) or status >= 500:
        named = next(((reason, what) for pattern, reason, what in _CAUSES if pattern.search(words)), None)
        if named is not None:
            return named
    if status in _STATUS or status < 500:
        return _STATUS.get(status, ("bad_request", "did not accept the request"))
    return "server_error", "failed on its side; look at the server's log, then try again"


def _tokens_named(words: str) -> tuple[int, int]:
    """Return the context and the prompt in tokens that a refusal names; 0 for what it does not say."""
    n_ctx, n_prompt = re.search(r"n_ctx=(\d+)", words), re.search(r"n_prompt_tokens=(\d+)", words)
    if n_ctx:
        return int(n_ctx[1]), int(n_prompt[1]) if n_prompt else 0
    plain = re.sub(r"(?<=\d)[,_](?=\d{3})", "", words)
    context = next((int(match[1]) for pattern in _LIMIT_WORDS if (match := re.search(pattern, plain))), 0)
    found = (int(match[1]) for pattern in _PROMPT_WORDS for match in re.finditer(pattern, plain))
    prompt = next((number for number in found if number != context), 0)
    return context, prompt


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
