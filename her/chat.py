"""The chat service: one turn of a chat from prompt to store, without Gradio.

Model calls run as tasks of the event loop, so a generation goes on when whoever follows it leaves; store calls run in
threads. A visitor's turn is on disk before anybody is told so, and the shown path moves only together with a reply.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from her import view
from her.backends.base import Backend
from her.chat_export import export as export_text
from her.chat_opening import Opening, book_turns, clean_message, clean_title, open_book, open_persona
from her.chat_reading import Page, fitted, read_meter, read_page, read_view, replayed
from her.chat_views import ChatSummary, ChatView, Snapshot
from her.errors import HerError, InputError, NotFound
from her.format import normalise, parse, plain_turn, render
from her.live import Live, Order, StoppedEarly, reason_of
from her.scenarios import Book, BookScene
from her.store import Origin, PathNode, Rating, Seen, Store
from her.types import Message, Persona, Sampling, Scenario, Turn, Value

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
STORE_THREADS = 16
ENDED_SECONDS = 10
"""How long the end of a generation is still told to a page that was just being reloaded."""
UNEXPECTED = "something went wrong here while the reply was being written; the chat is as it was, ask again"


class ChatLimits(Value):
    """What one visitor may ask for. Characters are Python's; `max_turns` counts the shown path."""

    max_message_chars: int = 20_000
    max_turns: int = 5_000
    max_live_per_visitor: int = 3
    max_reply_seconds: float = 600


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
        self._starting: dict[str, str] = {}
        self._live: dict[str, Live] = {}
        self._ended: dict[str, Live] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limiter: CapacityLimiter | None = None

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
        """A new chat in the book's scene of this scenario id; see `her.chat_opening.open_book`."""
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
        page = await self._page(visitor, chat)
        return export_text(page.transcript(), page.conversation.title, page.conversation.speaker, form)

    # Generating

    async def send(self, visitor: str, chat: str, text: str) -> Live:
        """Say something. When this returns, it is on disk and the model is answering.

        Should nothing come of it, the chat is as it was and the last snapshot gives the text back.

        Raises:
            InputError: the message is empty or too long, or a reply is being written in this chat.
            StoreError: it could not be kept; the model's call was taken back.
        """
        message = clean_message(text, self.limits.max_message_chars)

        def order(page: Page) -> Order:
            head = page.conversation.head_id
            return self._question(page, tuple(node.turn for node in page.path), head, message)

        return await self._generate(visitor, chat, order)

    async def answer(self, visitor: str, chat: str) -> Live:
        """Let the model play the next turn without a word from the visitor."""

        def order(page: Page) -> Order:
            return self._order(page, tuple(node.turn for node in page.path), page.conversation.head_id)

        return await self._generate(visitor, chat, order)

    async def regenerate(self, visitor: str, chat: str, node: str) -> Live:
        """Another reply beside a turn of the model's; the old one stays as a swipe."""

        def order(page: Page) -> Order:
            old = _played(page, node)
            return self._order(page, page.before(node), old.parent_id, replaces=old.id, swipes=old.swipe_count)

        return await self._generate(visitor, chat, order)

    async def continue_(self, visitor: str, chat: str) -> Live:
        """Go on with the last turn, which must be the model's; the shorter one stays as a swipe."""

        def order(page: Page) -> Order:
            if not page.path or not page.played(page.path[-1]):
                raise InputError("there is nothing to go on with: the last turn is not the model's; say something instead")
            return self._continuation(page, page.path[-1])

        return await self._generate(visitor, chat, order)

    async def edit_own(self, visitor: str, chat: str, node: str, text: str) -> Live:
        """Say something else at that place: a new branch with an answer of its own; the old one stays as a swipe."""
        message = clean_message(text, self.limits.max_message_chars)

        def order(page: Page) -> Order:
            old = page.shown(node)
            if not page.mine(old):
                raise InputError("this turn is not yours to say again; edit one of your own")
            return self._question(page, page.before(node), old.parent_id, message, edit_of=old.id)

        return await self._generate(visitor, chat, order)

    async def stop(self, visitor: str, chat: str) -> None:
        """End the running generation, keeping what was said; returns when that is on disk. Harmless when nothing runs."""
        live = self._live.get(chat)
        if live is None or live.visitor != visitor:
            await self._in_thread(self.store.conversation, visitor, chat)
            return
        live.stop()
        await live.wait()

    def live(self, chat: str) -> Live | None:
        """The running generation of a chat. Whoever shows it checks first whose chat it is, as `follow` does."""
        return self._live.get(chat)

    async def follow(self, visitor: str, chat: str) -> AsyncIterator[Snapshot]:
        """Join the running generation: its snapshot now, its changes, its end. Nothing when nothing runs.

        One that ended in the last 10 seconds gives its last snapshot, for pages that were being reloaded meanwhile.
        """
        live = self._live.get(chat) or self._ended.get(chat)
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
            old = _played(page, node)
            turn = _rewritten(old.turn, wording)
            if normalise(turn.parts, turn.speaker) != normalise(old.turn.parts, turn.speaker):
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

    async def keep(self, visitor: str, chat: str, node: str, seen: Seen | None = None) -> ChatView:
        """'Keep this one': prefer a reply over its swipes."""
        await self._in_thread(self.store.add_choice, visitor, chat, node, seen)
        return await self.view(visitor, chat)

    async def rate(self, visitor: str, chat: str, node: str | None, rating: Rating) -> int:
        """Keep a rating of a turn, or with None of the chat; returns when it was saved (UTC, ms), after the commit."""
        return await self._in_thread(self.store.rate, visitor, chat, node, rating)

    async def aclose(self) -> None:
        """Stop what is running, keeping what was said, and close every backend."""
        for live in list(self._live.values()):
            live.stop()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        for backend in {id(one): one for one in (self._backend, *self._connected.values())}.values():
            await backend.close()

    # Inside

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._limiter is None:
            self._limiter = CapacityLimiter(STORE_THREADS)
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._limiter)

    async def _page(self, visitor: str, chat: str) -> Page:
        return await self._in_thread(read_page, self.store, visitor, chat)

    async def _open(self, visitor: str, opening: Opening) -> ChatView:
        chat = await self._in_thread(self.store.create_conversation, visitor, opening.draft, opening.turns, opening.alternatives)
        return await self.view(visitor, chat.id)

    def _read_view(self, visitor: str, chat: str) -> ChatView:
        page = read_page(self.store, visitor, chat)
        meter = read_meter(page, self.backend_for(visitor), self.sampling)
        live = chat in self._live
        return read_view(self.store, page, meter=meter, live=live, personas=self.personas, scenes=self._book_scenes)

    async def _change(self, visitor: str, chat: str, change: Callable[[Page], None]) -> ChatView:
        """Change the tree while nothing is being written into it, and look at it."""

        def changed() -> ChatView:
            change(read_page(self.store, visitor, chat))
            return self._read_view(visitor, chat)

        await self._reserve(visitor, chat)
        try:
            return await self._in_thread(changed)
        finally:
            del self._starting[chat]

    async def _reserve(self, visitor: str, chat: str) -> None:
        """Nobody else may change this chat until it is taken out of `_starting`."""
        if chat in self._live or chat in self._starting:
            await self._in_thread(self.store.conversation, visitor, chat)
            raise InputError("a reply is being written in this chat; wait for it or stop it first")
        self._starting[chat] = visitor

    async def _generate(self, visitor: str, chat: str, order: Callable[[Page], Order]) -> Live:
        """Work out the order, call the model, and return when the visitor's turn is on disk."""

        def ordered() -> Order:
            return order(read_page(self.store, visitor, chat))

        await self._reserve(visitor, chat)
        try:
            self._admit(visitor)
            live = Live(await self._in_thread(ordered))
            self._live[chat] = live
            live.begin()
        finally:
            del self._starting[chat]
        self._ended.pop(chat, None)
        task = asyncio.create_task(self._play(live), name=f"reply {chat}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await live.committed.wait()
        if live.refused is not None:
            raise live.refused
        return live

    def _admit(self, visitor: str) -> None:
        running = sum(live.visitor == visitor for live in self._live.values())
        if running >= self.limits.max_live_per_visitor:
            raise InputError(f"{running} replies are being written for you in other chats; wait for one of them or stop it")

    def _question(
        self, page: Page, before: tuple[Turn, ...], parent_id: str | None, message: str, edit_of: str | None = None
    ) -> Order:
        """The order that answers a message hung under `parent_id`."""
        question = plain_turn(page.conversation.visitor_name, message)
        return self._order(
            page, (*before, question), question.id, question=question, question_parent=parent_id, edit_of=edit_of, text=message
        )

    def _order(
        self,
        page: Page,
        turns: tuple[Turn, ...],
        parent_id: str | None,
        *,
        question: Turn | None = None,
        question_parent: str | None = None,
        edit_of: str | None = None,
        text: str = "",
        replaces: str | None = None,
        swipes: int = 0,
    ) -> Order:
        if len(turns) > self.limits.max_turns:
            raise InputError(f"this chat has {len(turns):,} turns; at most {self.limits.max_turns:,} are taken, start a new one")
        chat, backend = page.conversation, self.backend_for(page.conversation.visitor_id)
        description = backend.describe()
        sampling, budget = fitted(self.sampling, description)
        return Order(
            visitor=chat.visitor_id,
            conversation=chat,
            backend=backend,
            description=description,
            sampling=_varied(sampling, swipes),
            prompt=view.prompt(page.transcript(turns), chat.speaker, budget, backend.count_tokens),
            parent_id=parent_id,
            question=question,
            question_parent=question_parent,
            edit_of=edit_of,
            text=text,
            replaces=replaces,
        )

    def _continuation(self, page: Page, node: PathNode) -> Order:
        chat, backend = page.conversation, self.backend_for(page.conversation.visitor_id)
        description = backend.describe()
        sampling, budget = fitted(self.sampling, description)
        base, reasoning = self._unfinished(chat.visitor_id, node)
        budget -= backend.count_tokens((Message(role="assistant", content=base.raw),))
        prompt = view.prompt(page.transcript(page.before(node.id)), chat.speaker, budget, backend.count_tokens)
        return Order(
            visitor=chat.visitor_id,
            conversation=chat,
            backend=backend,
            description=description,
            sampling=sampling,
            prompt=view.continuation(prompt, base),
            parent_id=node.parent_id,
            replaces=node.id,
            base=base,
            reasoning=reasoning,
        )

    def _unfinished(self, visitor: str, node: PathNode) -> tuple[Turn, str]:
        """The turn as the model is to go on with it, and its native reasoning.

        The model's own words go back byte for byte. A written, edited or cut turn goes back in the canonical form.
        """
        turn = node.turn
        cut = any(defect.name == "other_speaker" for defect in turn.defects)
        if node.origin not in ("model", "continue") or cut or node.generation_id is None:
            return turn.model_copy(update={"raw": render(turn.parts, turn.speaker)}), ""
        first = parse(turn.raw, turn.speaker)
        plan = "" if first.text("system_thinking") == turn.text("system_thinking") else turn.text("system_thinking")
        return turn, plan

    async def _play(self, live: Live) -> None:
        """One generation from call to commit; whatever happens, its followers hear the end."""
        try:
            await self._commit_question(live)
            await live.finished(self.limits.max_reply_seconds)
            turn = live.turn()
            await self._commit_reply(live, turn)
        except Exception as error:
            await self._undo(live, error)
        else:
            self._close(live)
            live.end("stopped" if live.stopping else "done", turn)
        finally:
            self._close(live)
        await self._retire(live.order.backend)

    async def _commit_question(self, live: Live) -> None:
        order = live.order
        try:
            if order.question is not None:
                origin: Origin = "edit" if order.edit_of else "visitor"
                await self._in_thread(
                    self.store.add_turn,
                    order.visitor,
                    live.chat,
                    order.question_parent,
                    order.question,
                    origin,
                    edit_of=order.edit_of,
                    move_head=False,
                )
        except Exception as error:
            live.refused = error
            raise
        finally:
            live.committed.set()

    async def _commit_reply(self, live: Live, turn: Turn) -> None:
        order, generation = live.order, live.generation()
        await self._in_thread(
            self.store.add_turn, order.visitor, live.chat, order.parent_id, turn, order.origin, generation=generation
        )

    async def _undo(self, live: Live, error: Exception) -> None:
        """Leave the chat as it was: record the failed call, take the unanswered question away, say why."""
        await live.leave()
        if not isinstance(error, HerError):
            log.error("a generation in chat %s failed", live.chat, exc_info=error)
        if live.refused is None:
            try:
                await self._in_thread(self._take_back, live, error)
            except Exception:
                log.exception("a failed generation in chat %s could not be recorded", live.chat)
        self._close(live)
        early = isinstance(error, StoppedEarly)
        sentence = str(error) if isinstance(error, HerError) else UNEXPECTED
        live.end("stopped" if early else "failed", error=sentence, reason=reason_of(error))

    def _take_back(self, live: Live, error: Exception) -> None:
        order = live.order
        self.store.record_failure(order.visitor, live.generation(error))
        if order.question is not None:
            self.store.delete_turn(order.visitor, live.chat, order.question.id)

    def _close(self, live: Live) -> None:
        """Make room for the next one; the end stays known for those who are on their way."""
        if self._live.get(live.chat) is live:
            del self._live[live.chat]
            self._ended[live.chat] = live
            asyncio.get_running_loop().call_later(ENDED_SECONDS, self._forget, live)

    def _forget(self, live: Live) -> None:
        if self._ended.get(live.chat) is live:
            del self._ended[live.chat]

    async def _retire(self, backend: Backend) -> None:
        """Close a backend nobody uses any more."""
        using = [self._backend, *self._connected.values(), *(live.order.backend for live in self._live.values())]
        if any(one is backend for one in using):
            return
        try:
            await backend.close()
        except Exception:
            log.exception("backend %s did not close", backend.describe().spec)


def _played(page: Page, node: str) -> PathNode:
    shown = page.shown(node)
    if not page.played(shown):
        raise InputError("this turn is not the model's; choose one that it played")
    return shown


def _rewritten(old: Turn, wording: str) -> Turn:
    """The turn a person made of `old`; InputError when nothing of it could be seen."""
    turn = parse(wording, old.speaker)
    if not any(part.kind != "system_thinking" for part in turn.parts):
        raise InputError("the edit leaves nothing to be seen; write speech, an act or a thought")
    if any(part.kind == "system_thinking" for part in turn.parts):
        return turn
    plan = tuple(part for part in old.parts if part.kind == "system_thinking")
    defects = tuple(defect for defect in turn.defects if not (plan and defect.name == "plan_missing"))
    return turn.model_copy(update={"parts": plan + turn.parts, "defects": defects})


def _varied(sampling: Sampling, swipes: int) -> Sampling:
    """Another seed for every swipe, so that asking again gives another reply; repeatable where the seed was chosen."""
    if not swipes:
        return sampling
    seed = secrets.randbits(31) if sampling.seed is None else sampling.seed + swipes
    return sampling.model_copy(update={"seed": seed})
