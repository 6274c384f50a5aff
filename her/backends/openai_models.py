"""The list of models of an OpenAI-compatible server: names, contexts, and the only or nearest one."""

import asyncio
import difflib
import json
from collections.abc import Mapping
from typing import Any

import httpx2

from her.backends.openai_connections import Connections
from her.backends.openai_errors import ServerLabel, error_from_exception, error_from_status, error_hints, server_message
from her.backends.wire import TooManyBytes, read_body
from her.errors import BackendError

_LIST_BYTES = 4_000_000
"""Most bytes that are read of a list of models."""

_CONTEXT_FIELDS = (
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "max_context_window_tokens",
    "n_ctx",
)
"""vLLM and SGLang; OpenRouter and Together; Groq; Mistral and LM Studio; llama.cpp has its own under `meta`."""


async def list_models(connections: Connections, server: ServerLabel, spec: str) -> dict[str, int] | None:
    """Return name -> context (0 when unknown) of each model; None when the server has no list.

    Args:
        spec: the backend's spec without a model, for advice.

    Raises:
        BackendError: no list came, or one with too many bytes.
    """
    seconds = connections.limits.connect + connections.limits.token
    try:
        async with asyncio.timeout(seconds):
            response = await connections.send("GET", "models", server)
            try:
                content = await read_body(response.aiter_raw(), response.headers.get("content-encoding", ""), _LIST_BYTES)
            finally:
                await response.aclose()
    except TimeoutError:
        raise server.silent(seconds) from None
    except TooManyBytes:
        what = f"sent a list of models of more than {_LIST_BYTES // 1_000_000} MB; name one: {spec}#MODEL"
        raise server.error("invalid_reply", what) from None
    except (ValueError, httpx2.HTTPError) as error:
        raise error_from_exception(error, server) from None
    status = response.status_code
    if status in (403, 404, 405, 501):
        return None
    if status != 200:
        retry = response.headers.get("retry-after", "")
        raise error_from_status(status, server, server_message(content), retry, error_hints(content))
    server.refuse_web_page(response.headers.get("content-type", ""))
    return parse_models(content, server)


def parse_models(content: bytes, server: ServerLabel) -> dict[str, int]:
    """Return name -> context (0 when unknown) of the entries of a list of models.

    Raises:
        BackendError: it is no list of models.
    """
    try:
        listing = json.loads(content)
        entries = listing["data"] if isinstance(listing, dict) else listing
        return {_name(entry): _context(entry) for entry in entries or ()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise server.error("invalid_reply", "answered /models with something that is not a list of models") from None


def _name(entry: Any) -> str:
    return entry if isinstance(entry, str) else str(entry["id"])


def _context(entry: Any) -> int:
    if not isinstance(entry, Mapping):
        return 0
    meta = entry.get("meta")
    named = [entry.get(field) for field in _CONTEXT_FIELDS] + [meta.get("n_ctx") if isinstance(meta, Mapping) else None]
    return next((size for size in named if isinstance(size, int) and not isinstance(size, bool) and size > 0), 0)


def adopt_only_model(listed: Mapping[str, int] | None, server: ServerLabel, spec: str) -> str:
    """Return the name of the only model; raise BackendError when there is no list, none in it, or several."""
    if listed is None:
        raise server.error("bad_request", f"lists no models; name one: {spec}#MODEL")
    if len(listed) != 1:
        which = f"has {len(listed)} models ({first_names(list(listed))})" if listed else "has no model loaded"
        raise _no_choice(server, which, spec)
    return next(iter(listed))


def _no_choice(server: ServerLabel, which: str, spec: str) -> BackendError:
    return server.error("bad_request", f"{which}; name one: {spec}#MODEL")


def nearest_model(model: str, names: list[str]) -> str:
    """Say which listed model is nearest to this name, or which there are."""
    # 0.3: even a distant name is a better hint than none, since the whole list may be long.
    near = difflib.get_close_matches(model, names, 1, 0.3)
    return f"the nearest is {near[0]!r}, of {first_names(names)}" if near else f"it has {first_names(names) or 'none'}"


def first_names(names: list[str]) -> str:
    """Return the first names of a list, each cut, and how many more there are."""
    shown = ", ".join(name[:80] for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
