"""One running generation: reads the model's stream, shows snapshots to any number of followers, ends once. No store, no UI."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from her import view
from her.backends.base import Backend, Delta, FinishReason, Usage
from her.chat.pages import Page
from her.chat.views import GenerationSnapshot, LiveState
from her.errors import BackendError, HerError, Reason
from her.format import Parser
from her.store import Finish, Generation, Origin
from her.types import ENVIRONMENT, Part, Sampling, Turn, new_id

SNAPSHOTS_A_SECOND = 8
"""More than this the eye does not use and a browser far away does not take."""
BEAT_SECONDS = 5
"""A follower hears at least this often, so that silence means a lost connection and not a model that thinks."""
CLOSING_SECONDS = 5
"""How long a stopped backend may take to let go of its stream before we go on without it."""


class StoppedEarly(HerError):
    """The visitor stopped before anything was said; the transcript stays as it was."""


@dataclass(frozen=True)
class Order:
    """What is to be generated and where in the chat's tree it goes.

    Args:
        page: the chat as it was when the order was made.
        parent_id: node the reply hangs under; the question's id when there is a question.
        question: the visitor's turn that has yet to be committed, under `question_parent`.
        edit_of: the turn that `question` rewrites.
        text: the visitor's own words, given back when nothing comes of them.
        replaces: node the reply will stand beside.
        base: the turn that is gone on with, and `reasoning` the native reasoning it came with.
    """

    page: Page
    backend: Backend
    sampling: Sampling
    prompt: view.Prompt
    parent_id: str | None
    question: Turn | None = None
    question_parent: str | None = None
    edit_of: str | None = None
    text: str = ""
    replaces: str | None = None
    base: Turn | None = None
    reasoning: str = ""

    @property
    def chat(self) -> str:
        """Id of the chat."""
        return self.page.conversation.id

    @property
    def visitor(self) -> str:
        """Whose chat it is."""
        return self.page.conversation.visitor_id

    @property
    def speaker(self) -> str:
        """Whom the model plays."""
        return self.page.conversation.speaker

    @property
    def origin(self) -> Origin:
        """Origin of the turn that comes of it."""
        return "continue" if self.base else "model"

    def asked(self, question: Turn, parent_id: str | None, edit_of: str | None = None) -> "Order":
        """The same order as the answer to `question`, which has yet to be hung under `parent_id`."""
        return replace(self, question=question, question_parent=parent_id, edit_of=edit_of, text=question.raw)

    def parser(self) -> Parser:
        """A reader for the reply; fed already with what is gone on with."""
        names = [member.name for member in self.page.conversation.cast]
        others = dict.fromkeys([*names, self.page.conversation.visitor_name, ENVIRONMENT])
        parser = Parser(self.speaker, [name for name in others if name and name != self.speaker])
        if self.reasoning:
            parser.feed_reasoning(self.reasoning)
        if self.base:
            parser.feed(self.base.raw)
        return parser


@dataclass
class _Received:
    """What the model has sent so far; times in UTC milliseconds."""

    started_at: int
    first_token_at: int | None = None
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: FinishReason | None = None
    usage: Usage | None = None


class Live:
    """A generation from its first moment to its end. Belongs to one event loop."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pending = new_id()
        self.committed = asyncio.Event()
        """Set when the visitor's turn is on disk, or could not be put there (then `refused`)."""
        self.refused: Exception | None = None
        self.over = asyncio.Event()
        self.stopping = False
        self._parser = order.parser()
        self._received = _Received(started_at=_now())
        self._began = time.monotonic()
        self._reading: asyncio.Task[None] | None = None
        self._version = 0
        self._moved = asyncio.Event()
        self._shown: tuple[int, GenerationSnapshot] | None = None
        self._last: GenerationSnapshot | None = None

    @property
    def chat(self) -> str:
        """Id of the chat."""
        return self.order.chat

    @property
    def visitor(self) -> str:
        """Whose chat it is."""
        return self.order.visitor

    @property
    def running(self) -> bool:
        """Whether more may come."""
        return self._last is None

    @property
    def snapshot(self) -> GenerationSnapshot:
        """As it stands now; the same value until something changes."""
        if self._last is not None:
            return self._last
        if self._shown is None or self._shown[0] != self._version:
            self._shown = (self._version, self._snapshot("running", self._parser.parts, question=self.order.question))
        return self._shown[1]

    async def follow(self) -> AsyncIterator[GenerationSnapshot]:
        """The snapshot of now, then every change (the first words at once, then at most 8 a second), then the end.

        While nothing changes the same snapshot comes again every BEAT_SECONDS.
        """
        while True:
            version, snapshot, at = self._version, self.snapshot, time.monotonic()
            yield snapshot
            if snapshot.state != "running":
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    while self._version == version:
                        await self._moved.wait()
            wait = at + 1 / SNAPSHOTS_A_SECOND - time.monotonic()
            if snapshot.parts and wait > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.over.wait(), wait)

    async def wait(self) -> GenerationSnapshot:
        """The last snapshot, when it is over."""
        await self.over.wait()
        return self.snapshot

    def begin(self) -> None:
        """Call the model now; nothing is awaited."""
        self._reading = asyncio.create_task(self._read(), name=f"read {self.chat}")

    async def finished(self, seconds: float) -> None:
        """Wait for the end of the stream or for `stop`.

        Raises:
            BackendError: the call failed, took more than `seconds`, or ended without an end.
        """
        assert self._reading is not None
        await asyncio.wait({self._reading}, timeout=seconds)
        late = not self._reading.done()
        await self.leave()
        if self.stopping:
            return
        if late:
            raise BackendError(f"the reply took more than {seconds:g} seconds and was ended; ask again", "timeout")
        if self._reading.cancelled():
            raise BackendError("the model's reply was called off on its side; ask again", "broken_stream")
        self._reading.result()
        if self._received.finish is None:
            raise BackendError("the model's reply broke off before its end; ask again", "broken_stream")

    def stop(self) -> None:
        """The visitor has heard enough; what was said so far is kept. Too late once the model has ended."""
        if self._reading is not None and not self._reading.done():
            self.stopping = True
            self._reading.cancel()

    async def leave(self) -> None:
        """Let go of the stream, whatever state it is in."""
        if self._reading is None:
            return
        if not self._reading.done():
            self._reading.cancel()
            await asyncio.wait({self._reading}, timeout=CLOSING_SECONDS)
        if self._reading.done() and not self._reading.cancelled():
            self._reading.exception()  # looked at, else asyncio reports it as forgotten

    def turn(self) -> Turn:
        """The finished turn.

        Raises:
            BackendError: (`empty`) nothing that anybody may see was said.
            StoppedEarly: it was stopped before that.
        """
        before = _visible(self.order.base.parts if self.order.base else ())
        said = not self.stopping or _visible(self._parser.parts) != before  # half a name or tag is not said yet
        turn = self._parser.close(turn_id=self.pending)
        if said and _visible(turn.parts) != before:
            return turn
        if self.stopping:
            raise StoppedEarly("stopped before anything was said; the chat is as it was")
        raise BackendError(self._nothing(turn), "empty")

    def generation(self, error: Exception | None = None) -> Generation:
        """The record of the call as it stands; `error` makes it a failed one, unless the visitor stopped it."""
        got, order = self._received, self.order
        model = order.backend.describe()  # now, since some learn the model's name with their first answer
        failed: Finish = "stopped" if self.stopping else "failed"
        finish: Finish = failed if error or self.stopping else (got.finish or "stop")
        return Generation(
            conversation_id=self.chat,
            parent_id=order.parent_id,
            messages=order.prompt.messages,
            sampling=order.sampling,
            seed=order.sampling.seed,
            spec=model.spec,
            model=model.model,
            revision=model.revision,
            prompt_tokens=got.usage.prompt_tokens if got.usage else None,
            completion_tokens=got.usage.completion_tokens if got.usage else None,
            finish=finish,
            error_reason=reason_of(error),
            error=str(error) if error else "",
            raw="".join(got.text),
            reasoning="".join(got.reasoning),
            started_at=got.started_at,
            first_token_at=got.first_token_at,
            ended_at=_now(),
        )

    def end(self, state: LiveState, turn: Turn | None = None, error: str = "", reason: Reason | None = None) -> None:
        """Say the last word: `turn` is stored, or nothing is and `error` says why."""
        kept = turn is not None
        parts = turn.parts if turn is not None else ()
        self._last = self._snapshot(state, parts, error=error, reason=reason, kept=kept)
        self.over.set()
        self._move()

    async def _read(self) -> None:
        """Read the stream to its end, or until another speaker's line begins."""
        stream = self.order.backend.stream(self.order.prompt.messages, self.order.sampling)
        try:
            async for delta in stream:
                if self._take(delta):
                    break
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    def _take(self, delta: Delta) -> bool:
        """Add a piece; True when the rest is not wanted."""
        got = self._received
        if delta.text or delta.reasoning:
            got.first_token_at = got.first_token_at or _now()
        if delta.reasoning:
            got.reasoning.append(delta.reasoning)
            self._parser.feed_reasoning(delta.reasoning)
        if delta.text:
            got.text.append(delta.text)
            self._parser.feed(delta.text)
        got.finish, got.usage = delta.finish or got.finish, delta.usage or got.usage
        if self._parser.done:
            got.finish = "stop"
        self._move()
        return self._parser.done

    def _move(self) -> None:
        self._version += 1
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _snapshot(
        self,
        state: LiveState,
        parts: tuple[Part, ...],
        *,
        question: Turn | None = None,
        error: str = "",
        reason: Reason | None = None,
        kept: bool = False,
    ) -> GenerationSnapshot:
        got = self._received
        return GenerationSnapshot(
            chat=self.chat,
            state=state,
            language=self.order.page.conversation.language,
            speaker=self.order.speaker,
            parts=parts,
            pending=self.pending,
            question=question,
            replaces=self.order.replaces,
            node=self.pending if kept else None,
            error=error,
            reason=reason,
            give_back="" if kept or state == "running" else self.order.text,
            seconds=time.monotonic() - self._began,
            tokens=got.usage.completion_tokens if got.usage else len(got.text) + len(got.reasoning),
        )

    def _nothing(self, turn: Turn) -> str:
        """Why there is nothing to show, in one sentence."""
        if self.order.base:
            return "the model had nothing to add; the turn is as it was"
        if self._received.finish == "length":
            most = self.order.sampling.max_tokens
            return f"the model used all {most:,} tokens on its reasoning and said nothing; allow it more, or ask again"
        if turn.parts:
            return "the model planned its turn and then said nothing; ask again"
        return "the model ended without saying anything; ask again"


def reason_of(error: Exception | None) -> Reason | None:
    """The reason of a BackendError."""
    return error.reason if isinstance(error, BackendError) else None


def _visible(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.kind != "system_thinking")


def _now() -> int:
    return time.time_ns() // 1_000_000
