"""What a run has done so far: counts, tokens, money, rate, time left; read by progress, reports and budgets."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from her.endpoints import Endpoint
from her.spending import Prices, Tokens
from her.types import Value

if TYPE_CHECKING:
    from her.store.ledger import Entry


class Snapshot(Value):
    """The tally at one moment.

    Args:
        total: calls expected; None when nobody said.
        answered: now, without those from the ledger.
        recorded: taken from the ledger.
        failed: calls that got no answer.
        tiers: of structured answers, earlier times included; `unusable` is how many of them failed.
        rate: answers a second, of the last half minute.
        seconds_left: None while it cannot be said.
        money: of the whole run, earlier times included; `prompt_tokens` and `completion_tokens` likewise.
        in_flight: calls on their way, by endpoint.
        out: endpoints that are not asked just now.
    """

    model: str
    total: int | None
    answered: int
    recorded: int
    failed: int
    unusable: int
    tiers: dict[str, int]
    retries: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    money: float
    rate: float
    seconds: float
    seconds_left: float | None
    in_flight: dict[str, int]
    out: tuple[str, ...]


class Tally:
    """Counts as answers come; cheap enough for each of them."""

    def __init__(self, endpoints: Sequence[Endpoint], prices: Prices) -> None:
        self.model = ""
        self.total: int | None = None
        self.spent = Tokens()
        self.answered = self.recorded = self.failed = 0
        self.tiers: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self._endpoints, self._prices = endpoints, prices
        self._began = time.monotonic()
        self._marks = [(self._began, 0)]

    def fresh(self, entry: "Entry") -> None:
        """An answer came from an endpoint."""
        self.answered += 1
        self.took(Tokens(entry.prompt_tokens, entry.completion_tokens))
        if entry.tier:
            self.tiers[entry.tier] += 1

    def took(self, tokens: Tokens) -> None:
        """Tokens were taken, whatever for."""
        self.spent = self.spent.plus(tokens)

    def retried(self, reason: str) -> None:
        """A request is made again."""
        self.retries[reason] += 1

    def snapshot(self) -> Snapshot:
        """Everything at this moment."""
        now, done = time.monotonic(), self.answered + self.recorded + self.failed
        rate = self._rate(now)
        left = None if self.total is None or not rate else max(0.0, (self.total - done) / rate)
        return Snapshot(
            model=self.model,
            total=self.total,
            answered=self.answered,
            recorded=self.recorded,
            failed=self.failed,
            unusable=self.tiers["failed"],
            tiers=dict(self.tiers),
            retries=dict(self.retries),
            prompt_tokens=self.spent.prompt,
            completion_tokens=self.spent.completion,
            money=self._prices.of(*self.spent),
            rate=rate,
            seconds=now - self._began,
            seconds_left=left,
            in_flight={endpoint.name: endpoint.in_flight for endpoint in self._endpoints},
            out=tuple(endpoint.name for endpoint in self._endpoints if endpoint.out),
        )

    def _rate(self, now: float) -> float:
        """Answers of endpoints a second, over the last half minute or so."""
        if now - self._marks[-1][0] > 1:
            self._marks = [*self._marks[-30:], (now, self.answered)]
        then, answered = self._marks[0]
        return (self.answered - answered) / (now - then) if now > then else 0.0
