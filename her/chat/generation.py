"""One running generation: it reads the model's stream, shows snapshots to its followers, and ends once. No store, no UI."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import replace

from her.backends.base import Backend, Delta
from her.chat.continuation import Continuation, without_plan
from her.chat.jobs import ReplyJob
from her.chat.received import Received, now, without_last
from her.chat.steering import resumed
from her.chat.views import GenerationSnapshot, LiveState
from her.errors import BackendError, HerError, Reason, TooLong
from her.store import Finish, Generation
from her.types import Part, Turn, new_id

log = logging.getLogger(__name__)
SNAPSHOTS_A_SECOND = 8
"""Highest rate of snapshots; a reader sees no difference above it, and a slow connection cannot take more."""
BEAT_SECONDS = 5
"""Longest pause between two snapshots, so that the page can tell a lost connection from a model that thinks."""
CLOSING_SECONDS = 5
"""Time that a stopped backend has to close its stream; after that it is left behind."""


class StoppedEarly(HerError):
    """The visitor stopped the generation before there was anything to show; the transcript is unchanged."""


class RunningGeneration:
    """A generation from its first moment to its end. It belongs to one event loop.

    Attributes:
        job: what is generated.
        pending: id under which the reply is shown, and later stored.
        committed: set when the visitor's turn is on disk, or could not be stored (then `refused` has the error).
        refused: why the visitor's turn could not be stored.
        over: set when the last snapshot is ready.
        stopping: True once the visitor has stopped it.
    """

    def __init__(self, job: ReplyJob) -> None:
        self.job = job
        self.pending = new_id()
        self.committed = asyncio.Event()
        self.refused: Exception | None = None
        self.over = asyncio.Event()
        self.stopping = False
        self._parser = job.parser()
        self._continuation = Continuation(job.base, job.fresh_parser()) if job.base else None
        self._asked_again = False
        self._notice = ""
        self._received = Received(started_at=now())
        self._began = time.monotonic()
        self._reading: asyncio.Task[None] | None = None
        self._version = 0
        self._changed = asyncio.Event()
        self._shown: tuple[int, GenerationSnapshot] | None = None
        self._last: GenerationSnapshot | None = None

    @property
    def chat(self) -> str:
        """Id of the chat."""
        return self.job.chat

    @property
    def visitor(self) -> str:
        """Id of the visitor who owns the chat."""
        return self.job.visitor

    @property
    def running(self) -> bool:
        """True until the last snapshot is ready."""
        return self._last is None

    @property
    def snapshot(self) -> GenerationSnapshot:
        """The generation as it is now; the same value until something changes."""
        if self._last is not None:
            return self._last
        if self._shown is None or self._shown[0] != self._version:
            self._shown = (self._version, self._snapshot("running", self._parts, question=self.job.question))
        return self._shown[1]

    async def follow(self) -> AsyncIterator[GenerationSnapshot]:
        """Yield the snapshot of now, then every change, then the end.

        The first words come at once, later changes at most SNAPSHOTS_A_SECOND times a second. Without a change the same
        snapshot is repeated every BEAT_SECONDS.
        """
        while True:
            version, snapshot, shown_at = self._version, self.snapshot, time.monotonic()
            yield snapshot
            if snapshot.state != "running":
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    while self._version == version:
                        await self._changed.wait()
            wait = shown_at + 1 / SNAPSHOTS_A_SECOND - time.monotonic()
            # Without parts nothing was shown yet, so the first words are not held back.
            if snapshot.parts and wait > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), wait)

    async def wait(self) -> GenerationSnapshot:
        """Wait for the end and return the last snapshot."""
        await self.over.wait()
        return self.snapshot

    def begin(self) -> None:
        """Start the call of the model; returns at once."""
        self._reading = asyncio.create_task(self._read(), name=f"read {self.chat}")

    async def finished(self, seconds: float) -> None:
        """Wait for the end of the stream or for `stop`.

        Raises:
            BackendError: the call failed, took more than `seconds`, or its stream ended without a finish reason.
        """
        assert self._reading is not None
        await asyncio.wait({self._reading}, timeout=seconds)
        is_late = not self._reading.done()
        await self.close_stream()
        if self.stopping:
            return
        if is_late:
            raise BackendError(f"the reply took more than {seconds:g} seconds and was ended; ask again", "timeout")
        if self._reading.cancelled():
            raise BackendError("the server cancelled the model's reply; ask again", "broken_stream")
        self._reading.result()
        if self._received.finish is None:
            raise BackendError("the model's reply broke off before its end; ask again", "broken_stream")

    def stop(self) -> None:
        """Stop the stream and keep its text; without effect once the stream has ended."""
        if self._reading is not None and not self._reading.done():
            self.stopping = True
            self._reading.cancel()

    @property
    def read(self) -> bool:
        """Tell whether the stream has ended."""
        return self._reading is not None and self._reading.done()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return what may be shown of the reply now."""
        return self._parser.parts

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Return the backends that it needs."""
        return (self.job.backend,)

    def failures(self, error: Exception) -> list[Generation]:
        """Return the records of its calls when it made no turn."""
        return [self.record(error)]

    async def close_stream(self) -> None:
        """Cancel the reading of the stream, whatever its state, and wait at most CLOSING_SECONDS."""
        if self._reading is None:
            return
        if not self._reading.done():
            self._reading.cancel()
            await asyncio.wait({self._reading}, timeout=CLOSING_SECONDS)
        if self._reading.done() and not self._reading.cancelled():
            self._reading.exception()  # asyncio logs an exception that nobody has looked at

    def turn(self) -> Turn:
        """Return the finished turn.

        Raises:
            BackendError: (`empty`) there is nothing in it to show, or a continuation added nothing.
            StoppedEarly: the visitor stopped it before that.
        """
        before = without_plan(self.job.base.parts if self.job.base else ())
        if self.job.steer is not None:
            return self._steered_turn(before)
        # `close` turns half a name or half a tag into text; in a stopped reply that is not something the model said.
        has_text = not self.stopping or without_plan(self._parser.parts) != before
        turn = self._parser.close(turn_id=self.pending)
        if self._repeats(turn, before):
            raise BackendError(self._reason_for_nothing(turn), "empty")
        if has_text and without_plan(turn.parts) != before:
            return turn
        if self._continuation is not None and self._continuation.way == "anew" and not self.stopping:
            self._notice = self._reason_for_nothing(turn)  # the same turn again: it was finished
            return turn
        if self.stopping:
            raise StoppedEarly("stopped before anything was said; the chat is unchanged")
        raise BackendError(self._reason_for_nothing(turn), "empty")

    @property
    def _parts(self) -> tuple[Part, ...]:
        """Parts that may be shown of the reply now."""
        parts = self._parser.parts
        if not self._asked_again or self.job.base is None:
            return parts
        return resumed(self.job.base, self.job.base.model_copy(update={"parts": parts})).parts

    def _steered_turn(self, before: tuple[Part, ...]) -> Turn:
        """Return the finished turn behind a rewritten plan or thought; raises as `turn`."""
        assert self.job.base is not None
        said_more = not self.stopping or without_plan(self._parts) != before
        turn = self._parser.close(turn_id=self.pending)
        if self._asked_again:
            turn = resumed(self.job.base, turn)
        if said_more and without_plan(turn.parts) != before and turn.spoken:
            return turn
        if self.stopping:
            raise StoppedEarly("stopped before anything was said; the chat is unchanged")
        raise BackendError("the model said nothing after what you rewrote; the chat is unchanged, try again", "empty")

    def _repeats(self, turn: Turn, before: tuple[Part, ...]) -> bool:
        """Return whether a turn that was begun anew says only the beginning of the old one."""
        if self._continuation is None or self._continuation.way != "anew":
            return False
        old, new = (" ".join(part.text for part in parts) for parts in (before, without_plan(turn.parts)))
        return old != new and old.startswith(new)

    def record(self, error: Exception | None = None) -> Generation:
        """Return the stored form of the call as it is now; with `error` a failed one, unless the visitor stopped it."""
        received, job = self._received, self.job
        # Asked for now: some backends learn the model's name with the first answer.
        model = job.backend.describe()
        ended: Finish = "stopped" if self.stopping else "failed" if error else received.finish or "stop"
        return Generation(
            conversation_id=self.chat,
            parent_id=job.parent_id,
            messages=job.prompt.messages,
            sampling=job.sampling,
            seed=job.sampling.seed,
            spec=model.spec,
            model=received.model or model.model,
            revision=model.revision,
            prompt_tokens=received.usage.prompt_tokens if received.usage else None,
            completion_tokens=received.usage.completion_tokens if received.usage else None,
            finish=ended,
            error_reason=reason_of(error),
            error=str(error) if error else "",
            raw=without_last("".join(received.text), self._parser.surplus),
            reasoning="".join(received.reasoning),
            started_at=received.started_at,
            first_token_at=received.first_token_at,
            ended_at=now(),
        )

    def end(self, state: LiveState, turn: Turn | None = None, error: str = "", reason: Reason | None = None) -> None:
        """Publish the last snapshot: `turn` is stored, or nothing is and `error` says why."""
        parts = turn.parts if turn is not None else ()
        self._last = self._snapshot(state, parts, error=error, reason=reason, stored=turn is not None)
        self.over.set()
        self._notify()

    async def _read(self) -> None:
        """Read the answer. A prompt that the server found too long is cut by what it said, and sent once more."""
        try:
            await self._read_stream()
        except TooLong as error:
            if self._received.first_token_at is not None or not await self._shorten(error):
                raise
            await self._read_stream()
        if self._passes_over:
            await self._ask_to_go_on()

    async def _ask_to_go_on(self) -> None:
        """Ask once more, in words: the server passed over the rewritten beginning and began a turn of its own."""
        job = self.job
        log.info("chat %s: the server began anew instead of going on; it is asked in words", self.chat)
        self.job = replace(job, prompt=job.prompt_in_words())
        self._received = Received(started_at=self._received.started_at)
        self._continuation, self._parser, self._asked_again = None, job.fresh_parser(), True
        await self._read_stream()

    async def _shorten(self, error: TooLong) -> bool:
        """Make the prompt anew; return whether it is shorter, or its answer."""
        job = self.job
        if job.again is None:
            return False
        prompt, sampling = await asyncio.to_thread(job.again)
        before = (len(job.prompt.dropped), -job.sampling.max_tokens)
        if (len(prompt.dropped), -sampling.max_tokens) <= before:
            return False
        sampling = job.sampling.model_copy(update={"max_tokens": sampling.max_tokens})  # the seed stays
        self.job = replace(job, prompt=prompt, sampling=sampling)
        if prompt.dropped:
            limit = f"holds {error.context:,} tokens" if error.context else "is full"
            turns = "oldest turn was" if len(prompt.dropped) == 1 else f"{len(prompt.dropped)} oldest turns were"
            self._notice = f"the model's context {limit}: the {turns} left out of what it was sent"
        log.info("chat %s: the prompt was too long; %d turns were cut", self.chat, len(prompt.dropped))
        return True

    async def _read_stream(self) -> None:
        stream = self.job.backend.stream(self.job.prompt.messages, self.job.sampling)
        try:
            async for delta in stream:
                if self._take(delta):
                    break
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
            self._feed("", final=True)

    def _take(self, delta: Delta) -> bool:
        """Add one delta; return True when the rest of the stream is not wanted."""
        received = self._received
        if delta.text or delta.reasoning:
            received.first_token_at = received.first_token_at or now()
        if delta.reasoning:
            received.reasoning.append(delta.reasoning)
            if self.job.steer is None:  # a plan that a person wrote, or left as it is, is not replaced by another
                self._parser.feed_reasoning(delta.reasoning)
        if delta.text:
            received.text.append(delta.text)
            self._feed(delta.text)
        received.finish, received.usage = delta.finish or received.finish, delta.usage or received.usage
        received.model = delta.model or received.model
        if self._parser.done:
            received.finish = "stop"
        self._notify()
        return self._parser.done or self._passes_over

    def _feed(self, text: str, final: bool = False) -> None:
        """Parse text; of a continuation only once it is known whether it begins anew."""
        if self._continuation is not None:
            was_open = self._continuation.way == "open"
            text = self._continuation.close() if final else self._continuation.feed(text)
            if self._passes_over:
                return
            if was_open and self._continuation.way == "anew":
                self._parser = self.job.fresh_parser()
                self._parser.feed_reasoning("".join(self._received.reasoning))
        if text:
            self._parser.feed(text)

    @property
    def _passes_over(self) -> bool:
        """True when the answer passes over a rewritten beginning; it is not shown, and not read to its end."""
        return self.job.steer is not None and self._continuation is not None and self._continuation.way == "anew"

    def _notify(self) -> None:
        """Wake every follower. Each change has an event of its own, so that no follower can miss one by clearing it."""
        self._version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _snapshot(
        self,
        state: LiveState,
        parts: tuple[Part, ...],
        *,
        question: Turn | None = None,
        error: str = "",
        reason: Reason | None = None,
        stored: bool = False,
    ) -> GenerationSnapshot:
        received = self._received
        return GenerationSnapshot(
            chat=self.chat,
            state=state,
            language=self.job.page.conversation.language,
            speaker=self.job.speaker,
            parts=parts,
            pending=self.pending,
            question=question,
            replaces=self.job.replaces,
            node=self.pending if stored else None,
            error=error,
            reason=reason,
            notice=self._notice,
            give_back="" if stored or state == "running" else self.job.text,
            seconds=time.monotonic() - self._began,
            tokens=received.usage.completion_tokens if received.usage else len(received.text) + len(received.reasoning),
        )

    def _reason_for_nothing(self, turn: Turn) -> str:
        """Say in one sentence why there is nothing to show."""
        if self.job.base:
            return "the model had nothing to add; the turn is unchanged"
        if self._received.finish == "length":
            usage = self._received.usage  # what it had: a full context ends an answer before our limit does
            most = usage.completion_tokens if usage and usage.completion_tokens else self.job.sampling.max_tokens
            return f"the model used all {most:,} tokens on its reasoning and said nothing; allow it more, or ask again"
        if turn.parts:
            return "the model planned its turn and then said nothing; ask again"
        return "the model ended without saying anything; ask again"


def reason_of(error: Exception | None) -> Reason | None:
    """Return the reason of a BackendError, None for any other error."""
    return error.reason if isinstance(error, BackendError) else None
