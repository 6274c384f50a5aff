"""The chat service: every act on a chat, from its opening to its export, without Gradio.

Calls of the model run as tasks of the event loop, so a generation continues when its followers leave; calls of the store run
in threads. A method that stores something returns after the commit. The shown path moves only together with a reply.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from her.backends.base import Backend
from her.characters.coser import Book, BookScene
from her.chat.ceilings import ADDRESS, Pace, Places
from her.chat.comparisons import Choose, Comparing
from her.chat.edits import played_node, rewrite
from her.chat.export import export_chat
from her.chat.generation import RunningGeneration
from her.chat.generations import RunningGenerations
from her.chat.jobs import ChatLimits, ReplyJob, ReplyJobBuilder
from her.chat.openings import Opening, book_turns, branch_title, clean_message, clean_title, open_book, open_persona
from her.chat.pages import RATED, Page, meter_of, read_list, read_meter, read_page, read_view, replayed
from her.chat.pairs import drawn, others_of, read_ballot, read_decided
from her.chat.participants import Participants
from her.chat.running_pair import PairJob, RunningPair
from her.chat.views import ChatSummary, ChatView, GenerationSnapshot
from her.errors import InputError, NotFound
from her.feedback.rubric import check_rating
from her.store import Rating, Rewritten, Seen, Store
from her.store.records import Safety
from her.types import Persona, Sampling, Scenario

__all__ = ["ChatLimits", "ChatService", "RunningGeneration"]
log = logging.getLogger(__name__)


class ChatService:
    """All chats of one playground. Methods take the visitor's id first and raise NotFound for a chat of somebody else.

    Args:
        store: where chats and ratings are stored.
        backend: the model of every visitor who has connected none.
        personas: by id.
        scenes: by id.
        books: books whose scenes can be played.
        limits: what one visitor may ask for.
        sampling: parameters of every call of the model.
    """

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
        self.people = Participants(store)
        self.personas = personas
        self.scenes = scenes
        self.books = tuple(books)
        self.limits = limits = limits or ChatLimits()
        self.sampling = sampling or Sampling()
        self.safety: Callable[[], Safety | None] = lambda: None
        """How far the store is kept outside this machine, where it is; a call of the database."""
        self.comparing: Comparing | None = None
        """Which turns are answered twice, in a playtest with comparisons."""
        self._backend = backend
        self.choosing: dict[str, asyncio.Task[str]] = {}
        """Choices of the next speaker of a scene that a model is making now, by chat; `stop` cancels them."""
        self._connected: dict[str, Backend] = {}
        self._book_scenes: dict[str, BookScene] = {scene.scenario.id: scene for book in self.books for scene in book.scenes}
        self._generations = RunningGenerations(store, self.limits, self._retire)
        self._in_thread = self.in_thread = self._generations.in_thread
        most = (limits.max_streams_per_visitor, limits.max_streams_per_address, limits.max_streams)
        self._streams = Places(*most, "{count} tabs of yours are following a reply; close one of them")
        many = "many chats were started from your network address; wait a minute and start this one then"
        self._new_chats = Pace(limits.new_chats_per_address, limits.new_chat_seconds, many)

    # Backends

    @property
    def backend(self) -> Backend:
        """Backend of the server, for every visitor who has connected none."""
        return self._backend

    def backend_for(self, visitor: str) -> Backend:
        """Return the backend of this visitor's chats."""
        return self._connected.get(visitor, self._backend)

    async def use(self, backend: Backend) -> None:
        """Replace the server's backend. Running generations end on the old one, which is then closed."""
        old, self._backend = self._backend, backend
        await self._retire(old)

    async def connect(self, visitor: str, backend: Backend | None) -> None:
        """Set the backend of this visitor alone; None returns to the server's."""
        old = self._connected.pop(visitor, None)
        if backend is not None:
            self._connected[visitor] = backend
        if old is not None:
            await self._retire(old)

    async def safety_now(self) -> Safety | None:
        """Return how far what people wrote is kept outside this machine; None where it is not kept there."""
        return await self._in_thread(self.safety)

    # Opening and looking

    async def start(
        self, visitor: str, *, persona: str, scene: str = "", name: str = "", about: str = "", greeting: int = 0
    ) -> ChatView:
        """Start a chat with a persona; `persona` and `scene` are ids, `scene` may be empty. See `openings.open_persona`."""
        if persona not in self.personas:
            raise NotFound(f"there is no persona {persona[:60]!r} here; choose one from the list")
        if scene and scene not in self.scenes:
            raise NotFound(f"there is no scene {scene[:60]!r} here; choose one from the list")
        return await self._open(visitor, open_persona(self.personas[persona], self.scenes.get(scene), name, about, greeting))

    async def start_book(self, visitor: str, *, scenario: str, me: str, model: str, replay: int = 0, title: str = "") -> ChatView:
        """Start a chat in the scene of a book with this scenario id; see `openings.open_book`."""
        return await self._open(visitor, open_book(self.book_scene(scenario), me, model, replay, title))

    async def view(self, visitor: str, chat: str) -> ChatView:
        """Return the chat as it is on disk."""
        return await self._in_thread(self._read_view, visitor, chat)

    async def chats(self, visitor: str) -> list[ChatSummary]:
        """Return the visitor's chats, the last used first."""
        return await self._in_thread(read_list, self.store, visitor, self.personas)

    async def export(self, visitor: str, chat: str, form: str, director: bool | None = None) -> tuple[str, str]:
        """Return file name and text of the shown path: `jsonl` (a Transcript), `markdown` or `sharegpt`; see `export_chat`."""
        page = await self._in_thread(read_page, self.store, visitor, chat)
        # ShareGPT is for trainers, the other files are for the visitor.
        transcript = page.nameless() if form == "sharegpt" else page.transcript()
        return export_chat(transcript, page.conversation, form, director)

    # Generating

    async def send(self, visitor: str, chat: str, text: str) -> RunningGeneration:
        """Send a message; returns when it is on disk and the model is answering.

        When the reply fails, the chat is as it was before and the last snapshot gives the text back.

        Raises:
            InputError: the message is empty or too long, or a reply is being written in this chat.
            StoreError: the message could not be stored; the call of the model was cancelled.
        """
        return await self._generate(visitor, chat, lambda jobs: jobs.send(text), compared=True)

    async def answer(self, visitor: str, chat: str) -> RunningGeneration:
        """Let the model play the next turn without a message; a new reply where two were found bad."""
        return await self._generate(visitor, chat, lambda jobs: jobs.answer(others_of(self.store, jobs.page)), anew=True)

    async def play(self, visitor: str, chat: str, name: str) -> RunningGeneration:
        """Let a character of a scene, or its narrator, play the next turn; `her.rollouts.live_scenes` chooses whose it is."""
        return await self._generate(visitor, chat, lambda jobs: jobs.play(name))

    async def regenerate(self, visitor: str, chat: str, node: str) -> RunningGeneration:
        """Generate another reply beside a turn of the model; the old one stays as a swipe."""
        return await self._generate(visitor, chat, lambda jobs: jobs.regenerate(node))

    async def continue_(self, visitor: str, chat: str) -> RunningGeneration:
        """Continue the last turn, which must be the model's; the shorter one stays as a swipe."""
        return await self._generate(visitor, chat, lambda jobs: jobs.continue_())

    async def edit_own(self, visitor: str, chat: str, node: str, text: str) -> RunningGeneration:
        """Rewrite a turn of the visitor: a new branch with a reply to it; the old one stays as a swipe."""
        return await self._generate(visitor, chat, lambda jobs: jobs.edit_own(node, text))

    async def steer(self, visitor: str, chat: str, node: str, rewritten: Rewritten, text: str) -> RunningGeneration:
        """Rewrite a plan or a thought; the model goes on from there. The old turn stays as a swipe, the change is an edit."""
        return await self._generate(visitor, chat, lambda jobs: jobs.steer(node, rewritten, text))

    async def stop(self, visitor: str, chat: str) -> None:
        """Stop the running generation and keep its text; returns when that is on disk. Without effect when nothing runs."""
        generation = self.running(chat)
        if generation is None or generation.visitor != visitor:
            await self._in_thread(self.store.conversation, visitor, chat)  # NotFound for a chat of somebody else
            if choice := self.choosing.get(chat):
                choice.cancel()
            return
        generation.stop()
        await generation.wait()

    def running(self, chat: str) -> RunningGeneration | None:
        """Return the running generation of a chat. The caller checks whose chat it is, as `follow` does."""
        return self._generations.running(chat)

    async def follow(self, visitor: str, chat: str) -> AsyncIterator[GenerationSnapshot]:
        """Yield the snapshots of the generation that runs, or ended a moment ago, from now to its end; nothing without one."""
        generation = self._generations.running_or_ended(chat)
        if generation is None or generation.visitor != visitor:
            await self._in_thread(self.store.conversation, visitor, chat)  # NotFound for a chat of somebody else
            return
        async for snapshot in generation.follow():
            yield snapshot

    def stream_place(self, visitor: str) -> AbstractContextManager[None]:
        """Hold a place for one open stream of replies; entering it raises InputError when there is none left."""
        return self._streams.held(visitor, ADDRESS.get())

    # Scenes of several characters

    async def start_scene(self, visitor: str, opening: Opening) -> ChatView:
        """Start a scene of several characters; see `her.chat.ensembles`."""
        return await self._open(visitor, opening)

    def book_scene(self, scenario: str) -> BookScene:
        """Return the scene of an open book with this scenario id; NotFound when there is none."""
        if scenario not in self._book_scenes:
            raise NotFound(f"there is no scene {scenario[:60]!r} in the open books; choose one from the list")
        return self._book_scenes[scenario]

    async def page(self, visitor: str, chat: str) -> Page:
        """Return a chat with its shown path."""
        return await self._in_thread(read_page, self.store, visitor, chat)

    # Changing the tree

    async def edit_played(self, visitor: str, chat: str, node: str, text: str) -> ChatView:
        """Rewrite a turn of the model, in tags or CoSER notation: the edit stands beside it as a swipe and becomes a preference.

        A text without a plan keeps the plan of the turn. The same parts again change nothing.
        """
        cleaned = clean_message(text, self.limits.max_message_chars)

        def change(page: Page) -> None:
            if turn := rewrite(played_node(page, node).turn, cleaned):
                self.store.add_edit(visitor, chat, node, turn)

        return await self.change(visitor, chat, change)

    async def select(self, visitor: str, chat: str, node: str) -> ChatView:
        """Show the path through this node, with the newest continuation below it."""

        def change(_: Page) -> None:
            self.store.move_head(visitor, chat, self.store.leaf_of(visitor, chat, node))

        return await self.change(visitor, chat, change)

    async def swipe(self, visitor: str, chat: str, node: str, step: int) -> ChatView:
        """Show the sibling `step` places further (-1: the one before); at either end nothing changes."""

        def change(_: Page) -> None:
            siblings = [sibling.id for sibling in self.store.siblings(visitor, chat, node)]
            target = siblings[min(max(siblings.index(node) + step, 0), len(siblings) - 1)]
            if target != node:
                self.store.move_head(visitor, chat, self.store.leaf_of(visitor, chat, target))

        return await self.change(visitor, chat, change)

    async def delete(self, visitor: str, chat: str, node: str) -> ChatView:
        """Delete a turn and everything below it. Of several replies, the one before it (else after it) is shown then."""

        def change(page: Page) -> None:
            siblings = [sibling.id for sibling in self.store.siblings(visitor, chat, node)]
            index = siblings.index(node)
            nearest_first = siblings[:index][::-1] + siblings[index + 1 :]
            shown = next((path_node for path_node in page.path if path_node.id == node), None)
            self.store.delete_turn(visitor, chat, node)
            if nearest_first and shown is not None and page.played(shown):
                self.store.move_head(visitor, chat, self.store.leaf_of(visitor, chat, nearest_first[0]))

        return await self.change(visitor, chat, change, decided=False)

    async def replay(self, visitor: str, chat: str, count: int) -> ChatView:
        """Show the next `count` turns of the book, or fewer when its scene ends before."""

        def change(page: Page) -> None:
            scene = self._book_scenes.get(page.conversation.scenario.id)
            if scene is None:
                raise InputError("the book of this chat is not open here; start the playground with its file")
            if count < 1:
                raise InputError(f"{count} turns cannot be shown; ask for 1 or more")
            above, shown = page.conversation.head_id, replayed(page)
            for turn, origin in book_turns(scene.turns[shown : shown + count]):
                above = self.store.add_turn(visitor, chat, above, turn, origin).id

        return await self.change(visitor, chat, change)

    async def branch(self, visitor: str, chat: str, node: str) -> ChatView:
        """Copy the chat up to this turn into a new chat and return that."""
        self._new_chats.take(ADDRESS.get())
        copy = await self._in_thread(self.store.branch, visitor, chat, node, self.limits.max_chats_per_visitor, branch_title)
        return await self.view(visitor, copy.id)

    async def rename(self, visitor: str, chat: str, title: str) -> ChatView:
        """Change the title of the chat; InputError for an empty one."""
        if not (cleaned := clean_title(title)):
            raise InputError("the title is empty; write one")
        await self._in_thread(self.store.rename, visitor, chat, cleaned)
        return await self.view(visitor, chat)

    async def delete_chat(self, visitor: str, chat: str) -> None:
        """Delete the chat, here and from every export; a reply that is being written is stopped first."""
        await self.stop(visitor, chat)
        await self._in_thread(self.store.delete_conversation, visitor, chat)

    # Rating

    async def keep(self, visitor: str, chat: str, node: str, seen: Seen | None = None) -> int:
        """Record that the visitor prefers a reply to its swipes; returns the time of the commit (UTC, ms)."""
        return (await self._in_thread(self.store.add_choice, visitor, chat, node, seen)).created_at

    async def rate(self, visitor: str, chat: str, node: str | None, rating: Rating) -> int:
        """Store a rating of a turn, or of the chat when `node` is None; returns the time of the commit (UTC, ms).

        Raises:
            InputError: the turn is not the model's: the visitor's own, a book's, or the opening of a scene.
        """

        def store_rating() -> int:
            if node is not None and self.store.node(visitor, chat, node).origin not in RATED:
                raise InputError("only turns of the persona can be rated; this one is your own or the book's")
            return self.store.rate(visitor, chat, node, check_rating(rating))

        return await self._in_thread(store_rating)

    async def rate_character(self, visitor: str, chat: str, character: str, rating: Rating) -> int:
        """Store a checked rating of a character of a scene; `her.rollouts.live_scenes` checks whom it is for."""
        return await self._in_thread(self.store.rate, visitor, chat, None, rating, character)

    async def aclose(self) -> None:
        """Stop every generation, keep its text, and close every backend."""
        await self._generations.aclose()
        for backend in {id(backend): backend for backend in self._backends()}.values():
            await backend.close()

    # Inside

    def _backends(self) -> tuple[Backend, ...]:
        return (self._backend, *self._connected.values(), *(self.comparing.backends if self.comparing else ()))

    async def _open(self, visitor: str, opening: Opening) -> ChatView:
        self._new_chats.take(ADDRESS.get())
        create, most = self.store.create_conversation, self.limits.max_chats_per_visitor
        chat = await self._in_thread(create, visitor, opening.draft, opening.turns, opening.alternatives, most)
        return await self.view(visitor, chat.id)

    def _read_view(self, visitor: str, chat: str) -> ChatView:
        generation = self.running(chat)
        # The meter of a pair would tell the context of a model.
        if generation is not None and generation.visitor == visitor and not isinstance(generation, RunningPair):
            # The path does not change while a reply is being written, so it is not read again.
            page = replace(generation.job.page, conversation=self.store.conversation(visitor, chat))
            meter = meter_of(generation.job.prompt, generation.job.backend.describe())
        else:
            page = read_page(self.store, visitor, chat)
            meter = read_meter(page, self.backend_for(visitor), self.sampling)
        live, known, scenes = generation is not None, self.personas, self._book_scenes
        ballot = None if live else read_ballot(self.store, page, self.comparing is not None)
        return read_view(self.store, page, meter=meter, live=live, personas=known, scenes=scenes, ballot=ballot)

    async def change(self, visitor: str, chat: str, change: Callable[[Page], None], *, decided: bool = True) -> ChatView:
        """Change the tree while nothing else changes it, and return the new view.

        Raises:
            InputError: two replies wait for a vote; not where a change need not be `decided`.
        """

        def change_and_read() -> ChatView:
            change(read_decided(self.store, visitor, chat) if decided else read_page(self.store, visitor, chat))
            return self._read_view(visitor, chat)

        async with self._generations.exclusive(visitor, chat):
            return await self._in_thread(change_and_read)

    async def _generate(
        self, visitor: str, chat: str, choose: Choose, *, compared: bool = False, anew: bool = False
    ) -> RunningGeneration:
        comparing = self.comparing if compared else None

        def build_job() -> ReplyJob | PairJob:
            page = read_decided(self.store, visitor, chat, anew=anew)
            jobs = ReplyJobBuilder(page, self.backend_for(visitor), self.sampling, self.limits)
            draw = drawn(self.store, page, comparing) if comparing else None
            return comparing.pair_job(draw, jobs, self._backend, choose) if comparing and draw else choose(jobs)

        return await self._generations.start(visitor, chat, build_job)

    async def _retire(self, backend: Backend) -> None:
        """Close a backend that nobody uses any more."""
        in_use = any(used is backend for used in self._backends())
        if in_use or self._generations.uses(backend):
            return
        try:
            await backend.close()
        except Exception:
            log.exception("backend %s did not close", backend.describe().spec)
