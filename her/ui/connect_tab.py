"""The tab "Connect a model": check the model that is connected, or connect another one.

A visitor may connect a URL only when the server was started with `--allow-visitor-urls`. The model then serves that visitor
alone, and no key of the operator is sent to it.
"""

import logging

import gradio as gr

from her.backends.base import Backend
from her.backends.open import open_backend
from her.chat.participation import require_participant
from her.chat.sentences import visitor_sentence, without_addresses
from her.chat.service import ChatService
from her.errors import BackendError, Forbidden, HerError
from her.ui.requests import token_owner

LINES = """\
| what you run | start HER with |
| --- | --- |
| Ollama | `her play --backend openai:http://127.0.0.1:11434/v1#qwen3:8b` |
| llama.cpp (`llama-server -m model.gguf`) | `her play --backend openai:http://127.0.0.1:8080/v1` |
| vLLM (`vllm serve Qwen/Qwen3-8B`) | `her play --backend openai:http://127.0.0.1:8000/v1#Qwen/Qwen3-8B` |
| a checkpoint of yours in vLLM (`her serve CHECKPOINT`) | `her play --backend openai:http://127.0.0.1:8000/v1` |
| Hugging Face router (`HF_TOKEN` set) | `her play --backend openai:https://router.huggingface.co/v1#Qwen/Qwen3-32B` |
| a checkpoint on this machine (`pip install -e '.[local]'`) | `her play --backend local:path/to/checkpoint` |
"""
# The token is the last input of both handlers; only the browser knows it.
# memory.js keeps it in the window as well, for browsers that refuse storage.
_WITH_TOKEN = "(...inputs) => [...inputs.slice(0, -1), window.herVisitor || '']"
log = logging.getLogger(__name__)


class ConnectTab:
    """The tab and its two handlers.

    Args:
        service: the chat service whose backends are shown and changed.
        allow_urls: True lets visitors connect a backend for their own chats.
    """

    def __init__(self, service: ChatService, allow_urls: bool) -> None:
        self.service = service
        self.allow_urls = allow_urls

    def build(self) -> None:
        """Draw the tab into the open Blocks."""
        with gr.Column(elem_classes="her-connect"):
            gr.Markdown("## Connect a model · 连接模型")
            status = gr.Markdown("", elem_id="connect-status")
            token = gr.Textbox(visible="hidden")
            with gr.Row():
                spec = gr.Textbox(
                    label="Backend for your chats",
                    placeholder="openai:http://127.0.0.1:8000/v1#model",
                    visible=self.allow_urls,
                    elem_id="connect-spec",
                    scale=3,
                )
            with gr.Row():
                check = gr.Button("Check the connection", elem_id="connect-check")
                use = gr.Button("Use it for my chats", visible=self.allow_urls, variant="primary", elem_id="connect-use")
            if not self.allow_urls:
                gr.Markdown("The model is chosen by the person who starts the server:")
            gr.Markdown(LINES)
            gr.Markdown(
                "Keys are read from the environment (`HER_OPENAI_API_KEY`, or `HF_TOKEN` for the router) and never typed here."
            )
        hidden = {"api_visibility": "undocumented", "show_progress": "minimal"}
        check.click(self.check, [token], [status], js=_WITH_TOKEN, api_name="check_connection", **hidden)
        use.click(self.use, [spec, token], [status], js=_WITH_TOKEN, api_name="use_connection", **hidden)

    async def check(self, token: str) -> str:
        """Say in one sentence which model answers, or why none does."""
        try:
            visitor = token_owner(token)
            await require_participant(self.service, visitor)
            backend = self.service.backend_for(visitor)
        except HerError as error:
            return _plain(f"⚠ {error}")
        own, spec = backend is not self.service.backend, backend.describe().spec
        try:
            said = await backend.check()
            return _plain(said if own else without_addresses(said, spec))
        except HerError as error:
            log.warning("the check of a connection failed: %s", error)
            return _plain(f"⚠ {error if own else visitor_sentence(error, spec)}")

    async def use(self, spec: str, token: str) -> str:
        """Connect this visitor's chats to `spec` once it has answered; an empty spec returns to the server's backend."""
        try:
            visitor = token_owner(token)
            await require_participant(self.service, visitor)
            if not self.allow_urls:
                raise Forbidden("this server was started without --allow-visitor-urls, so its model cannot be changed here")
            backend: Backend | None = open_backend(spec, personas=self.service.personas, visitor=True) if spec.strip() else None
            return _plain(await self._connected(visitor, backend))
        except HerError as error:
            return _plain(f"⚠ {error}")

    async def _connected(self, visitor: str, backend: Backend | None) -> str:
        """Check the backend, give it to this visitor and return its answer. A backend that does not answer is closed."""
        try:
            answer = await (backend or self.service.backend).check()
        except BackendError:
            if backend is not None:
                await backend.close()
            raise
        await self.service.connect(visitor, backend)
        return answer


def _plain(text: str) -> str:
    """Escape a server's text for Markdown and HTML."""
    return "".join(
        f"\\{letter}" if letter in r"\`*_{}[]()#+-.!|~>" else {"<": "&lt;", "&": "&amp;"}.get(letter, letter) for letter in text
    )
