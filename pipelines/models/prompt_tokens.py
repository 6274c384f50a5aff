"""Tokenise the prompts of TRL's GRPO trainer as the playground does: texts stay texts (her/backends/chat_template.py)."""

from functools import cached_property
from typing import Any

from her.backends.chat_template import PromptEncoder
from her.types import Message


class TextPrompts:
    """Mixin for a trainer of TRL with `_tokenize_prompts`; prompts are lists of messages.

    TRL renders a prompt and encodes the whole text, so a control token in a message would become a real one.
    """

    processing_class: Any

    @cached_property
    def _prompt_encoder(self) -> PromptEncoder:
        return PromptEncoder(self.processing_class)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Return token ids; no images and no other fields."""
        messages = [[Message(role=each["role"], content=each["content"]) for each in prompt] for prompt in prompts]
        return [self._prompt_encoder.ids(each, ask=True) for each in messages], None, {}
