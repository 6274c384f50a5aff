"""Give the stages their callers: one for all questions, and another to rewrite plans where one is named."""

from contextlib import AsyncExitStack
from typing import Self

from pydantic import BaseModel

from her.inference.caller import Answer, Call, Caller, CallLimits, Ledger, Prices
from her.types import Message, Sampling
from pipelines.synthesize.options import SynthesisOptions
from pipelines.synthesize.stages.system_thinking import STAGE as PLANS
from pipelines.synthesize.work import StageAnswer


class Models:
    """Asks the endpoints of a run and keeps every answer in its ledger. Used as an asynchronous context manager."""

    def __init__(self, options: SynthesisOptions, ledger: Ledger) -> None:
        self._options = options
        calls = options.calls
        limits = CallLimits(
            max_in_flight=calls.in_flight,
            retries=calls.retries,
            timeout=calls.timeout,
            patience=calls.patience,
            ahead=4 * calls.in_flight * len(options.endpoints),
            budget_tokens=calls.budget_tokens or None,
            budget_money=calls.budget_money or None,
            prices=Prices(prompt=calls.price_prompt, completion=calls.price_completion),
        )
        self.main = Caller(options.endpoints, ledger, limits)
        self.rewriter = Caller(options.rewriter, ledger, limits, self.main.purse) if options.rewriter else self.main
        self._asked = 0
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

    async def ask(
        self, stage: str, messages: tuple[Message, ...], sampling: Sampling, schema: type[BaseModel] | None = None
    ) -> StageAnswer:
        """See `work.Asker`. A budget that is spent and an endpoint that is lost for good are raised, they end the run."""
        caller, call = self.question(stage, messages, sampling, schema)
        return reply(await caller.ask(call))

    def question(
        self, stage: str, messages: tuple[Message, ...], sampling: Sampling, schema: type[BaseModel] | None
    ) -> tuple[Caller, Call]:
        """Who is asked, and what."""
        self._asked += 1
        return self.rewriter if stage == PLANS else self.main, Call(f"{stage} {self._asked}", stage, messages, sampling, schema)

    def specs(self, caller: Caller) -> tuple[str, ...]:
        """The endpoints of a caller, for workers that open them themselves."""
        return self._options.endpoints if caller is self.main else self._options.rewriter


def reply(answer: Answer) -> StageAnswer:
    """An answer as the stages take it; a failed one has its error and nothing else."""
    if answer.error:
        return StageAnswer(error=answer.error)
    return StageAnswer(text=answer.text, reasoning=answer.reasoning, value=answer.value)
