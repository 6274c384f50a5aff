"""A running comparison: two replies to one turn at once, which its followers see grow at one pace.

Neither pace nor end of a single side is shown, since they tell which model writes it: of both, only as much is shown as there is
of the shorter one that is still being written. What only one of the two may write is shown of neither.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from her.backends.base import Backend
from her.chat.generation import BEAT_SECONDS, SNAPSHOTS_A_SECOND, RunningGeneration
from her.chat.jobs import ReplyJob
from her.chat.views import GenerationSnapshot, Sides
from her.errors import HerError
from her.format import normalise
from her.kinds import KINDS, Kind
from her.store import Generation, PairSide, ShownArm
from her.types import Part, Turn
from her.view import asked_kinds

log = logging.getLogger(__name__)
CHARACTERS_A_SECOND = 400
"""Fastest pace of a comparison: a reply that is there at once must not look different from one that is written."""
End = Turn | Exception


@dataclass(frozen=True)
class PairJob:
    """Two replies to generate to one turn, in the order in which they are shown, and the arms that write them."""

    sides: tuple[ReplyJob, ReplyJob]
    arms: tuple[ShownArm, ShownArm]

    @property
    def honest(self) -> ReplyJob:
        """Return a reply that is not planted."""
        return self.sides[1] if self.sides[0].planted else self.sides[0]


class RunningPair(RunningGeneration):
    """Two generations as one: it is over when both are.

    Attributes:
        sides: the generations, in the order in which they are shown.
        arms: who writes them.
        ends: how they ended, once both did.
    """

    def __init__(self, job: PairJob) -> None:
        super().__init__(job.honest)
        self.sides = (RunningGeneration(job.sides[0]), RunningGeneration(job.sides[1]))
        self.arms = job.arms
        self.ends: tuple[End, ...] = ()
        self._pace = Lockstep()
        self._kinds = shared_kinds(job.arms)
        self._fallen = False

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Return the backends of both sides."""
        return tuple(side.job.backend for side in self.sides)

    @property
    def snapshot(self) -> GenerationSnapshot:
        """The comparison as it is now."""
        if self._last is not None:
            return self._last.model_copy(update={"fallen": self._fallen})
        shown = [tuple(part for part in side.parts if part.kind in self._kinds) for side in self.sides]
        pair = self._pace.cut((shown[0], shown[1]), (self.sides[0].read, self.sides[1].read))
        return self._snapshot("running", (), question=self.job.question).model_copy(update={"pair": pair})

    async def follow(self) -> AsyncIterator[GenerationSnapshot]:
        """Yield the snapshot of now, then changes, at most SNAPSHOTS_A_SECOND times a second, then the end."""
        shown: Sides | None = None
        shown_at = -float(BEAT_SECONDS)
        while True:
            snapshot = self.snapshot
            if snapshot.state != "running" or snapshot.pair != shown or time.monotonic() - shown_at > BEAT_SECONDS:
                shown, shown_at = snapshot.pair, time.monotonic()
                yield snapshot
            if snapshot.state != "running":
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), 1 / SNAPSHOTS_A_SECOND)

    def begin(self) -> None:
        """Start both calls."""
        for side in self.sides:
            side.begin()

    def stop(self) -> None:
        """Stop what is still being written."""
        for side in self.sides:
            side.stop()
        self.stopping = any(side.stopping for side in self.sides)

    async def close_stream(self) -> None:
        """Close both streams."""
        await asyncio.gather(*(side.close_stream() for side in self.sides))

    async def ended(self, seconds: float) -> tuple[PairSide, PairSide] | None:
        """Wait until both are over; return the two whole replies, None when there is nothing to compare."""
        first, second = await asyncio.gather(*(_end(side, seconds) for side in self.sides))
        self.ends = (first, second)
        if isinstance(first, Exception) or isinstance(second, Exception) or self.stopping:
            return None
        if normalise(first.parts, first.speaker) == normalise(second.parts, second.speaker):
            return None  # a vote between equal replies says nothing
        return self._side(0, first), self._side(1, second)

    def remaining(self) -> tuple[RunningGeneration, Turn]:
        """Return the reply that becomes the turn where there is no comparison: a whole one if there is one, never a planted one.

        Raises:
            HerError: there is none; the error of the first honest side.
        """
        honest = [(side, end) for side, end in zip(self.sides, self.ends, strict=True) if not side.job.planted]
        made = [(side, end) for side, end in honest if isinstance(end, Turn)]
        if not made:
            raise next(end for _, end in honest if isinstance(end, Exception))
        whole = [one for one in made if not one[0].stopping]
        self._fallen = len(whole) == 1 < len(honest)
        return (whole or made)[0]

    def others(self, kept: RunningGeneration) -> list[Generation]:
        """Return the records of the calls whose replies are not used."""
        sides = zip(self.sides, self.ends, strict=True)
        left = [(side, end) for side, end in sides if side is not kept and not side.job.planted]
        return [side.record(end if isinstance(end, Exception) else None) for side, end in left]

    def failures(self, error: Exception) -> list[Generation]:
        """Return the records of both calls; `error` for a side whose end is not known."""
        ends = self.ends or (error, error)
        sides = [(side, end) for side, end in zip(self.sides, ends, strict=True) if not side.job.planted]
        return [side.record(end if isinstance(end, Exception) else error) for side, end in sides]

    def end_as_pair(self) -> None:
        """Publish the last snapshot: both replies are stored and wait for a vote."""
        self._last = self._snapshot("done", (), stored=True)
        self.over.set()
        self._notify()

    def _side(self, index: int, turn: Turn) -> PairSide:
        side = self.sides[index]
        record = None if side.job.planted else side.record()
        return PairSide(turn=turn, origin=side.job.origin, generation=record, arm=self.arms[index])


