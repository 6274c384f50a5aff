"""Test doubles in place of a backend: an Actor that plays given replies and records its calls; helpers of chat tests."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence

from her.backends.base import Backend, Completion, Delta, Description, Usage, join_deltas
from her.characters.coser import Book, BookScene
from her.chat.generation import RunningGeneration
from her.chat.service import ChatLimits, ChatService
from her.chat.views import ChatView, GenerationSnapshot
from her.store import Store
from her.tokens import estimate_tokens
from her.types import CastMember, Message, Part, Persona, Sampling, Scenario, Turn

Step = str | Delta | Exception | asyncio.Event
PLAN = "<system_thinking>Mara tests the visitor.</system_thinking>"
ANNE = hashlib.sha256(b"anne").hexdigest()
BERT = hashlib.sha256(b"bert").hexdigest()
MARA = Persona(
    id="mara",
    name="Mara",
    source="a test",
    profile="Keeps a lighthouse.",
    colour="#334455",
    greetings=("(opens the door) Come in, {visitor}. [Wet.]", "{place} is closed."),
)
STORM = Scenario(id="storm", title="Storm", place="the lighthouse", setting="A storm.", opening="Rain beats the glass.")
BOOK = Book(
    title="Othello",
    scenes=(
        BookScene(
            id="scene",
            book="Othello",
            plot=1,
            conversation=0,
            scenario=Scenario(id="venice", title="plot 1: a street", source="Othello", setting="Venice, at night."),
            cast=(CastMember(name="Iago"), CastMember(name="Roderigo"), CastMember(name="Brabantio")),
            turns=(
                Turn(id="b0", speaker="Environment", parts=(Part(kind="speech", text="A street."),)),
                Turn(id="b1", speaker="Roderigo", parts=(Part(kind="speech", text="Never tell me."),)),
                Turn(
                    id="b2",
                    speaker="Iago",
                    parts=(Part(kind="role_thinking", text="Fool."), Part(kind="speech", text="'Sblood.")),
                ),
                Turn(id="b3", speaker="Brabantio", parts=(Part(kind="speech", text="What is the matter there?"),)),
            ),
        ),
    ),
)


class Actor:
    """A backend that plays `replies` in order and repeats the last one.

    A reply is a list of steps: text, a complete Delta, an exception to raise, or an event to wait for. Without a finish reason in
    a step, the reply ends with `stop` and a usage.

    Attributes:
        sent: messages of every call.
        samplings: sampling of every call.
        left: number of streams that were closed before their end.
        closed: number of calls of `close`.
    """

    def __init__(self, *replies: Sequence[Step], context: int = 8192, spec: str = "actor:", scripted: bool = False) -> None:
        self.replies = list(replies) or [["Mara: Well."]]
        self.context, self.spec, self.scripted = context, spec, scripted
        self.sent: list[tuple[Message, ...]] = []
        self.samplings: list[Sampling] = []
        self.left = 0
        self.closed = 0

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        self.sent.append(tuple(messages))
        self.samplings.append(sampling)
        steps = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        has_finish = is_complete = False
        try:
            for step in steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    is_complete = True
                    raise step
                else:
                    delta = Delta(text=step) if isinstance(step, str) else step
                    has_finish = has_finish or delta.finish is not None
                    yield delta
            if not has_finish:
                yield Delta(finish="stop", usage=Usage(prompt_tokens=7, completion_tokens=len(steps)))
            is_complete = True
        finally:
            self.left += not is_complete

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await join_deltas(self.stream(messages, sampling))

    def describe(self) -> Description:
        return Description(spec=self.spec, model="actor", revision="r1", context=self.context, scripted=self.scripted)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return estimate_tokens(messages)

    async def check(self) -> str:
        return "ready"

    async def close(self) -> None:
        self.closed += 1


def reply(speech: str, plan: str = PLAN) -> list[Step]:
    """Return a reply of Mara without defects, in three pieces."""
    return [plan, "Mara: <role_action>nods</role_action>", speech]


def service(store: Store, backend: Backend, sampling: Sampling | None = None, **limits: float) -> ChatService:
    """Return a service with one persona, one scene and one book."""
    chat_limits = ChatLimits(**limits)  # type: ignore[arg-type]
    return ChatService(store, backend, {"mara": MARA}, {"storm": STORM}, (BOOK,), limits=chat_limits, sampling=sampling)


async def opened(chats: ChatService, visitor: str = ANNE) -> ChatView:
    """Start a chat with Mara in the storm: opening, greeting."""
    return await chats.start(visitor, persona="mara", scene="storm", name="Anne")


async def said(chats: ChatService, chat: str, text: str = "Hello.", visitor: str = ANNE) -> ChatView:
    """Send a message, wait for the answer and return the chat."""
    await ended(await chats.send(visitor, chat, text))
    return await chats.view(visitor, chat)


async def ended(live: RunningGeneration) -> GenerationSnapshot:
    """Wait for the last snapshot; after 10 seconds the test fails, so that it cannot block the run."""
    return await asyncio.wait_for(live.wait(), 10)


async def shown(live: RunningGeneration, text: str) -> GenerationSnapshot:
    """Wait for the first snapshot that shows this text."""

    async def look() -> GenerationSnapshot:
        async for snapshot in live.follow():
            if any(text in part.text for part in snapshot.parts):
                return snapshot
        raise AssertionError(f"{text!r} was never shown")

    return await asyncio.wait_for(look(), 10)


async def followed(chats: ChatService, chat: str, visitor: str = ANNE) -> list[GenerationSnapshot]:
    """Return every snapshot until the end."""

    async def collect() -> list[GenerationSnapshot]:
        return [snapshot async for snapshot in chats.follow(visitor, chat)]

    return await asyncio.wait_for(collect(), 10)


def texts(view: ChatView) -> list[str]:
    """Return the text of each shown turn, without plans."""
    return [shown_turn.turn.text("role_thinking", "role_action", "speech") for shown_turn in view.turns]


async def assert_unchanged(chats: ChatService, chat: ChatView, last: GenerationSnapshot, text: str = "Hello.") -> None:
    """Assert that a failed generation left nothing behind: its last snapshot has one sentence and gives `text` back."""
    assert (last.state, last.give_back, last.node, last.parts) == ("failed", text, None, ())
    assert last.error and "\n" not in last.error and len(last.error) < 400
    assert await chats.view(ANNE, chat.id) == chat and chats.running(chat.id) is None
