"""Handlers of the endpoint `run`: each request starts or joins a generation, whose patches are then streamed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from her.chat.generation import StoppedEarly
from her.chat.service import ChatService
from her.rollouts import live_scenes
from her.store import Rewritten
from her.ui import patches, requests
from her.ui.answers import ChatPatch, DrawnTurn
from her.ui.words import words
from her.view import reader

Starter = Callable[[ChatService, Any], Awaitable[str | None]]
"""Returns a sentence when nothing was started, which the page shows."""


async def send(service: ChatService, request: requests.SendRequest) -> None:
    """Store a message and call the model."""
    await service.send(request.visitor, request.chat, request.text)


async def answer(service: ChatService, request: requests.ReplyRequest) -> None:
    """Call the model for the next turn, without a message."""
    await service.answer(request.visitor, request.chat)


async def regenerate(service: ChatService, request: requests.RegenerateRequest) -> None:
    """Call the model for another reply beside a turn."""
    await service.regenerate(request.visitor, request.chat, request.node)


async def continue_(service: ChatService, request: requests.ContinueRequest) -> None:
    """Call the model to continue its last turn."""
    await service.continue_(request.visitor, request.chat)


async def edit_own(service: ChatService, request: requests.EditOwnRequest) -> None:
    """Store a rewritten turn of the visitor and call the model."""
    await service.edit_own(request.visitor, request.chat, request.node, request.text)


async def steer(service: ChatService, request: requests.SteerRequest) -> None:
    """Rewrite a plan or a thought and call the model to go on from there; one that is hidden cannot be rewritten."""
    view = await service.view(request.visitor, request.chat)
    patches.whole_turn(view, request.node, request.director, request.language)
    rewritten = Rewritten(kind=request.kind, place=request.place)
    await service.steer(request.visitor, request.chat, request.node, rewritten, request.text)


async def play(service: ChatService, request: requests.PlayRequest) -> str:
    """Choose who plays the next turn of a scene and call the model; return why nobody does, empty when somebody does."""
    name = await live_scenes.play(
        service,
        request.visitor,
        request.chat,
        name=request.character,
        mode=request.next_speaker,
        narrator=request.narrator,
    )
    texts = words(request.language)
    if not name:
        return texts["scene_ended"]
    mine = (await service.page(request.visitor, request.chat)).conversation.visitor_name
    return texts["your_turn"].format(name=name) if name == mine else ""


async def follow(service: ChatService, request: requests.FollowRequest) -> None:
    """Start nothing: the page joins what is running."""


STARTERS: Mapping[type[requests.Request], Starter] = {
    requests.SendRequest: send,
    requests.ReplyRequest: answer,
    requests.RegenerateRequest: regenerate,
    requests.ContinueRequest: continue_,
    requests.EditOwnRequest: edit_own,
    requests.SteerRequest: steer,
    requests.PlayRequest: play,
    requests.FollowRequest: follow,
}
"""Starter of each request of the endpoint `run`; tests/ui/test_acts.py checks that none is missing."""


async def stream(service: ChatService, request: requests.RunRequest) -> AsyncIterator[ChatPatch]:
    """Start what the request asks for; yield patches of the generation, then one of the chat as it is stored."""
    try:
        hint = await STARTERS[type(request)](service, request)
    except StoppedEarly:
        yield {"chat": request.chat, "end": True}
        return
    if hint:
        yield {"chat": request.chat, "end": True, "hint": hint}
        return
    question: list[DrawnTurn] | None = None
    chat = (await service.page(request.visitor, request.chat)).conversation
    viewer = reader(chat.visitor_name, scene=chat.ensemble is not None, director=request.director)
    async for snapshot in service.follow(request.visitor, request.chat):
        question = patches.drawn_question(snapshot, request.language) if question is None else question
        patch = patches.generation_patch(snapshot, question, viewer, request.language)
        if snapshot.state != "running":
            view = await service.view(request.visitor, request.chat)
            patch = {**patch, **patches.chat_patch(view, patches.CHANGED_BY_REPLY, viewer, request.language)}
        yield patch
    if question is None:  # the generation ended before we could follow it
        view = await service.view(request.visitor, request.chat)
        yield {**patches.chat_patch(view, viewer=viewer, interface=request.language), "end": True}