class Lockstep:
    """One pace for two texts that grow: of both, the same number of characters is shown."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shown, self._at = 0.0, clock()

    def cut(self, sides: Sides, ended: tuple[bool, bool]) -> Sides:
        """Return the beginnings of both that may be shown now."""
        lengths = [sum(len(part.text) for part in parts) for parts in sides]
        growing = [length for length, is_over in zip(lengths, ended, strict=True) if not is_over]
        limit = min(growing) if growing else max(lengths)
        now = self._clock()
        self._shown, self._at = max(self._shown, min(limit, self._shown + (now - self._at) * CHARACTERS_A_SECOND)), now
        return _beginning(sides[0], int(self._shown)), _beginning(sides[1], int(self._shown))


def shared_kinds(arms: Sequence[ShownArm] | None) -> tuple[Kind, ...]:
    """Return the kinds that every arm is asked for: a layer that one of them lacks would tell which it is."""
    return tuple(kind for kind in KINDS if all(kind in asked_kinds(arm.thinking) for arm in arms or ()))


def _beginning(parts: Sequence[Part], count: int) -> tuple[Part, ...]:
    """Return the first `count` characters of the parts."""
    kept: list[Part] = []
    for part in parts:
        if count <= 0:
            break
        kept.append(part if len(part.text) <= count else part.model_copy(update={"text": part.text[:count]}))
        count -= len(part.text)
    return tuple(kept)


async def _end(side: RunningGeneration, seconds: float) -> End:
    """Return the turn of a side, or why there is none; the stream is closed."""
    try:
        await side.finished(seconds)
        return _without_expected(side.turn(), side.job)
    except Exception as error:
        if not isinstance(error, HerError):
            log.exception("one side of a comparison in chat %s failed", side.chat)
        await side.close_stream()
        return error


def _without_expected(turn: Turn, job: ReplyJob) -> Turn:
    """Return the turn without the defect that a reply without plan has when none was asked for."""
    if job.thinking == "full":
        return turn
    return turn.model_copy(update={"defects": tuple(defect for defect in turn.defects if defect.name != "plan_missing")})
