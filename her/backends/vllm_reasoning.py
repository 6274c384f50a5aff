"""A reasoning parser for vLLM 0.31: a served model's plan comes in the field `reasoning`, all else as content.

    vllm serve CHECKPOINT --reasoning-parser-plugin her/backends/vllm_reasoning.py --reasoning-parser her

Loaded by vLLM alone, in its own processes (`her serve` writes the command); the house never imports it. A turn whose plan
does not come first arrives whole at its end, see `her.format.plan_splitter`. Tool calls are not looked for while streaming.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.reasoning import ReasoningParser, ReasoningParserManager

try:
    from her.format.plan_splitter import PlanSplitter, Split
    from her.format.tags import TAG, WRITTEN, read_tag
except ImportError as error:
    raise ImportError(
        "the reasoning parser 'her' needs the package her in the environment that vLLM runs in; "
        "install it there (pip install --no-deps FOLDER_OF_HER is enough), or start vLLM with 'her serve'"
    ) from error

_ROLE = re.compile(r"\s*(?:assistant|model|chatbot)?\s*")
_RECENT = 24
"""Tokens looked back for a closing tag that ends with the newest one."""


@ReasoningParserManager.register_module("her")
class HerReasoningParser(ReasoningParser):  # type: ignore[misc]  # vLLM's classes are not known to the type checker
    """One for each message. `engine_based_streaming` is how vLLM says: keep no text for me, and ask me at the end."""

    engine_based_streaming = True

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(tokenizer, *args, **kwargs)
        self._before = ""
        self._splitter = PlanSplitter()

    @property
    def reasoning_start_str(self) -> str:
        """The tag that opens a plan."""
        return WRITTEN["system_thinking"][0]

    @property
    def reasoning_end_str(self) -> str:
        """The tag that ends one; what vLLM writes when a budget for thinking is used up."""
        return WRITTEN["system_thinking"][1]

    def adjust_request(self, request: Any) -> Any:
        """Have tags that are special tokens of the model left in its text."""
        if any(TAG.fullmatch(token) for token in self.model_tokenizer.all_special_tokens):
            request.skip_special_tokens = False
        return request

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Whether the plan has ended in these ids, the prompt or the prompt and an answer."""
        self._before = self._message(list(input_ids))
        return PlanSplitter(self._before).planned

    def is_reasoning_end_streaming(self, input_ids: Sequence[int], delta_ids: Iterable[int]) -> bool:
        """Whether a plan's closing tag stands in the newest tokens; from there on an asked-for JSON schema counts."""
        size = len(list(delta_ids)) + _RECENT
        recent = self._message(list(input_ids[-size:]), whole=False)
        return any(tag.kind == "system_thinking" and tag.move == "close" for tag in map(read_tag, TAG.findall(recent)))

    def has_engine_confirmed_reasoning_end(self) -> bool:
        """Never: a second plan would be content."""
        return False

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        """Go on with what the prompt already holds of the message, such as an opened plan."""
        self._splitter = PlanSplitter(self._message(list(prompt_token_ids)))

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """The tokens after the plan."""
        return input_ids[self._planned(input_ids) :]

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """The tokens of the plan with its tags; 0 where there is none."""
        return self._planned(list(token_ids))

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """The two texts of a whole message; None for an empty one."""
        split = _split(model_output, self._before or _prefix(request))
        return split.reasoning or None, split.content or None

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> DeltaMessage | None:
        """The two texts of a piece; None while it is held back."""
        return _delta(self._splitter.feed(delta_text))

    def finish_streaming(self) -> DeltaMessage | None:
        """What was held back to the end of the message."""
        return _delta(self._splitter.close())

    def _message(self, ids: list[int], whole: bool = True) -> str:
        """The text after the last special token, without the role; empty when there is no such token in a prompt."""
        special = set(self.model_tokenizer.all_special_ids)
        start = next((at + 1 for at in reversed(range(len(ids))) if ids[at] in special), 0)
        if whole and not start:
            return ""
        return _ROLE.sub("", self.model_tokenizer.decode(ids[start:]), count=1)

    def _planned(self, ids: list[int]) -> int:
        """How many of an answer's tokens its plan takes up."""
        if not _split(self.model_tokenizer.decode(ids)).reasoning:
            return 0
        return bisect_left(range(len(ids)), True, key=lambda size: self._flows(ids[:size]))

    def _flows(self, ids: list[int]) -> bool:
        splitter = PlanSplitter()
        splitter.feed(self.model_tokenizer.decode(ids))
        return splitter.planned


def _split(text: str, before: str = "") -> Split:
    splitter = PlanSplitter(before)
    first, last = splitter.feed(text), splitter.close()
    return Split(first.reasoning + last.reasoning, first.content + last.content)


def _prefix(request: Any) -> str:
    """What the prompt holds of the message when the last one is gone on with."""
    messages = getattr(request, "messages", None)
    if not messages or not getattr(request, "continue_final_message", False):
        return ""
    said = messages[-1].get("content") if isinstance(messages[-1], dict) else None
    return said if isinstance(said, str) else ""


def _delta(split: Split) -> DeltaMessage | None:
    said = {field: text for field, text in split._asdict().items() if text}
    return DeltaMessage(**said) if said else None
