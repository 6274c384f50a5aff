"""`teacher:` answers every question of synthesis and of principles by fixed rules. No model, no network, always the same answers.

It exists to try a whole run on a new machine. Its answers have the format of good data but not the quality, and its description
says that it is not a model. The first line of a prompt names the question, `Task: NAME`. Messages without that line are a live
prompt; it answers them as a reasoning model does, with thinking and then a turn.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from her.backends import teacher_books, teacher_plans, teacher_principles, teacher_turns
from her.backends.base import Completion, Delta, Description, Usage, join_deltas
from her.errors import BackendError
from her.tokens import estimate_tokens
from her.types import Message, Sampling

_TASK = re.compile(r"Task: (\w+)")
Rule = Callable[[dict[str, Any]], dict[str, Any]]
RULES: dict[str, Rule] = {
    "extract_plots": teacher_books.extract_plots,
    "name_characters": teacher_books.name_characters,
    "write_profile": teacher_books.write_profile,
    "stage_scene": teacher_books.stage_scene,
    "enhance_thoughts": teacher_turns.enhance_thoughts,
    "rewrite_plan": teacher_plans.rewrite_plan,
    "complete_setting": teacher_turns.complete_setting,
    "name_principles": teacher_principles.name_principles,
    "distil_principle": teacher_principles.distil_principle,
    "apply_principles": teacher_principles.apply_principles,
}
"""Task -> function from the JSON object of the question to the JSON object of the answer."""


class TeacherBackend:
    """A `her.backends.base.Backend` without a model."""

    def describe(self) -> Description:
        """Describe this backend; its name in records cannot be taken for a model."""
        return Description(spec="teacher:", model="rule-based-teacher", revision="1", context=1_000_000, scripted=True)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an estimate, see `estimate_tokens`."""
        return estimate_tokens(messages)

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Yield the whole answer as one delta."""
        reasoning, text = write_answer(messages)
        await asyncio.sleep(0)  # an answer that never waits would keep other tasks of the loop from running
        written = estimate_tokens([Message(role="assistant", content=reasoning + text)])
        yield Delta(text=text, reasoning=reasoning)
        yield Delta(finish="stop", usage=Usage(prompt_tokens=estimate_tokens(messages), completion_tokens=written))

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def check(self) -> str:
        """Return a sentence; never fails."""
        return "The rule-based teacher is ready; it is not a model."

    async def close(self) -> None:
        """Do nothing: there is nothing to free."""


def write_answer(messages: Sequence[Message]) -> tuple[str, str]:
    """Return thinking and text of the answer.

    Raises:
        BackendError: `bad_request` for a task without a rule, or a question that is not a JSON object.
    """
    system = messages[0].content if messages and messages[0].role == "system" else ""
    task = _TASK.match(system)
    if task is None:
        return teacher_turns.play_turn(messages)
    rule = RULES.get(task[1])
    if rule is None:
        known = ", ".join(RULES)
        raise BackendError(f"the teacher has no rule for the task '{task[1]}'; it has {known}", "bad_request")
    try:
        question = json.loads(next(message.content for message in messages if message.role == "user"))
    except (ValueError, StopIteration) as error:
        raise BackendError(f"the question for the task '{task[1]}' is not JSON", "bad_request") from error
    if not isinstance(question, dict):
        what = f"the question for the task '{task[1]}' is a {type(question).__name__}, not a JSON object"
        raise BackendError(what, "bad_request")
    return "", json.dumps(rule(question), ensure_ascii=False)
