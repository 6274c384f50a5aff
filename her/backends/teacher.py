"""`teacher:` answers every question of synthesis by rule: plain, valid, the same each time. No model, no network.

It lets a whole run be tried on a fresh machine, and says of itself that it is no model: what it writes has the shape of
good data and nothing of its worth. A question is known by the first line of its prompt, `Task: NAME`; without one the
messages are a live prompt, which it plays as a reasoning model would, thinking first.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence

from her.backends import teacher_books, teacher_turns
from her.backends.base import Completion, Delta, Description, Usage, join_deltas
from her.errors import BackendError
from her.tokens import estimate_tokens
from her.types import Message, Sampling

_TASK = re.compile(r"Task: (\w+)")
RULES = {
    "extract_plots": teacher_books.extract_plots,
    "name_characters": teacher_books.name_characters,
    "write_profile": teacher_books.write_profile,
    "stage_scene": teacher_books.stage_scene,
    "enhance_thoughts": teacher_turns.enhance_thoughts,
    "rewrite_plan": teacher_turns.rewrite_plan,
    "complete_setting": teacher_turns.complete_setting,
}


class TeacherBackend:
    """See `her.backends.base.Backend`."""

    def describe(self) -> Description:
        """Named so that no record can take it for a model."""
        return Description(spec="teacher:", model="rule-based-teacher", revision="1", context=1_000_000, scripted=True)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """An estimate, see `estimate_tokens`."""
        return estimate_tokens(messages)

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """The whole answer at once."""
        reasoning, text = write_answer(messages)
        await asyncio.sleep(0)
        said = estimate_tokens([Message(role="assistant", content=reasoning + text)])
        yield Delta(text=text, reasoning=reasoning)
        yield Delta(finish="stop", usage=Usage(prompt_tokens=estimate_tokens(messages), completion_tokens=said))

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The same, whole."""
        return await join_deltas(self.stream(messages, sampling))

    async def check(self) -> str:
        """Always there."""
        return "The rule-based teacher is ready; it is no model."

    async def close(self) -> None:
        """Nothing to free."""


def write_answer(messages: Sequence[Message]) -> tuple[str, str]:
    """Thinking and text of the answer.

    Raises:
        BackendError: `bad_request` for a task without a rule, or one whose last message is no JSON object.
    """
    system = messages[0].content if messages and messages[0].role == "system" else ""
    named = _TASK.match(system)
    if named is None:
        return teacher_turns.play_turn(messages)
    rule = RULES.get(named[1])
    if rule is None:
        known = ", ".join(RULES)
        raise BackendError(f"the teacher has no rule for the task '{named[1]}'; it has {known}", "bad_request")
    try:
        asked = json.loads(next(message.content for message in messages if message.role == "user"))
    except (ValueError, StopIteration) as error:
        raise BackendError(f"the teacher was asked '{named[1]}' without a JSON object", "bad_request") from error
    if not isinstance(asked, dict):
        raise BackendError(f"the teacher was asked '{named[1]}' with a {type(asked).__name__}, not a JSON object", "bad_request")
    return "", json.dumps(rule(asked), ensure_ascii=False)
