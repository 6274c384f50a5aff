"""Ask the models of an evaluation: one caller for each set of endpoints, one ledger and one budget for all of them."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Protocol, Self

from her.backends.base import Backend
from her.errors import InputError
from her.inference.budget import TokenCount
from her.inference.caller import Answer, Call, Caller, Ledger
from her.types import Message
from pipelines.evaluate.options import ROLES, EvaluateOptions, Role


class RoleAsker(Protocol):
    """Asks the model of a role."""

    def context(self, role: Role) -> int:
        """Return the longest prompt and answer together, in tokens."""
        ...

    def count(self, role: Role, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages as a prompt."""
        ...

    async def ask(self, role: Role, call: Call) -> Answer:
        """Return the answer; a failed call is an Answer with an error.

        Raises:
            BudgetSpent, BackendError: the budget is spent, or no endpoint is left; both end the run.
        """
        ...


class RoleCallers:
    """The callers of a run, an asynchronous context manager.

    Args:
        options: of the run.
        ledger: keeps every answer.
        scripted: backend of the roles without an endpoint.

    Attributes:
        used: tokens by case, those of recorded answers included: what a case costs, whenever it was paid.
    """

    def __init__(self, options: EvaluateOptions, ledger: Ledger, scripted: Backend | None = None) -> None:
        self._options = options
        self._stack = AsyncExitStack()
        self._by_specs: dict[tuple[str, ...], Caller] = {}
        self.used: dict[str, TokenCount] = {}
        self.failures: Counter[str] = Counter()
        roles: tuple[Role, ...] = ("judge",) if options.transcripts is not None else ROLES
        for role in roles:
            specs = options.specs(role)
            if not specs and scripted is None:
                raise InputError(f"no endpoint plays the {role}; name one")
            if specs not in self._by_specs:
                endpoints: list[str | Backend] = [*specs] if specs else [scripted] if scripted is not None else []
                # All callers share one budget: it is for the whole run.
                first = next(iter(self._by_specs.values()), None)
                limits = options.calls.limits(len(endpoints))
                self._by_specs[specs] = Caller(endpoints, ledger, limits, first.budget if first else None)

    async def __aenter__(self) -> Self:
        try:
            for caller in self.callers:
                await self._stack.enter_async_context(caller)
                await caller.require_served()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def callers(self) -> tuple[Caller, ...]:
        """Every caller once."""
        return tuple(self._by_specs.values())

    def of(self, role: Role) -> Caller:
        """Return the caller of a role."""
        return self._by_specs[self._options.specs(role)]

    def specs(self, caller: Caller) -> tuple[str, ...]:
        """Return the endpoints of a caller, for workers that open them in other processes."""
        return next(specs for specs, each in self._by_specs.items() if each is caller)

    def context(self, role: Role) -> int:
        """Return the context of the role's model; of several endpoints the shortest."""
        return min(endpoint.backend.describe().context for endpoint in self.of(role).endpoints)

    def count(self, role: Role, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages as a prompt."""
        return self.of(role).endpoints[0].backend.count_tokens(messages)

    async def ask(self, role: Role, call: Call) -> Answer:
        """Ask, see `RoleAsker`."""
        answer = await self.of(role).ask(call)
        if answer.error:
            self.failures[f"{role}: {answer.reason}"] += 1
        if answer.entry is not None and isinstance(call.meta, str):
            so_far = self.used.get(call.meta, TokenCount())
            self.used[call.meta] = so_far.plus(TokenCount(answer.entry.prompt_tokens, answer.entry.completion_tokens))
        return answer
