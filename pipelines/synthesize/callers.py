"""Ask the models of a run: one caller for all questions, further ones for the rewriter's and the checker's."""

import re
from collections import Counter
from contextlib import AsyncExitStack
from typing import Self

from her.errors import REASONS, BackendError
from her.inference.caller import Answer, Call, Caller, Ledger
from her.types import Message, Sampling
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.questions import Question, StageAnswer


class StageCallers:
    """The callers of a run, which keep every answer in its ledger; an asynchronous context manager. See `Asker`."""

    def __init__(self, options: SynthesisOptions, ledger: Ledger) -> None:
        limits = options.calls.limits(len(options.endpoints))
        self._options = options
        self.main = Caller(options.endpoints, ledger, limits)
        # Both callers share one purse: the budget is for the whole run.
        self.rewriter = Caller(options.rewriter, ledger, limits, self.main.budget) if options.rewriter else self.main
        self.checker = Caller(options.checker, ledger, limits, self.main.budget) if options.checker else self.main
        self._count = 0
        self._hopeless = HopelessCalls(options.teacher.give_up)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for caller in self.callers:
            await self._stack.enter_async_context(caller)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def callers(self) -> tuple[Caller, ...]:
        """Every caller once."""
        return tuple(dict.fromkeys((self.main, self.rewriter, self.checker)))

    async def ask(self, question: Question, messages: tuple[Message, ...], sampling: Sampling) -> StageAnswer:
        """Ask once.

        Raises:
            BudgetSpent, BackendError: the budget is spent, no endpoint is left, or calls fail for good; all end the run.
        """
        self._hopeless.check()
        caller, call = self.call_for(question, messages, sampling)
        answer = await caller.ask(call)
        self._hopeless.count(answer)
        return stage_answer(answer)

    def call_for(self, question: Question, messages: tuple[Message, ...], sampling: Sampling) -> tuple[Caller, Call]:
        """Return the caller of a question and the call to give it."""
        self._count += 1
        caller = self.checker if question.checker else self.rewriter if question.rewriter else self.main
        return caller, Call(f"{question.name} {self._count}", question.name, messages, sampling, question.schema)

    def specs(self, caller: Caller) -> tuple[str, ...]:
        """Return the endpoints of a caller, for workers that open them in other processes."""
        if caller is self.main:
            return self._options.endpoints
        return self._options.rewriter if caller is self.rewriter else self._options.checker


class HopelessCalls:
    """Counter of calls that fail with one error that asking again does not mend, such as a parameter that the server refuses.

    Without it such an error costs every call of a run, and the run ends with nothing. A prompt that is too long for one scene is
    permanent as well, so calls of a question that was answered before count for a tenth.

    Args:
        most: calls of a question with one error, none of them answered, after which the run stops; 0 for never.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._answered: set[str] = set()
        self._failed: Counter[tuple[str, str]] = Counter()
        self._stop: BackendError | None = None

    def check(self) -> None:
        """Raise the error that ends the run, when the calls have shown one; calls in flight are not followed by others."""
        if self._stop:
            raise self._stop

    def count(self, answer: Answer) -> None:
        """Count one answer.

        Raises:
            BackendError: the same error was met too often.
        """
        question, kind = answer.call.stage, _permanent_error(answer)
        if not kind:
            if not answer.error:
                self._answered.add(question)
                for failed in [key for key in self._failed if key[0] == question]:
                    del self._failed[failed]
            return
        if answer.recorded:
            return  # of an earlier start, which may have had other settings
        self._failed[question, kind] += 1
        count, most = self._failed[question, kind], self._most * (10 if question in self._answered else 1)
        if self._most and count >= most:
            what = (
                f"{count} calls of '{question}' failed with one error that asking again does not mend: {answer.error.rstrip('.')}"
            )
            self._stop = BackendError(f"{what}; {_advice(answer)}", "bad_request")
            raise self._stop


def _permanent_error(answer: Answer) -> str:
    """Return what all failures of one kind share: the error without its numbers; empty for an error that may pass."""
    if answer.truncated and answer.error:
        return "truncated"
    policy = REASONS.get(answer.failure.reason) if answer.failure else None  # type: ignore[call-overload]
    if answer.failure is None or policy is None or policy.retryable:
        return ""
    return f"{answer.failure.reason} {re.sub(r'[0-9]+', '0', answer.failure.error)}"


def _advice(answer: Answer) -> str:
    if answer.truncated:
        tokens = answer.call.sampling.max_tokens
        return f"of {tokens} tokens the teacher thinks too many; raise teacher.room, or lower teacher.effort"
    return "change the request with teacher.leave_out, teacher.body, teacher.tokens_field, teacher.effort or teacher.room"


def stage_answer(answer: Answer) -> StageAnswer:
    """Return an answer as the stages take it; a failed one has its error and nothing else."""
    if answer.error:
        return StageAnswer(error=answer.error)
    return StageAnswer(text=answer.text, reasoning=answer.reasoning, value=answer.value)
