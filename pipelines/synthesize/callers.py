"""Ask the models of a run: one caller for all questions, and a second one for the rewriter's when the settings name one."""

from contextlib import AsyncExitStack
from typing import Self

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
        self._count = 0
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
        return (self.main,) if self.rewriter is self.main else (self.main, self.rewriter)

    async def ask(self, question: Question, messages: tuple[Message, ...], sampling: Sampling) -> StageAnswer:
        """Ask once.

        Raises:
            BudgetSpent, BackendError: the budget is spent, or no endpoint is left; both end the run.
        """
        caller, call = self.call_for(question, messages, sampling)
        return stage_answer(await caller.ask(call))

    def call_for(self, question: Question, messages: tuple[Message, ...], sampling: Sampling) -> tuple[Caller, Call]:
        """Return the caller of a question and the call to give it."""
        self._count += 1
        caller = self.rewriter if question.rewriter else self.main
        return caller, Call(f"{question.name} {self._count}", question.name, messages, sampling, question.schema)

    def specs(self, caller: Caller) -> tuple[str, ...]:
        """Return the endpoints of a caller, for workers that open them in other processes."""
        return self._options.endpoints if caller is self.main else self._options.rewriter


def stage_answer(answer: Answer) -> StageAnswer:
    """Return an answer as the stages take it; a failed one has its error and nothing else."""
    if answer.error:
        return StageAnswer(error=answer.error)
    return StageAnswer(text=answer.text, reasoning=answer.reasoning, value=answer.value)
