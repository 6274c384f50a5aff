"""The chat service: one turn of a chat from prompt to store, without Gradio.

Model calls run as tasks of the event loop, so a generation goes on when whoever follows it leaves; store calls run in
threads. A visitor's turn is on disk before anybody is told so, and the shown path moves only together with a reply.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from her.backends.base import Backend
from her.characters.coser import Book, BookScene
from her.chat.export import export as export_text
from her.chat.generation import Live, Order
from her.chat.generations import Running
from her.chat.openings import Opening, book_turns, clean_message, clean_title, open_book, open_persona
from her.chat.pages import Page, meter_of, read_meter, read_page, read_view, replayed
from her.chat.requests import ChatLimits, Orders, played_node, rewritten
from her.chat.views import ChatSummary, ChatView, GenerationSnapshot
from her.errors import InputError, NotFound
from her.feedback.rubric import check
from her.store import Rating, Seen, Store
from her.types import Persona, Sampling, Scenario

__all__ = ["ChatLimits", "ChatService", "Live"]
log = logging.getLogger(__name__)
RATED = ("greeting", "model", "edit", "continue")
"""Origins of turns that may be rated."""


class ChatService:
    """All chats of one playground. Methods take the visitor's id first and raise NotFound for what is not theirs."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        personas: Mapping[str, Persona],
        scenes: Mapping[str, Scenario],
        books: Sequence[Book] = (),
        *,
        limits: ChatLimits | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.store = store
        self.personas = personas
        self.scenes = scenes
        self.books = tuple(books)
        self.limits = limits or ChatLimits()
        self.sampling = sampling or Sampling()
        self._backend = backend
        self._connected: dict[str, Backend] = {}
        self._book_scenes: dict[str, BookScene] = {scene.scenario.id: scene for book in self.books for scene in book.scenes}
        self._running = Running(store, self.limits, self._retire)
        self._in_thread = self._running.in_thread

    # Backends

    @property
    def backend(self) -> Backend:
        """The server's backend, for every visitor who has connected none."""
        return self._backend

    def backend_for(self, visitor: str) -> Backend:
        """The backend that continues this visitor's chats."""
        return self._connected.get(visitor, self._backend)

    async def use(self, backend: Backend) -> None:
        """Another backend for the server; generations that are running end on the old one, which is closed after them."""
        old, self._backend = self._backend, backend
        await self._retire(old)

    async def connect(self, visitor: str, backend: Backend | None) -> None:
        """A backend for this visitor alone; None goes back to the server's."""
        old = self._connected.pop(visitor, None)
        if backend is not None:
            self._connected[visitor] = backend
        if old is not None:
            await self._retire(old)

    # Opening and looking

    async def start(
        self, visitor: str, *, persona: str, scene: str = "", name: str = "", about: str = "", greeting: int = 0
    ) -> ChatView:
        """A new chat with a persona, in a scene when `scene` is not empty (ids); `greeting` counts from 0."""
        if persona not in self.personas:
            raise NotFound(f"there is no persona {persona[:60]!r} here; choose one from the list")
        if scene and scene not in self.scenes:
            raise NotFound(f"there is no scene {scene[:60]!r} here; choose one from the list")
        return await self._open(visitor, open_persona(self.personas[persona], self.scenes.get(scene), name, about, greeting))

    async def start_book(self, visitor: str, *, scenario: str, me: str, model: str, replay: int = 0, title: str = "") -> ChatView:
        """A new chat in the book's scene of this scenario id; see `her.chat.openings.open_book`."""
        if scenario not in self._book_scenes:
            raise NotFound(f"there is no scene {scenario[:60]!r} in the open books; choose one from the list")
        return await self._open(visitor, open_book(self._book_scenes[scenario], me, model, replay, title))

    async def view(self, visitor: str, chat: str) -> ChatView:
        """The chat as it stands on disk."""
        return await self._in_thread(self._read_view, visitor, chat)

    async def chats(self, visitor: str) -> list[ChatSummary]:
        """The visitor's chats, the last used first."""
        rows = await self._in_thread(self.store.conversations, visitor)
        return [
            ChatSummary(
                id=row.id,
                title=row.title,
                speaker=row.speaker,
                language=row.language,
                turns=row.turns,
                updated_at=row.updated_at,
                **({"colour": self.personas[row.persona_id].colour} if row.persona_id in self.personas else {}),
            )
            for row in rows
        ]

    async def export(self, visitor: str, chat: str, form: str) -> tuple[str, str]:
        """File name and text of the shown path: `jsonl` (a Transcript), `markdown` or `sharegpt`."""
        page = await self._in_thread(read_page, self.store, visitor, chat)
        return export_text(page.transcript(), page.conversation.title, page.conversation.speaker, form)

    # Generating

    async def send(self, visitor: str, chat: str, text: str) -> Live:
        """Say something. When this returns, it is on disk and the model is answering.

        Should nothing come of it, the chat is as it was and the last snapshot gives the text back.

        Raises:
            InputError: the message is empty or too long, or a reply is being written in this chat.
            StoreError: it could not be kept; the model's call was taken back.
        """
        return await self._generate(visitor, chat, lambda orders: orders.send(text))

    async def answer(self, visitor: str, chat: str) -> Live:
        """Let the model play the next turn without a word from the visitor."""
        return await self._generate(visitor, chat, lambda orders: orders.answer())

    async def regenerate(self, visitor: str, chat: str, node: str) -> Live:
        """Another reply beside a turn of the model's; the old one stays as a swipe."""
        return await self._generate(visitor, chat, lambda orders: orders.regenerate(node))

    async def continue_(self, visitor: str, chat: str) -> Live:
        """Go on with the last turn, which must be the model's; the shorter one stays as a swipe."""
        return await self._generate(visitor, chat, lambda orders: orders.continue_())

    async def edit_own(self, visitor: str, chat: str, node: str, text: str) -> Live:
        """Say something else at that place: a new branch with an answer of its own; the old one stays as a swipe."""
        return await self._generate(visitor, chat, lambda orders: orders.edit_own(node, text))

    async def stop(self, visitor: str, chat: str) -> None:
        """End the running generation, keeping what was said; returns when that is on disk. Harmless when nothing runs."""
        live = self._running.live(chat)
        if live is None or live.visitor != visitor:
            await self._in_thread(self.store.conversation, visitor, chat)
            return
        live.stop()
        await live.wait()

    def live(self, chat: str) -> Live | None:
        """The running generation of a chat. Whoever shows it checks first whose chat it is, as `follow` does."""
        return self._running.live(chat)

    async def follow(self, visitor: str, chat: str) -> AsyncIterator[GenerationSnapshot]:
        """Join the running generation: its snapshot now, its changes, its end. Nothing when nothing runs.

        One that ended in the last 10 seconds gives its last snapshot, for pages that were being reloaded meanwhile.
        """
        live = self._running.lately(chat)
        if live is None or live.visitor != visitor:
            await self._in_thread(self.store.conversation, visitor, chat)
            return
        async for snapshot in live.follow():
            yield snapshot

    # Changing the tree

    async def edit_played(self, visitor: str, chat: str, node: str, text: str) -> ChatView:
        """Rewrite a turn of the model's, in either notation: a swipe beside it, and an edit that teaches.

        A text without a plan keeps the turn's own. The same parts again change nothing.
        """
        wording = clean_message(text, self.limits.max_message_chars)

        def change(page: Page) -> None:
            if turn := rewritten(played_node(page, node).turn, wording):
                self.store.add_edit(visitor, chat, node, turn)

        return await self._change(visitor, chat, change)

    async def select(self, visitor: str, chat: str, node: str) -> ChatView:
        """Show the path through this node, with the newest continuation below it."""

        def change(_: Page) -> None:
            self.store.move_head(visitor, chat, self.store.leaf_of(visitor, chat, node))

        return await self._change(visitor, chat, change)

    async def swipe(self, visitor: str, chat: str, node: str, step: int) -> ChatView:
        """Show the sibling `step` further (-1: the one before); at either end nothing changes."""

        def change(_: Page) -> None:
            row = [one.id for one in self.store.siblings(visitor, chat, node)]
            target = row[min(max(row.index(node) + step, 0), len(row) - 1)]
            if target != node:
                self.store.move_head(visitor, chat, self.store.leaf_of(visitor, chat, target))

        return await self._change(visitor, chat, change)

    async def delete(self, visitor: str, chat: str, node: str) -> ChatView:
        """Take a turn away with all below it; of several replies, the one before it (else after it) is shown then."""

        def change(page: Page) -> None:
            row = [one.id for one in self.store.siblings(visitor, chat, node)]
            at = row.index(node)
            others = row[:at][::-1] + row[at + 1 :]
            shown = next((one for one in page.path if one.id == node), None)
            self.store.delete_turn(visitor, chat, node)
            if others and shown is not None and page.played(shown):
                self.store.move_head(visitor, chat, self.store.leaf_of(visitor, chat, others[0]))

        return await self._change(visitor, chat, change)

    async def replay(self, visitor: str, chat: str, count: int) -> ChatView:
        """Show the book's next `count` turns (fewer when it ends before)."""

        def change(page: Page) -> None:
            scene = self._book_scenes.get(page.conversation.scenario.id)
            if scene is None:
                raise InputError("the book of this chat is not open; start the playground with its file")
            if count < 1:
                raise InputError(f"{count} turns cannot be shown; ask for 1 or more")
            above, shown = page.conversation.head_id, replayed(page)
            for turn, origin in book_turns(scene.turns[shown : shown + count]):
                above = self.store.add_turn(visitor, chat, above, turn, origin).id

        return await self._change(visitor, chat, change)

    async def branch(self, visitor: str, chat: str, node: str) -> ChatView:
        """A new chat that goes on from this turn."""
        copy = await self._in_thread(self.store.branch, visitor, chat, node)
        return await self.view(visitor, copy.id)

    async def rename(self, visitor: str, chat: str, title: str) -> ChatView:
        """Give the chat another title; an empty one is refused."""
        if not (cleaned := clean_title(title)):
            raise InputError("the title is empty; write one")
        await self._in_thread(self.store.rename, visitor, chat, cleaned)
        return await self.view(visitor, chat)

    async def delete_chat(self, visitor: str, chat: str) -> None:
        """Take the chat away, here and from every export; a reply being written is stopped first."""
        await self.stop(visitor, chat)
        await self._in_thread(self.store.delete_conversation, visitor, chat)

    # What the visitor thinks of it

    async def keep(self, visitor: str, chat: str, node: str, seen: Seen | None = None) -> int:
        """'Keep this one': prefer a reply over its swipes; returns when that was saved (UTC, ms), after the commit."""
        return (await self._in_thread(self.store.add_choice, visitor, chat, node, seen)).created_at

    async def rate(self, visitor: str, chat: str, node: str | None, rating: Rating) -> int:
        """Keep a rating of a turn, or with None of the chat; returns when it was saved (UTC, ms), after the commit.

        Raises:
            InputError: the turn is the visitor's own, a book's or a scene's opening; there is nothing of the model's to rate.
        """

        def rated() -> int:
            if node is not None and self.store.node(visitor, chat, node).origin not in RATED:
                raise InputError("only what the persona said here can be rated; this turn is your own or the book's")
            return self.store.rate(visitor, chat, node, check(rating))

        return await self._in_thread(rated)

    async def aclose(self) -> None:
        """Stop what is running, keeping what was said, and close every backend."""
        await self._running.aclose()
        for backend in {id(one): one for one in (self._backend, *self._connected.values())}.values():
            await backend.close()

    # Inside

    async def _open(self, visitor: str, opening: Opening) -> ChatView:
        create = self.store.create_conversation
        chat = await self._in_thread(create, visitor, opening.draft, opening.turns, opening.alternatives)
        return await self.view(visitor, chat.id)

    def _read_view(self, visitor: str, chat: str) -> ChatView:
        live = self.live(chat)
        if live is not None and live.visitor == visitor:  # the path stays as it is meanwhile, so it is not read again
            page = replace(live.order.page, conversation=self.store.conversation(visitor, chat))
            meter = meter_of(live.order.prompt, live.order.backend.describe())
        else:
            page = read_page(self.store, visitor, chat)
            meter = read_meter(page, self.backend_for(visitor), self.sampling)
        running = live is not None
        return read_view(self.store, page, meter=meter, live=running, personas=self.personas, scenes=self._book_scenes)

    async def _change(self, visitor: str, chat: str, change: Callable[[Page], None]) -> ChatView:
        """Change the tree while nothing else is written into it, and look at it."""

        def changed() -> ChatView:
            change(read_page(self.store, visitor, chat))
            return self._read_view(visitor, chat)

        async with self._running.alone(visitor, chat):
            return await self._in_thread(changed)

    async def _generate(self, visitor: str, chat: str, choose: Callable[[Orders], Order]) -> Live:
        def ordered() -> Order:
            page = read_page(self.store, visitor, chat)
            return choose(Orders(page, self.backend_for(visitor), self.sampling, self.limits))

        return await self._running.start(visitor, chat, ordered)

    async def _retire(self, backend: Backend) -> None:
        """Close a backend nobody uses any more."""
        if any(one is backend for one in (self._backend, *self._connected.values())) or self._running.uses(backend):
            return
        try:
            await backend.close()
        except Exception:
            log.exception("backend %s did not close", backend.describe().spec)
