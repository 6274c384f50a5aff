"""Every error of the house, one small tree; all are sentences a person can act on.

HerError
├── InputError      a file, message or argument is wrong: says what, the value, and what would be right
│   └── FormatVersionError   a file of a newer or unknown format version
├── BackendError    a model call failed; `reason` is one of REASONS, `retryable` says whether asking again may help
├── StoreError      the database cannot be opened or written; nothing was overwritten
├── NotFound        an id nobody owns
└── Forbidden       an id somebody else owns, or an act this visitor may not do
"""

from typing import Literal

Reason = Literal[
    "unreachable",  # no connection, name not resolved, connection refused
    "unauthorised",  # 401, 403: the key is missing or wrong
    "not_found",  # 404: no such model or path
    "rate_limited",  # 429
    "server_error",  # 5xx
    "bad_request",  # other 4xx, such as a prompt longer than the context
    "timeout",  # no answer, or no next token, within the limit
    "broken_stream",  # the connection ended before the answer did
    "invalid_reply",  # not JSON, not the protocol, another model's id
    "endless",  # more text than the limit
    "empty",  # the model ended without saying anything
    "missing_extra",  # a package of an optional extra is not installed
]


class HerError(Exception):
    """Base of all errors that are shown to a person as they stand."""


class InputError(HerError):
    """Something given to us is wrong; nothing was changed."""


class FormatVersionError(InputError):
    """A file was written by another version of its format."""


class BackendError(HerError):
    """A model call failed; the transcript stays as it was.

    Args:
        message: one sentence for the person at the screen, without secrets.
        reason: one of `Reason`.
        retry_after: seconds the server asked to wait, when it said so.
    """

    def __init__(self, message: str, reason: Reason, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed when asked again."""
        return self.reason in {"unreachable", "rate_limited", "server_error", "timeout", "broken_stream"}


class StoreError(HerError):
    """The database cannot be opened, read or written; nothing was overwritten."""


class NotFound(HerError):
    """No such id, or none that this visitor may know of."""


class Forbidden(HerError):
    """This visitor may not do this."""
