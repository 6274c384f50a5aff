"""Count what a run has done so far: calls, tokens, money, rate, time left; progress, reports and budgets read it."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from her.inference.budget import Prices, TokenCount
from her.inference.endpoints import Endpoint
from her.store.ledger import Entry
from her.types import Value

LATEST = 1_000
"""Answers whose tokens are kept one by one, for a forecast; about 100 bytes each."""
_MARK_SECONDS, _MARKS = 1, 30
"""The rate is taken over the last 30 marks, which are at least a second apart."""


class CountersSnapshot(Value):
    """Counters at one moment.

    Args:
        total: expected calls; None if unknown.
        answered: calls answered by an endpoint since this start.
        recorded: calls answered from the ledger.
        failed: calls without an answer.
        unusable: structured answers that did not fit their schema, earlier starts included.
        tiers: structured answers by tier, earlier starts included.
        retries: repeated requests by reason.
        money: of the whole run, earlier starts included; `prompt_tokens` and `completion_tokens` likewise.
        rate: answers per second over the last half minute.
        seconds: since this start.
        seconds_left: None while it cannot be estimated.
        in_flight: calls in flight by endpoint.
        out: names of the endpoints that get no calls at the moment.
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

    @property
    def done(self) -> int:
        """Return the number of calls that have ended."""
        return self.answered + self.recorded + self.failed


class Counters:
    """Running counts of one caller; cheap enough to be updated with each answer."""

    def __init__(self, endpoints: Sequence[Endpoint], prices: Prices) -> None:
        self.model = ""
        self.total: int | None = None
        self.spent = TokenCount()
        self.answered = self.recorded = self.failed = 0
        self.tiers: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self._endpoints, self.prices = endpoints, prices
        self._began = time.monotonic()
        self._marks = [(self._began, 0)]
        self._earlier, self._tiers_earlier = TokenCount(), Counter[str]()
        self.latest: deque[TokenCount] = deque(maxlen=LATEST)

    def add_earlier(self, tokens: TokenCount, tiers: Mapping[str, int]) -> None:
        """Add what earlier starts used, as the ledger has it; all callers of one ledger get the same numbers."""
        self._earlier, self._tiers_earlier = tokens, Counter(tiers)
        self.add_tokens(tokens)
        self.tiers.update(tiers)

    def add_answer(self, entry: Entry) -> None:
        """Count an answer of an endpoint."""
        self.answered += 1
        tokens = TokenCount(entry.prompt_tokens, entry.completion_tokens)
        self.add_tokens(tokens)
        self.latest.append(tokens)
        if entry.tier:
            self.tiers[entry.tier] += 1

    def add_tokens(self, tokens: TokenCount) -> None:
        """Count tokens, those of failed requests included."""
        self.spent = self.spent.plus(tokens)

    def add_retry(self, reason: str) -> None:
        """Count a repeated request."""
        self.retries[reason] += 1

    @property
    def spent_since_start(self) -> TokenCount:
        """Return the tokens of this start, without those of earlier ones."""
        return self.spent.minus(self._earlier)

    @property
    def tiers_since_start(self) -> Counter[str]:
        """Return the structured answers of this start by tier, without those of earlier ones."""
        return self.tiers - self._tiers_earlier

    def snapshot(self) -> CountersSnapshot:
        """Return all counters at this moment."""
        now = time.monotonic()  # wall-clock time may jump
        rate = self._rate(now)
        return CountersSnapshot(
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
            money=self.prices.cost(*self.spent),
            rate=rate,
            seconds=now - self._began,
            seconds_left=_seconds_left(self.total, self.answered + self.recorded + self.failed, rate),
            in_flight={endpoint.name: endpoint.in_flight for endpoint in self._endpoints},
            out=tuple(endpoint.name for endpoint in self._endpoints if endpoint.is_out),
        )

    def _rate(self, now: float) -> float:
        """Return answers of endpoints per second; answers from the ledger would make a resumed run look fast."""
        # Called as often as somebody looks, so marks are set by time and not by call.
        if now - self._marks[-1][0] > _MARK_SECONDS:
            self._marks = [*self._marks[-_MARKS:], (now, self.answered)]
        then, answered = self._marks[0]
        return (self.answered - answered) / (now - then) if now > then else 0.0


def snapshot_of_run(counters: Sequence[Counters]) -> CountersSnapshot:
    """Return the counters of all callers of one run and ledger as one; what they share (earlier starts) counts once."""
    shots = [each.snapshot() for each in counters]
    # The first one's numbers include earlier starts; of the others, only what they add.
    spent, tiers, money = counters[0].spent, Counter(shots[0].tiers), shots[0].money
    for other in counters[1:]:
        spent = spent.plus(other.spent_since_start)
        tiers.update(other.tiers_since_start)
        money += other.prices.cost(*other.spent_since_start)
    totals = [shot.total for shot in shots if shot.total is not None]
    total, rate = (sum(totals) if totals else None), sum(shot.rate for shot in shots)
    return CountersSnapshot(
        model=shots[0].model,
        total=total,
        answered=sum(shot.answered for shot in shots),
        recorded=sum(shot.recorded for shot in shots),
        failed=sum(shot.failed for shot in shots),
        unusable=tiers["failed"],
        tiers=dict(tiers),
        retries=_summed(shot.retries for shot in shots),
        prompt_tokens=spent.prompt,
        completion_tokens=spent.completion,
        money=money,
        rate=rate,
        seconds=max(shot.seconds for shot in shots),
        seconds_left=_seconds_left(total, sum(shot.done for shot in shots), rate),
        in_flight=_summed(shot.in_flight for shot in shots),
        # Two callers may share an endpoint: its name stands once.
        out=tuple(dict.fromkeys(name for shot in shots for name in shot.out)),
    )


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for count in counts:
        total.update(count)
    return dict(total)


def _seconds_left(total: int | None, done: int, rate: float) -> float | None:
    return None if total is None or not rate else max(0.0, (total - done) / rate)
