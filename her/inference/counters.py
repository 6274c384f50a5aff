"""What a run has done so far: counts, tokens, money, rate, time left; read by progress, reports and budgets."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from her.inference.budget import Prices, Tokens
from her.inference.endpoints import Endpoint
from her.types import Value

if TYPE_CHECKING:
    from her.store.ledger import Entry

LATEST = 1_000
"""Answers whose tokens are kept one by one, for a forecast."""


class CountersSnapshot(Value):
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
        self._endpoints, self.prices = endpoints, prices
        self._began = time.monotonic()
        self._marks = [(self._began, 0)]
        self._before, self._tiers_before = Tokens(), Counter[str]()
        self.latest: deque[Tokens] = deque(maxlen=LATEST)

    def earlier(self, tokens: Tokens, tiers: Mapping[str, int]) -> None:
        """What earlier times took, as the ledger has it; callers of one ledger are all told the same."""
        self._before, self._tiers_before = tokens, Counter(tiers)
        self.took(tokens)
        self.tiers.update(tiers)

    def fresh(self, entry: "Entry") -> None:
        """An answer came from an endpoint."""
        self.answered += 1
        tokens = Tokens(entry.prompt_tokens, entry.completion_tokens)
        self.took(tokens)
        self.latest.append(tokens)
        if entry.tier:
            self.tiers[entry.tier] += 1

    def took(self, tokens: Tokens) -> None:
        """Tokens were taken, whatever for."""
        self.spent = self.spent.plus(tokens)

    @property
    def since(self) -> Tokens:
        """Tokens that were taken now, without those of earlier times."""
        return Tokens(self.spent.prompt - self._before.prompt, self.spent.completion - self._before.completion)

    @property
    def tiers_since(self) -> Counter[str]:
        """Structured answers of now by tier, without those of earlier times."""
        return self.tiers - self._tiers_before

    def retried(self, reason: str) -> None:
        """A request is made again."""
        self.retries[reason] += 1

    def snapshot(self) -> CountersSnapshot:
        """Everything at this moment."""
        now, done = time.monotonic(), self.answered + self.recorded + self.failed
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
            money=self.prices.of(*self.spent),
            rate=rate,
            seconds=now - self._began,
            seconds_left=_left(self.total, done, rate),
            in_flight={endpoint.name: endpoint.in_flight for endpoint in self._endpoints},
            out=tuple(endpoint.name for endpoint in self._endpoints if endpoint.out),
        )

    def _rate(self, now: float) -> float:
        """Answers of endpoints a second, over the last half minute or so."""
        if now - self._marks[-1][0] > 1:
            self._marks = [*self._marks[-30:], (now, self.answered)]
        then, answered = self._marks[0]
        return (self.answered - answered) / (now - then) if now > then else 0.0


def snapshot_of(tallies: Sequence[Tally]) -> CountersSnapshot:
    """The callers of one run and ledger as one: what they share, such as earlier times, counts once."""
    shots = [tally.snapshot() for tally in tallies]
    spent, tiers, money = tallies[0].spent, Counter(shots[0].tiers), shots[0].money
    for tally in tallies[1:]:
        spent = spent.plus(tally.since)
        tiers.update(tally.tiers_since)
        money += tally.prices.of(*tally.since)
    answered, recorded, failed = (sum(getattr(shot, name) for shot in shots) for name in ("answered", "recorded", "failed"))
    totals = [shot.total for shot in shots if shot.total is not None]
    total, rate = (sum(totals) if totals else None), sum(shot.rate for shot in shots)
    return CountersSnapshot(
        model=shots[0].model,
        total=total,
        answered=answered,
        recorded=recorded,
        failed=failed,
        unusable=tiers["failed"],
        tiers=dict(tiers),
        retries=_added(shot.retries for shot in shots),
        prompt_tokens=spent.prompt,
        completion_tokens=spent.completion,
        money=money,
        rate=rate,
        seconds=max(shot.seconds for shot in shots),
        seconds_left=_left(total, answered + recorded + failed, rate),
        in_flight=_added(shot.in_flight for shot in shots),
        out=tuple(dict.fromkeys(name for shot in shots for name in shot.out)),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    added = Counter[str]()
    for each in counts:
        added.update(each)
    return dict(added)


def _left(total: int | None, done: int, rate: float) -> float | None:
    return None if total is None or not rate else max(0.0, (total - done) / rate)
