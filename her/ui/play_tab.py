"""The stage: chat, panels, swipes and ratings in one component that the browser's half (static/stage.js) draws.

Two doors lead in, and both check the visitor inside: `act` answers a wish at once, `run` streams a generation.
Neither trusts a history, index or role from the browser; they take ids, and the chat service checks who owns them.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from her import format as notation
from her.characters.coser import Book
from her.chat.openings import HERE, greeting_turn
from her.chat.service import ChatService
from her.errors import HerError, InputError, NotFound
from her.feedback.rubric import RUBRIC, Label, read_rating
from her.types import Language, Persona
from her.ui import bubbles, patches
from her.ui.patches import Patch
from her.ui.state import Payload, read_request
from her.ui.words import words

STATIC = Path(__file__).parent / "static"
UNEXPECTED = "Something went wrong on the server; its log has the details. Reload the page and try again."
log = logging.getLogger(__name__)


class Stage:
    """The handlers of the stage; `notice` is a line every visitor is shown, such as that ratings do not last here."""

    def __init__(self, service: ChatService, notice: str = "") -> None:
        self.service = service
        self.notice = notice
        self._stamps = count(1)
        self._acts: dict[str, Callable[[Payload], Awaitable[Patch]]] = {
            name: getattr(self, f"_{name}")
            for name in (
                *("boot", "persona", "chats", "start", "start_book", "open", "older", "replay", "swipe", "keep", "rate"),
                *("source", "edit", "branch", "delete", "delete_chat", "rename", "export", "stop"),
            )
        }

    def build(self) -> gr.HTML:
        """Draw the component into the Blocks that are open."""

        async def act(payload: dict[str, Any]) -> Patch:  # Gradio marks the function, and a method takes no mark
            return await self.act(payload)

        stage = gr.HTML(
            value="{}",
            html_template=(STATIC / "stage.html").read_text("utf-8"),
            js_on_load="window.HerStage(element, (name, wish) => trigger('run', wish), server, watch, props)",
            head='<script src="./her-static/stage.js"></script>',
            server_functions=[act],
            apply_default_css=False,
            elem_id="stage",
        )
        stage.run(
            self.run,
            inputs=None,
            outputs=[stage],
            show_progress="hidden",
            trigger_mode="multiple",
            concurrency_limit=None,
            api_name="run",
            api_visibility="undocumented",
        )
        return stage

    async def act(self, payload: dict[str, Any]) -> Patch:
        """Answer one wish; what cannot be granted comes back as `{"error": sentence}`."""
        try:
            wish = read_request(payload)
            if wish.act not in self._acts:
                raise InputError(f"request: act '{wish.act}' does not exist; there are {', '.join(self._acts)}")
            return await self._acts[wish.act](wish)
        except HerError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("act failed")
            return {"error": UNEXPECTED}

    async def run(self, event: gr.EventData) -> AsyncIterator[str]:
        """Start or join a generation and stream it as patches (JSON texts)."""
        payload = event._data
        chat = str(payload.get("chat", "")) if isinstance(payload, dict) else ""
        try:
            wish = read_request(payload)
            await self._begin(wish)
            async for patch in self._followed(wish):
                yield self._stamped(patch)
        except HerError as error:
            yield self._stamped({"chat": chat, "end": True, "error": str(error), "give_back": _text(payload)})
        except Exception:
            log.exception("run failed")
            yield self._stamped({"chat": chat, "end": True, "error": UNEXPECTED, "give_back": _text(payload)})

    async def _begin(self, wish: Payload) -> None:
        service, who = self.service, wish.visitor
        if wish.act == "send":
            await service.send(who, wish.chat, wish.text)
        elif wish.act == "regenerate":
            await service.regenerate(who, wish.chat, _node(wish))
        elif wish.act == "answer":
            await service.answer(who, wish.chat)
        elif wish.act == "continue":
            await service.continue_(who, wish.chat)
        elif wish.act == "edit":
            await service.edit_own(who, wish.chat, _node(wish), wish.text)
        elif wish.act != "follow":
            raise InputError(f"request: '{wish.act}' cannot be run; send, answer, regenerate, continue, edit and follow can")

    async def _followed(self, wish: Payload) -> AsyncIterator[Patch]:
        """Patches of the running generation, then one that shows the chat as it is stored."""
        asked: list[Patch] | None = None
        async for snapshot in self.service.follow(wish.visitor, wish.chat):
            asked = patches.question(snapshot) if asked is None else asked
            patch = patches.running(snapshot, asked)
            if snapshot.state != "running":
                patch |= patches.whole(await self.service.view(wish.visitor, wish.chat), patches.FRESH)
            yield patch
        if asked is None:  # nothing was running any more: show what is stored
            yield {**patches.whole(await self.service.view(wish.visitor, wish.chat)), "end": True}

    def _stamped(self, patch: Patch) -> str:
        # two equal patches in a row would not count as a change in the browser
        return json.dumps({**patch, "stamp": next(self._stamps)}, ensure_ascii=False)

    # ---- acts: one method a wish -------------------------------------------------------------------------------

    async def _boot(self, wish: Payload) -> Patch:
        said = words(wish.language)
        about = self.service.backend_for(wish.visitor).describe()
        return {
            "words": said,
            "rubric": _rubric(wish.language),
            "personas": [_card(one) for one in self.service.personas.values()],
            "books": [_shelved(book) for book in self.service.books],
            "badge": said["scripted_badge"] if about.scripted else about.model,
            "scripted": about.scripted,
            "notice": said["ephemeral"] if self.notice else "",
        }

    async def _persona(self, wish: Payload) -> Patch:
        persona = self.service.personas.get(wish.persona)
        if persona is None:
            raise NotFound(f"there is no persona '{wish.persona}'; reload the page to see who there is")
        said = words(persona.language)
        suited = sorted(
            (one for one in self.service.scenes.values() if one.language == persona.language),
            key=lambda one: (persona.id not in one.personas, bool(one.personas)),
        )
        visitor = wish.name or words(persona.language)["visitor"]
        slots = (visitor, HERE[persona.language])
        return {
            "profile": persona.profile.strip(),
            "greetings": [
                str(bubbles.layers(greeting_turn(text, persona.name, slots).parts, said)) for text in persona.greetings
            ],
            "scenes": [
                {"id": one.id, "title": one.title, "setting": one.setting.strip(), "suits": persona.id in one.personas}
                for one in suited
            ],
        }

    async def _chats(self, wish: Payload) -> Patch:
        chats = await self.service.chats(wish.visitor)
        return {
            "chats": [
                {
                    "id": one.id,
                    "title": one.title or words(wish.language)["untitled"],
                    "letters": bubbles.monogram(one.speaker),
                    "colour": one.colour,
                    "when": datetime.fromtimestamp(one.updated_at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC"),
                }
                for one in chats
            ]
        }

    async def _start(self, wish: Payload) -> Patch:
        view = await self.service.start(
            wish.visitor, persona=wish.persona, scene=wish.scene, name=wish.name, about=wish.about, greeting=wish.greeting
        )
        return patches.whole(view)

    async def _start_book(self, wish: Payload) -> Patch:
        view = await self.service.start_book(
            wish.visitor, scenario=wish.scenario, me=wish.me, model=wish.model, replay=wish.replay
        )
        return patches.whole(view)

    async def _open(self, wish: Payload) -> Patch:
        return patches.whole(await self.service.view(wish.visitor, wish.chat))

    async def _older(self, wish: Payload) -> Patch:
        return patches.older(await self.service.view(wish.visitor, wish.chat), _node(wish))

    async def _replay(self, wish: Payload) -> Patch:
        return patches.whole(await self.service.replay(wish.visitor, wish.chat, wish.count))

    async def _swipe(self, wish: Payload) -> Patch:
        before = await self.service.view(wish.visitor, wish.chat)
        index = _index(before, _node(wish))
        view = await self.service.swipe(wish.visitor, wish.chat, _node(wish), wish.step)
        return {**patches.whole(view), "focus": view.turns[index].turn.id}

    async def _keep(self, wish: Payload) -> Patch:
        saved = await self.service.keep(wish.visitor, wish.chat, _node(wish), wish.seen)
        return {**patches.whole(await self.service.view(wish.visitor, wish.chat)), "saved": saved}

    async def _rate(self, wish: Payload) -> Patch:
        if wish.rating is None:
            raise InputError("request: field 'rating' is missing; send what is to be saved")
        return {"saved": await self.service.rate(wish.visitor, wish.chat, wish.node, read_rating(wish.rating))}

    async def _source(self, wish: Payload) -> Patch:
        view = await self.service.view(wish.visitor, wish.chat)
        one = view.turns[_index(view, _node(wish))]
        text = one.turn.text("speech") if one.mine else notation.render_coser(one.turn.parts)
        return {"text": text}

    async def _edit(self, wish: Payload) -> Patch:
        return patches.whole(await self.service.edit_played(wish.visitor, wish.chat, _node(wish), wish.text))

    async def _branch(self, wish: Payload) -> Patch:
        return patches.whole(await self.service.branch(wish.visitor, wish.chat, _node(wish)))

    async def _delete(self, wish: Payload) -> Patch:
        return patches.whole(await self.service.delete(wish.visitor, wish.chat, _node(wish)))

    async def _delete_chat(self, wish: Payload) -> Patch:
        await self.service.delete_chat(wish.visitor, wish.chat)
        return {}

    async def _rename(self, wish: Payload) -> Patch:
        view = await self.service.rename(wish.visitor, wish.chat, wish.text)
        return {"chat": view.id, "view": patches.around(view)}

    async def _export(self, wish: Payload) -> Patch:
        name, text = await self.service.export(wish.visitor, wish.chat, wish.format)
        return {"name": name, "text": text}

    async def _stop(self, wish: Payload) -> Patch:
        await self.service.stop(wish.visitor, wish.chat)
        return {}


def _text(payload: Any) -> str:
    return str(payload.get("text", "")) if isinstance(payload, dict) else ""


def _node(wish: Payload) -> str:
    if not wish.node:
        raise InputError("request: field 'node' is missing; name the turn")
    return wish.node


def _index(view: Any, node: str) -> int:
    for index, one in enumerate(view.turns):
        if one.turn.id == node:
            return index
    raise NotFound("this turn is no longer shown in this chat; reload the page")


def _card(persona: Persona) -> Patch:
    fields = ("id", "name", "source", "tagline", "language", "colour")
    return {
        **{name: getattr(persona, name) for name in fields},
        "tags": list(persona.tags),
        "letters": bubbles.monogram(persona.name),
    }


def _shelved(book: Book) -> Patch:
    return {
        "title": book.title,
        "scenes": [
            {
                "id": scene.scenario.id,
                "title": scene.title,
                "setting": scene.scenario.setting,
                "cast": [member.name for member in scene.cast],
                "turns": len(scene.turns),
            }
            for scene in book.scenes
        ],
    }


def _rubric(language: Language) -> Patch:
    def said(labels: Sequence[Label]) -> list[Patch]:
        return [{"id": one.id, "label": one.label(language), "hint": one.hint(language)} for one in labels]

    return {"id": RUBRIC.version, "dimensions": said(RUBRIC.dimensions), "tags": said(RUBRIC.tags)}
