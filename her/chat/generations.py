"""The generations that run now: one a chat, each from the call of the model to the commit, or back to where it began.

A generation is a task of the event loop and goes on when whoever follows it leaves.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from her.backends.base import Backend
from her.chat.generation import Live, Order, StoppedEarly, reason_of
from her.chat.requests import ChatLimits
from her.chat.views import LiveState
from her.errors import HerError, InputError
from her.store import Origin, Store
from her.types import Turn

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
STORE_THREADS = 16
ENDED_SECONDS = 10
"""How long the end of a generation is still told to a page that was just being reloaded."""
UNEXPECTED = "something went wrong here while the reply was being written; the chat is as it was, ask again"


class Running:
    """The running generations of one service; belongs to one event loop.

    Args:
        store: where turns go.
        limits: how many and how long.
        released: told each backend that a generation is done with.
    """

    def __init__(self, store: Store, limits: ChatLimits, released: Callable[[Backend], Awaitable[None]]) -> None:
        self.store, self.limits = store, limits
        self._released = released
        self._changing: set[str] = set()
        self._live: dict[str, Live] = {}
        self._ended: dict[str, Live] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limiter: CapacityLimiter | None = None

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call, at most 16 at a time."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(STORE_THREADS)
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._limiter)

    def live(self, chat: str) -> Live | None:
        """What runs in this chat."""
        return self._live.get(chat)

    def lately(self, chat: str) -> Live | None:
        """What runs in this chat, or ended a moment ago."""
        return self._live.get(chat) or self._ended.get(chat)

    def uses(self, backend: Backend) -> bool:
        """Whether a running generation needs this backend."""
        return any(live.order.backend is backend for live in self._live.values())

    @asynccontextmanager
    async def alone(self, visitor: str, chat: str) -> AsyncIterator[None]:
        """Nobody else changes this chat's tree meanwhile; InputError when somebody does already."""
        if chat in self._live or chat in self._changing:
            await self.in_thread(self.store.conversation, visitor, chat)  # NotFound first: a stranger learns nothing
            raise InputError("a reply is being written in this chat; wait for it or stop it first")
        self._changing.add(chat)
        try:
            yield
        finally:
            self._changing.discard(chat)

    async def start(self, visitor: str, chat: str, ordered: Callable[[], Order]) -> Live:
        """Call the model, and return when the visitor's turn is on disk.

        The call goes out before the commit: it takes longer. Should the commit fail, it is taken back.
        """
        async with self.alone(visitor, chat):
            self._admit(visitor)
            live = Live(await self.in_thread(ordered))
            self._live[chat] = live
            self._ended.pop(chat, None)
            live.begin()
        task = asyncio.create_task(self._play(live), name=f"reply {chat}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await live.committed.wait()
        if live.refused is not None:
            await live.wait()
            raise live.refused
        return live

    async def aclose(self) -> None:
        """Stop everything, keeping what was said, and wait until it is on disk."""
        for live in list(self._live.values()):
            live.stop()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _admit(self, visitor: str) -> None:
        count = sum(live.visitor == visitor for live in self._live.values())
        if count >= self.limits.max_live_per_visitor:
            raise InputError(f"{count} replies are being written for you in other chats; wait for one of them or stop it")

    async def _play(self, live: Live) -> None:
        """One generation from call to commit; whatever happens, its followers hear the end."""
        try:
            await self._commit_question(live)
            await live.finished(self.limits.max_reply_seconds)
            turn = live.turn()
            await self._commit_reply(live, turn)
            self._close(live)
            live.end("stopped" if live.stopping else "done", turn)
        except Exception as error:
            await self._undo(live, error)
        finally:
            self._close(live)
            if live.running:  # the loop is being shut down under us
                live.end("failed", error=UNEXPECTED)
        await self._released(live.order.backend)

    async def _commit_question(self, live: Live) -> None:
        order = live.order
        origin: Origin = "edit" if order.edit_of else "visitor"
        try:
            if order.question is not None:
                place = (order.visitor, order.chat, order.question_parent, order.question, origin)
                await self.in_thread(self.store.add_turn, *place, edit_of=order.edit_of, move_head=False)
        except Exception as error:
            live.refused = error
            raise
        finally:
            live.committed.set()

    async def _commit_reply(self, live: Live, turn: Turn) -> None:
        order, generation = live.order, live.generation()
        place = (order.visitor, order.chat, order.parent_id, turn, order.origin)
        await self.in_thread(self.store.add_turn, *place, generation=generation)

    async def _undo(self, live: Live, error: Exception) -> None:
        """Leave the chat as it was: record the failed call, take the unanswered question away, say why."""
        await live.leave()
        if not isinstance(error, HerError):
            log.error("a generation in chat %s failed", live.chat, exc_info=error)
        if live.refused is None:
            try:
                await self.in_thread(self._take_back, live, error)
            except Exception:
                log.exception("a failed generation in chat %s could not be recorded", live.chat)
        self._close(live)
        state: LiveState = "stopped" if isinstance(error, StoppedEarly) else "failed"
        sentence = str(error) if isinstance(error, HerError) else UNEXPECTED
        live.end(state, error=sentence, reason=reason_of(error))

    def _take_back(self, live: Live, error: Exception) -> None:
        order = live.order
        try:
            self.store.record_failure(order.visitor, live.generation(error))
        finally:
            if order.question is not None:
                self.store.delete_turn(order.visitor, order.chat, order.question.id)

    def _close(self, live: Live) -> None:
        """Make room for the next one; the end stays known for those who are on their way."""
        if self._live.get(live.chat) is live:
            del self._live[live.chat]
            self._ended[live.chat] = live
            asyncio.get_running_loop().call_later(ENDED_SECONDS, self._forget, live)

    def _forget(self, live: Live) -> None:
        if self._ended.get(live.chat) is live:
            del self._ended[live.chat]
