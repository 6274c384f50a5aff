"""Ceilings of what one visitor, one address and all together may hold or do, taken before anything is awaited.

A check that awaits before it counts lets through whatever arrives in between. So a place is taken in one step and given back at
the end; who comes after the last place is refused at once.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from her.errors import InputError

ADDRESS: ContextVar[str] = ContextVar("ADDRESS", default="")
"""Address of the client whose request is being served; empty where there is none, as in tests and on the command line."""
MOST_KEYS = 10_000
"""Keys that a pace remembers; those that were used least lately are forgotten first."""


class Places:
    """Places for things that are held for a while, such as a running reply.

    Args:
        per_visitor: most places of one visitor.
        per_address: most places of all visitors of one address.
        all_together: most places of all.
        sentence: refusal of a visitor who holds too many; `{count}` is how many.
    """

    def __init__(self, per_visitor: int, per_address: int, all_together: int, sentence: str) -> None:
        self._most = (per_visitor, per_address, all_together)
        self._sentence = sentence
        self._held: Counter[str] = Counter()

    def take(self, visitor: str, address: str) -> Callable[[], None]:
        """Take a place; return the function that gives it back, which may be called again without effect.

        Raises:
            InputError: there is no place left for this visitor, this address, or anybody.
        """
        keys = (f"visitor {visitor}", f"address {address}", "all")
        sentences = (
            self._sentence.format(count=self._held[keys[0]]),
            "too much is going on from your network address; wait a little and try again",
            "this playground is full; wait a little and try again",
        )
        for key, most, sentence in zip(keys, self._most, sentences, strict=True):
            if self._held[key] >= most and not (key == "address " and not address):
                raise InputError(sentence)
        self._held.update(keys)
        left = [keys]

        def give_back() -> None:
            for held in left:
                self._held.subtract(held)
                for key in held:
                    if not self._held[key]:
                        del self._held[key]
            left.clear()

        return give_back

    @contextmanager
    def held(self, visitor: str, address: str) -> Iterator[None]:
        """Hold a place while the block runs; raises as `take`."""
        give_back = self.take(visitor, address)
        try:
            yield
        finally:
            give_back()


class Pace:
    """Pace of acts by key: a number at once, then one in so many seconds (token bucket).

    Args:
        at_once: acts without a pause.
        seconds: in which one more is allowed.
        sentence: the refusal.
    """

    def __init__(self, at_once: int, seconds: float, sentence: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._seconds, self._sentence, self._clock = at_once, seconds, sentence, clock
        self._free_at: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str) -> None:
        """Count one act of this key; an empty key is not counted.

        Raises:
            InputError: it came too soon.
        """
        if not key:
            return
        now = self._clock()
        free_at = max(self._free_at.pop(key, now), now) + self._seconds
        if free_at - now > self._at_once * self._seconds:
            self._free_at[key] = free_at - self._seconds
            raise InputError(self._sentence)
        self._free_at[key] = free_at
        while len(self._free_at) > MOST_KEYS:
            self._free_at.popitem(last=False)
