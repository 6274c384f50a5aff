"""Ask a server again without what it refuses by name, and remember what it takes (`her.backends.openai_terms`)."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from her.backends.openai_errors import ServerLabel, error_from_status, error_hints, server_message
from her.backends.openai_terms import ROUNDS, Terms, apply, learn
from her.errors import BackendError, TooLong

T = TypeVar("T")
log = logging.getLogger(__name__)
_NEGOTIABLE = (400, 404, 415, 422, 500, 501)
"""Statuses of a refusal that may name a field or role. 500: templates that fail at a role."""


class FormRefused(Exception):
    """A refusal that may be about the form of the request; `words` are the server's own, codes included."""

    def __init__(self, error: BackendError, status: int, words: str) -> None:
        super().__init__(str(error))
        self.error, self.status, self.words = error, status, words


def refusal(status: int, content: bytes, retry_after: str, server: ServerLabel) -> BackendError | FormRefused:
    """Return the exception for a response with another status than 200.

    It is `FormRefused` where the server may accept another form of the request, and `TooLong` where only a shorter one.
    """
    message, hints = server_message(content), error_hints(content)
    error = error_from_status(status, server, message, retry_after, hints)
    # A key, a quota or a filter has nothing to do with the form of the request.
    is_form = status in _NEGOTIABLE and error.reason in ("bad_request", "server_error") and "filter" not in str(error)
    return FormRefused(error, status, f"{message} {hints}") if is_form and not isinstance(error, TooLong) else error


class Negotiator:
    """Negotiator of the form of requests with one server; `terms` is what the server takes, as far as refusals have shown."""

    def __init__(self) -> None:
        self.terms = Terms()

    async def send(
        self,
        body: Mapping[str, Any],
        send: Callable[[dict[str, Any]], Awaitable[T]],
        server: ServerLabel,
        kept: tuple[str, ...] = (),
    ) -> T:
        """Send a request, and again without what the server refuses by name.

        Args:
            body: the request as the whole API takes it.
            send: raises `FormRefused` for a refusal that may name a field or role.
            server: for error sentences.
            kept: fields that are never given up.

        Raises:
            BackendError: the server refuses every form, or refuses for another reason.
        """
        terms = self.terms
        for _ in range(ROUNDS):
            asked = apply(terms, body)
            try:
                answer = await send(asked)
            except FormRefused as refused:
                changed = learn(terms, asked, refused.words, guess=refused.status < 500)
                if changed is None or set(changed.dropped) & set(kept):
                    raise refused.error from None
                terms = changed
            else:
                self._remember(terms, asked, server)
                return answer
        raise server.error("bad_request", f"refused {ROUNDS} forms of the same request; look at the server's log")

    def _remember(self, terms: Terms, asked: Mapping[str, Any], server: ServerLabel) -> None:
        learnt = terms.model_copy(update={"usage_known": terms.usage_known or "stream_options" in asked})
        if learnt.sentences() != self.terms.sentences():
            log.info("%s %s", server, "; ".join(learnt.sentences()))
        self.terms = learnt
