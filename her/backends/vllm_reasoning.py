"""Reasoning parser for vLLM 0.31: the plan of a served model comes in the field `reasoning`, everything else as content.

    vllm serve CHECKPOINT --reasoning-parser-plugin her/backends/vllm_reasoning.py --reasoning-parser her

Only vLLM loads this file, in its own processes (`her serve` writes the command); no other module imports it. A turn that does not
begin with a plan is sent whole at its end, see `her.format.plan_splitter`. Tool calls are not parsed while streaming.
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
"""The role that chat templates write after the special token that opens a message."""
_RECENT = 24
"""Number of tokens before the newest ones in which a closing tag may begin. The longest tag has fewer, letter by letter."""


@ReasoningParserManager.register_module("her")
class HerReasoningParser(ReasoningParser):  # type: ignore[misc]  # vLLM's classes are not known to the type checker
    """Splits one message into reasoning and content. vLLM creates one for each request."""

    # Tells vLLM not to collect text for this parser, and to call `finish_streaming` at the end.
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
        """The tag that ends a plan; vLLM inserts it when the thinking budget is used up."""
        return WRITTEN["system_thinking"][1]

    def adjust_request(self, request: Any) -> Any:
        """Keep tags in the text that are special tokens of the model."""
        if any(TAG.fullmatch(token) for token in self.model_tokenizer.all_special_tokens):
            request.skip_special_tokens = False
        return request

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        """Return True when the plan has ended in these ids: a prompt, or a prompt and an answer."""
        self._before = self._message(list(input_ids))
        return PlanSplitter(self._before).planned

    def is_reasoning_end_streaming(self, input_ids: Sequence[int], delta_ids: Iterable[int]) -> bool:
        """Return True when the closing tag of a plan is in the newest tokens. From there on vLLM applies a JSON schema."""
        size = len(list(delta_ids)) + _RECENT
        recent = self._message(list(input_ids[-size:]), whole=False)
        return any(tag.kind == "system_thinking" and tag.move == "close" for tag in map(read_tag, TAG.findall(recent)))

    def has_engine_confirmed_reasoning_end(self) -> bool:
        """Return False always: the splitter has to see the whole text."""
        return False

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        """Start with the part of the message that the prompt already holds, such as an opened plan."""
        self._splitter = PlanSplitter(self._message(list(prompt_token_ids)))

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        """Return the tokens after the plan."""
        return input_ids[self._plan_tokens(input_ids) :]

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """Return the number of tokens of the plan with its tags; 0 when there is none."""
        return self._plan_tokens(list(token_ids))

    def extract_reasoning(self, model_output: str, request: Any) -> tuple[str | None, str | None]:
        """Return reasoning and content of a whole message; None for an empty one."""
        split = _split(model_output, self._before or _continued_text(request))
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
        """Return reasoning and content of a piece; None while it is held back."""
        return _delta(self._splitter.feed(delta_text))

    def finish_streaming(self) -> DeltaMessage | None:
        """Return what was held back until the end of the message."""
        return _delta(self._splitter.close())

    def _message(self, ids: list[int], whole: bool = True) -> str:
        """Return the text after the last special token, without the role.

        Args:
            whole: the ids begin with the prompt; without a special token in it nothing is known, and the text is empty.
        """
        special = set(self.model_tokenizer.all_special_ids)
        start = next((place + 1 for place in reversed(range(len(ids))) if ids[place] in special), 0)
        if whole and not start:
            return ""
        return _ROLE.sub("", self.model_tokenizer.decode(ids[start:]), count=1)

    def _plan_tokens(self, ids: list[int]) -> int:
        """Return the number of an answer's tokens that its plan takes up.

        Tokens and characters do not match one to one, so the smallest prefix that ends the plan is found by bisection.
        """
        if not _split(self.model_tokenizer.decode(ids)).reasoning:
            return 0
        return bisect_left(range(len(ids)), True, key=lambda size: self._ends_plan(ids[:size]))

    def _ends_plan(self, ids: list[int]) -> bool:
        splitter = PlanSplitter()
        splitter.feed(self.model_tokenizer.decode(ids))
        return splitter.planned


def _split(text: str, before: str = "") -> Split:
    splitter = PlanSplitter(before)
    first, last = splitter.feed(text), splitter.close()
    return Split(first.reasoning + last.reasoning, first.content + last.content)


def _continued_text(request: Any) -> str:
    """Return the message that the request continues; empty when it continues none."""
    messages = getattr(request, "messages", None)
    if not messages or not getattr(request, "continue_final_message", False):
        return ""
    content = messages[-1].get("content") if isinstance(messages[-1], dict) else None
    return content if isinstance(content, str) else ""


def _delta(split: Split) -> DeltaMessage | None:
    """Return the fields that hold text; None when none does, since vLLM would send an empty field to the client."""
    fields = {field: text for field, text in split._asdict().items() if text}
    return DeltaMessage(**fields) if fields else None
