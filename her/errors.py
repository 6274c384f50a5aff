"""Define the errors of the project and the one table of reasons why a model call fails.

HerError                 every message is one sentence that a person can act on
├── InputError           a file, message or argument is wrong: the message names it, its value and what would be right
│   └── FormatVersionError   a file has a newer or unknown format version
├── BackendError         a model call failed; `reason` is a key of `REASONS`
│   └── TooLong              the prompt does not fit into the model's context
├── StoreError           the database cannot be opened, read or written; nothing was overwritten
├── NotFound             no such id, or an id of another visitor
└── Forbidden            an act that this visitor is not allowed
"""

from dataclasses import dataclass
from typing import Literal, Self

Reason = Literal[
    "unreachable",  # no connection, name not resolved, connection refused
    "unauthorised",  # HTTP 401, 403: the key is missing or wrong
    "not_found",  # HTTP 404: no such model or path, or the endpoint serves another model than the run
    "rate_limited",  # HTTP 429
    "server_error",  # HTTP 5xx
    "bad_request",  # other HTTP 4xx, such as a prompt longer than the context; an answer stopped by a content filter
    "timeout",  # no answer, or no next token, within the limit
    "broken_stream",  # the connection ended before the answer did
    "invalid_reply",  # not JSON, not the protocol, or labelled with another model's name
    "endless",  # more text than the limit
    "empty",  # the model ended without text
    "missing_extra",  # a package of an optional extra is not installed
]
Retries = Literal["none", "once", "limit", "patience"]
"""How often a caller of many calls (her/inference) asks the same call again after this reason:

none      never: the same request fails in the same way, or the endpoint is lost (then other endpoints are asked)
once      one time: a second sample may differ, a third rarely does
limit     up to `CallLimits.retries` times, with backoff, at another endpoint where there is one
patience  until no endpoint has answered for `EndpointLimits.patience` seconds; not counted as a failure
"""
Blame = Literal["endpoint", "call", "load"]
"""What a failure says about the endpoint:

endpoint  it is faulty: counts towards taking it out of use
call      it works: only this request or this answer is faulty
load      it works, but has too many calls: send fewer at once
"""
Cost = Literal["none", "prompt", "answer"]
"""Tokens that a failed request is charged, since the server does not report them: none, those of the prompt, or those of
the prompt and `max_tokens`."""


@dataclass(frozen=True, slots=True)
class ReasonPolicy:
    """Treatment of one reason; see `Retries`, `Blame` and `Cost`.

    Args:
        retries: how often the call is asked again.
        blame: what the failure says about the endpoint.
        cost: tokens charged to the budget.
        advice: what the person can do, as the second half of a sentence.
        fatal: the endpoint gets no further call in this run.
    """

    retries: Retries
    blame: Blame
    cost: Cost
    advice: str
    fatal: bool = False

    @property
    def retryable(self) -> bool:
        """Tell whether the same call may succeed at the same endpoint when it is asked again."""
        return self.retries != "none"


REASONS: dict[Reason, ReasonPolicy] = {
    "unreachable": ReasonPolicy("limit", "endpoint", "none", "start the server, or correct its address"),
    "unauthorised": ReasonPolicy("none", "endpoint", "none", "set HER_OPENAI_API_KEY to a valid key and start again", fatal=True),
    "not_found": ReasonPolicy(
        "none", "endpoint", "none", "check the model's name and the address, which often ends in /v1", fatal=True
    ),
    "rate_limited": ReasonPolicy("patience", "load", "none", "wait a little and try again, or allow fewer calls at once"),
    "server_error": ReasonPolicy("limit", "endpoint", "none", "look at the server's log, then try again"),
    "bad_request": ReasonPolicy("none", "call", "none", "change the request: a shorter prompt, or another model"),
    "timeout": ReasonPolicy("limit", "endpoint", "prompt", "it may be loading or overloaded, try again"),
    "broken_stream": ReasonPolicy("limit", "endpoint", "prompt", "try again"),
    # A wrong address answers so at every request, but so does a proxy while its server restarts: retries are cheap, and an
    # endpoint that keeps answering so is taken out of use.
    "invalid_reply": ReasonPolicy(
        "limit", "endpoint", "prompt", "check that the address is that of a chat API; it often ends in /v1"
    ),
    "endless": ReasonPolicy("once", "call", "answer", "try again or lower the token limit"),
    "empty": ReasonPolicy("once", "call", "prompt", "try again, or raise the limit of tokens"),
    "missing_extra": ReasonPolicy(
        "none", "endpoint", "none", "install the extra that the message names, then start again", fatal=True
    ),
}
"""The policy of each reason: every decision by reason, in all packages, is read from here."""


class HerError(Exception):
    """Base of all errors whose message is shown to a person as it is."""


class InputError(HerError):
    """Input is wrong; nothing was changed."""


class FormatVersionError(InputError):
    """A file was written by another version of its format."""


class BackendError(HerError):
    """A model call failed; the transcript stays as it was.

    Args:
        message: one sentence for the person at the screen, without secrets.
        reason: a key of `REASONS`.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(self, message: str, reason: Reason, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.retry_after = retry_after

    @classmethod
    def with_advice(cls, message: str, reason: Reason) -> Self:
        """Return an error whose message ends with the advice of the table; `message` has no full stop."""
        return cls(f"{message}; {REASONS[reason].advice}.", reason)

    @property
    def policy(self) -> ReasonPolicy:
        """Return the treatment of this error's reason."""
        return REASONS[self.reason]

    @property
    def retryable(self) -> bool:
        """Tell whether the same call may succeed when it is asked again."""
        return self.policy.retryable


class TooLong(BackendError):
    """The prompt and the reply do not fit into the model's context; a shorter history may.

    Args:
        message: as in BackendError.
        context: the model's context in tokens, as the server said it; 0 when it did not.
        prompt: tokens of the prompt by the server's count; 0 when it did not say them.
    """

    def __init__(self, message: str, context: int = 0, prompt: int = 0) -> None:
        super().__init__(message, "bad_request")
        self.context, self.prompt = context, prompt


class StoreError(HerError):
    """The database cannot be opened, read or written; nothing was overwritten."""


class NotFound(HerError):
    """No such id, or one that this visitor may not know of."""


class Forbidden(HerError):
    """This visitor may not do this."""
