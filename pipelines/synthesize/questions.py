"""Define how stages ask models: a question, its answer, and the interface they are asked through.

A question is a constant of the module that asks it: a name (in the ledger and the report), a prompt file and the schema of
the answer. `pipelines/synthesize/callers.py` asks with endpoints and a ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from her.prompts import prompt_messages
from her.types import Language, Message, Sampling
from pipelines.synthesize.notes import Notes
from pipelines.synthesize.option_groups import MOST_TOKENS, StageOptions


@dataclass(frozen=True)
class Question:
    """One kind of question.

    Args:
        name: name of its calls in the ledger and in the report.
        prompt: file name in her/prompts without language and suffix; empty for the live prompt of a turn (her/view.py).
        schema: what the answer must be JSON of; None for free text.
        rewriter: whether it is asked of the endpoints in `rewriter` where these are set.
        checker: whether it is asked of the endpoints in `checker`; without any it is not asked.
    """

    name: str
    prompt: str = ""
    schema: type[BaseModel] | None = None
    rewriter: bool = False
    checker: bool = False

    def messages(self, language: Language, payload: Mapping[str, Any], **fields: str) -> tuple[Message, ...]:
        """Return the messages of this question; see `prompt_messages`."""
        return prompt_messages(self.prompt, language, payload, **fields)


@dataclass
class StageAnswer:
    """Answer to one question.

    Args:
        text: the answer as the model wrote it, when the question has no schema.
        reasoning: the model's reasoning beside `text`, from an API-native field.
        value: the parsed answer, when the question has a schema.
        error: why there is no answer, one sentence; then the other fields are empty.
    """

    text: str = ""
    reasoning: str = ""
    value: BaseModel | None = None
    error: str = ""


class Asker(Protocol):
    """Interface through which a stage asks: `StageCallers`, the collector of ray_prefetch.py, or a test."""

    async def ask(self, question: Question, messages: tuple[Message, ...], sampling: Sampling) -> StageAnswer:
        """Ask once. A failed call is a `StageAnswer` with `error`, not an exception."""
        ...


@dataclass(frozen=True)
class StageContext:
    """Input of a stage beside the scene: the asker, the settings, and the notes it records into."""

    asker: Asker
    options: StageOptions
    notes: Notes

    async def ask(self, question: Question, messages: tuple[Message, ...], **sampling: Any) -> StageAnswer:
        """Ask with the sampling of the run; `sampling` overrides fields of it, such as `max_tokens`.

        `max_tokens` is the limit of the answer alone; the room for the teacher's thinking is added here.
        """
        asked = self.options.sampling.model_copy(update=sampling)
        if question.checker:  # another server: it gets the room to think, and none of the teacher's own fields
            limit = min(MOST_TOKENS, asked.max_tokens + self.options.teacher.room)
            return await self.asker.ask(question, messages, asked.model_copy(update={"max_tokens": limit}))
        return await self.asker.ask(question, messages, self.options.teacher.request(asked))
