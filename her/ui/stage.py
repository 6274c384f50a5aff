"""The stage: chat, panels, swipes and ratings in one Gradio component, which the scripts in her/ui/static draw.

It has two endpoints, and both check the visitor inside: `act` answers a request at once (handlers in her/ui/acts.py), `run`
streams a generation (her/ui/runs.py). Requests carry ids only; the chat service checks who owns them.
"""

import json
import logging
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, Literal

import gradio as gr

from her.chat.ceilings import ADDRESS
from her.chat.openings import whole_characters
from her.chat.sentences import visitor_sentence
from her.chat.service import ChatService
from her.errors import BackendError, HerError, StoreError
from her.types import Language
from her.ui import assets
from her.ui.acts import HANDLERS
from her.ui.answers import ChatPatch, PageAnswer
from her.ui.chinese_errors import in_language
from her.ui.guard import UNREAD_SECONDS
from her.ui.playtest_acts import require_allowed
from her.ui.readers import Patience
from her.ui.requests import read_act, read_run
from her.ui.runs import stream

UNEXPECTED = "Something went wrong on the server; its log has the details. Reload the page and try again."
log = logging.getLogger(__name__)


class Stage:
    """The component and its two endpoints.

    Args:
        service: the chat service.
        kind: what the first page offers: `stage` personas and books, `scene` scenes of several characters.
    """

    def __init__(self, service: ChatService, kind: Literal["stage", "scene"] = "stage") -> None:
        self.service = service
        self.kind = kind
        self._stamps = count(1)

    def build(self) -> gr.HTML:
        """Draw the component into the open Blocks."""

        # Gradio sets attributes on the functions it is given, which a bound method does not allow.
        async def act(payload: dict[str, Any]) -> PageAnswer:
            return await self.act(payload)

        stage = gr.HTML(
            value="{}",
            html_template=(assets.STATIC / "stage.html").read_text("utf-8").replace("her-drawer-id", f"her-drawer-{self.kind}"),
            js_on_load=assets.loader(self.kind),
            server_functions=[act],
            apply_default_css=False,
            elem_id=self.kind,
            elem_classes="her-host",
        )
        stage.run(
            self.run,
            inputs=None,
            outputs=[stage],
            show_progress="hidden",
            trigger_mode="multiple",
            concurrency_limit=None,
            api_name="run" if self.kind == "stage" else f"run_{self.kind}",
            api_visibility="undocumented",
        )
        return stage

    async def act(self, payload: object) -> PageAnswer:
        """Answer one request; what cannot be done comes back as `{"error": sentence, "again": whether it may be later}`."""
        try:
            request = read_act(payload)
            await require_allowed(self.service, request)
            return await HANDLERS[type(request)](self.service, request)
        except HerError as error:
            return {
                "error": in_language(_told(error), _language(payload)),
                "again": isinstance(error, (StoreError, BackendError)),
            }
        except Exception:
            log.exception("act failed")
            return {"error": in_language(UNEXPECTED, _language(payload)), "again": True}

    async def run(self, event: gr.EventData, client: gr.Request | None = None) -> AsyncIterator[str]:
        """Start or join a generation and stream its patches as JSON texts, as long as somebody reads them."""
        payload = event._data
        # The queue calls this in a task of its own, where the address that the guard saw is not known.
        ADDRESS.set(str(client.client.host) if client and client.client else "")
        patience = Patience(str(client.session_hash or "") if client else "", UNREAD_SECONDS)
        try:
            request = read_run(payload)
            await require_allowed(self.service, request)
            with self.service.stream_place(request.visitor):
                async for patch in stream(self.service, request):
                    yield self._stamped(patch)
                    if patience.over:
                        return
        except HerError as error:
            yield self._stamped(_refused(payload, in_language(_told(error), _language(payload))))
        except Exception:
            log.exception("run failed")
            yield self._stamped(_refused(payload, in_language(UNEXPECTED, _language(payload))))

    def _stamped(self, patch: ChatPatch) -> str:
        # Without the stamp two equal patches in a row would not count as a change of the component's value.
        return json.dumps({**patch, "stamp": next(self._stamps)}, ensure_ascii=False)


def _told(error: HerError) -> str:
    """Return the sentence for the visitor; what only the operator may read goes to the log."""
    if isinstance(error, (StoreError, BackendError)):
        log.error("a request failed: %s", error)
    return visitor_sentence(error)


def _refused(payload: object, error: str) -> ChatPatch:
    """Return the patch that ends a run which did not start; gives the visitor's text back."""
    return {"chat": _text(payload, "chat"), "end": True, "error": error, "give_back": _text(payload, "text")}


def _language(payload: object) -> Language:
    """Return the language of an unchecked request."""
    return "zh" if _text(payload, "language") == "zh" else "en"


def _text(payload: object, field: str) -> str:
    """Return a text of an unchecked request; empty when it is absent or not a text."""
    value = payload.get(field) if isinstance(payload, dict) else None
    return whole_characters(value) if isinstance(value, str) else ""
