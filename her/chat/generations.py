"""The running generations of one service: at most one a chat, each from the model's call to the commit of its reply.

A generation is a task of the event loop; it continues when its followers leave. A failed one leaves the chat unchanged.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from her.backends.base import Backend
from her.chat.ceilings import ADDRESS, Places
from her.chat.generation import RunningGeneration, StoppedEarly, reason_of
from her.chat.jobs import ChatLimits, ReplyJob
from her.chat.running_pair import PairJob, RunningPair
from her.chat.sentences import visitor_sentence
from her.chat.views import LiveState
from her.errors import BackendError, HerError, InputError
from her.store import Origin, Store
from her.types import Turn

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
STORE_THREADS = 16
ENDED_SECONDS = 10
"""Seconds that the last snapshot is kept for a page that was being reloaded when the generation ended."""
NEITHER = "neither of two replies came; the chat is unchanged, ask again"
UNEXPECTED = "an unexpected error ended the reply; the chat is unchanged, ask again"


class RunningGenerations:
    """The running generations of one service; it belongs to one event loop.

    Args:
        store: where turns are stored.
        limits: how many generations a visitor may run, and how long one may take.
        released: called with the backend of each generation that has ended.
    """

    def __init__(self, store: Store, limits: ChatLimits, released: Callable[[Backend], Awaitable[None]]) -> None:
        self.store, self.limits = store, limits
        self._released = released
        self._changing: set[str] = set()
        self._running: dict[str, RunningGeneration] = {}
        self._give_back: dict[str, list[Callable[[], None]]] = {}
        self._ended: dict[str, RunningGeneration] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limiter: CapacityLimiter | None = None
        self._places = Places(
            limits.max_live_per_visitor,
            limits.max_live_per_address,
            limits.max_live,
            "{count} replies are being written for you in other chats; wait for one of them or stop it",
        )

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in a thread, at most STORE_THREADS at a time."""
        if self._limiter is None:  # made here and not in __init__, because it belongs to the running event loop
            self._limiter = CapacityLimiter(STORE_THREADS)
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._limiter)

    def running(self, chat: str) -> RunningGeneration | None:
        """Return the generation that runs in this chat."""
        return self._running.get(chat)

    def running_or_ended(self, chat: str) -> RunningGeneration | None:
        """Return the generation that runs in this chat, or one that ended at most ENDED_SECONDS ago."""
        return self._running.get(chat) or self._ended.get(chat)

    def uses(self, backend: Backend) -> bool:
        """Tell whether a running generation needs this backend."""
        return any(backend is used for generation in self._running.values() for used in generation.backends)

    @asynccontextmanager
    async def exclusive(self, visitor: str, chat: str) -> AsyncIterator[None]:
        """Hold the only right to change this chat's tree; InputError when it is taken."""
        if chat in self._running or chat in self._changing:
            # Raises NotFound first, so that a stranger cannot learn from the sentence below that the chat exists.
            await self.in_thread(self.store.conversation, visitor, chat)
            raise InputError("a reply is being written in this chat; wait for it or stop it first")
        self._changing.add(chat)
        try:
            yield
        finally:
            self._changing.discard(chat)

    async def start(self, visitor: str, chat: str, build_job: Callable[[], ReplyJob | PairJob]) -> RunningGeneration:
        """Call the model and return once the visitor's turn is on disk. A comparison takes two places, or is none.

        The call begins before the commit, because its first token takes longer. When the commit fails, the call is cancelled
        and the error of the commit is raised.
        """
        async with self.exclusive(visitor, chat):
            places = [self._places.take(visitor, ADDRESS.get())]  # before the first await, or a crowd comes through
            try:
                job = await self.in_thread(build_job)
                if isinstance(job, PairJob):
                    places += self._second_place(visitor)
                generation = _running(job, len(places))
            except BaseException:
                for give_back in places:
                    give_back()
                raise
            self._running[chat], self._give_back[chat] = generation, places
            self._ended.pop(chat, None)
            generation.begin()
        task = asyncio.create_task(self._play(generation), name=f"reply {chat}")
        self._tasks.add(task)  # the event loop holds only a weak reference to a task
        task.add_done_callback(self._tasks.discard)
        await generation.committed.wait()
        if generation.refused is not None:
            await generation.wait()
            raise generation.refused
        return generation

    async def aclose(self) -> None:
        """Stop every generation, keep its text, and wait until it is on disk."""
        for generation in list(self._running.values()):
            generation.stop()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _play(self, generation: RunningGeneration) -> None:
        """Run one generation to its commit; in every case its followers get a last snapshot."""
        try:
            await self._commit_question(generation)
            if isinstance(generation, RunningPair):
                await self._finish_pair(generation)
            else:
                await self._finish(generation)
        except Exception as error:
            await self._undo(generation, error)
        finally:
            self._close(generation)
            if generation.running:  # this task was cancelled: the event loop is being closed
                generation.end("failed", error=UNEXPECTED)
        for backend in generation.backends:
            await self._released(backend)

    async def _finish(self, generation: RunningGeneration) -> None:
        await generation.finished(self.limits.max_reply_seconds)
        turn = generation.turn()
        await self._commit_reply(generation, turn)
        self._close(generation)
        generation.end("stopped" if generation.stopping else "done", turn)

    async def _finish_pair(self, pair: RunningPair) -> None:
        """Store both replies and the ballot on them; where one is not whole, the other is the turn and there is no ballot."""
        job = pair.job
        if sides := await pair.ended(self.limits.max_reply_seconds):
            await self.in_thread(self.store.add_pair, job.visitor, job.chat, job.parent_id, sides)
            self._close(pair)
            pair.end_as_pair()
            return
        kept, turn = pair.remaining()
        for record in pair.others(kept):
            await self.in_thread(self.store.record_failure, job.visitor, record)
        await self._commit_reply(kept, turn)
        self._close(pair)
        pair.end("stopped" if kept.stopping else "done", turn)

    def _second_place(self, visitor: str) -> list[Callable[[], None]]:
        """Take the place of the second reply of a comparison; empty when there is none left."""
        try:
            return [self._places.take(visitor, ADDRESS.get())]
        except InputError:
            return []

    async def _commit_question(self, generation: RunningGeneration) -> None:
        job = generation.job
        origin: Origin = "edit" if job.edit_of else "visitor"
        try:
            if job.question is not None:
                place = (job.visitor, job.chat, job.question_parent, job.question, origin)
                await self.in_thread(self.store.add_turn, *place, edit_of=job.edit_of, move_head=False)
        except Exception as error:
            generation.refused = error
            raise
        finally:
            generation.committed.set()

    async def _commit_reply(self, generation: RunningGeneration, turn: Turn) -> None:
        job = generation.job
        place = (job.visitor, job.chat, job.parent_id, turn, job.origin)
        edit_of, rewritten = (job.replaces, job.steer.rewritten) if job.steer else (None, None)
        call = generation.record()
        await self.in_thread(self.store.add_turn, *place, generation=call, edit_of=edit_of, rewritten=rewritten)

    async def _undo(self, generation: RunningGeneration, error: Exception) -> None:
        """Restore the chat: record the failed call, delete the unanswered question, publish the reason."""
        await generation.close_stream()
        if not isinstance(error, HerError):
            log.error("a generation in chat %s failed", generation.chat, exc_info=error)
        elif not isinstance(error, (StoppedEarly, InputError)):
            log.warning("a reply in chat %s failed: %s", generation.chat, error)
        if generation.refused is None:
            try:
                await self.in_thread(self._record_failure, generation, error)
            except Exception:
                log.exception("a failed generation in chat %s could not be recorded", generation.chat)
        self._close(generation)
        state: LiveState = "stopped" if isinstance(error, StoppedEarly) else "failed"
        if isinstance(generation, RunningPair) and isinstance(error, BackendError):
            error = BackendError(NEITHER, error.reason)  # what a server says may name its model
        sentence = visitor_sentence(error, generation.job.backend.describe().spec) if isinstance(error, HerError) else UNEXPECTED
        generation.end(state, error=sentence, reason=reason_of(error))

    def _record_failure(self, generation: RunningGeneration, error: Exception) -> None:
        job = generation.job
        try:
            for record in generation.failures(error):
                self.store.record_failure(job.visitor, record)
        finally:
            if job.question is not None:
                self.store.delete_turn(job.visitor, job.chat, job.question.id)

    def _close(self, generation: RunningGeneration) -> None:
        """Let the chat be changed again; the last snapshot stays available for ENDED_SECONDS."""
        if self._running.get(generation.chat) is generation:
            del self._running[generation.chat]
            for give_back in self._give_back.pop(generation.chat):
                give_back()
            self._ended[generation.chat] = generation
            asyncio.get_running_loop().call_later(ENDED_SECONDS, self._forget, generation)

    def _forget(self, generation: RunningGeneration) -> None:
        if self._ended.get(generation.chat) is generation:
            del self._ended[generation.chat]


def _running(job: ReplyJob | PairJob, places: int) -> RunningGeneration:
    """Return the generation of a job; of a comparison without two places, the reply of one side."""
    if isinstance(job, PairJob):
        return RunningPair(job) if places > 1 else RunningGeneration(job.honest)
    return RunningGeneration(job)
