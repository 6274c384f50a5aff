"""The list of models of an OpenAI-compatible server: names, contexts, and the only or nearest one."""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from her.backends.openai_errors import ServerLabel
from her.errors import BackendError

_CONTEXT_FIELDS = (
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "max_context_window_tokens",
    "n_ctx",
)
"""vLLM and SGLang; OpenRouter and Together; Groq; Mistral and LM Studio; llama.cpp has its own under `meta`."""


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


def adopt_only_model(listed: Mapping[str, int], server: ServerLabel, spec: str) -> str:
    """Return the name of the only model; raise BackendError when there is none or several."""
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
