"""Handlers of the endpoint `act`: one function for each request, and the table that names them.

A handler takes the chat service and a checked request. It raises HerError for what cannot be done; the sentence of the
error is shown to the visitor.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from her import format as notation
from her.chat import undo
from her.chat.service import ChatService
from her.chat.views import ChatView
from her.errors import NotFound
from her.feedback.rubric import read_rating
from her.rollouts import live_scenes
from her.store import Ensemble
from her.ui import author_acts, author_requests, ballot_acts, first_page, patches, playtest_acts, playtest_requests, requests
from her.ui.answers import ChatPatch, Done, ExportedFile, PageAnswer, SavedRating, TurnSource

Handler = Callable[[ChatService, Any], Awaitable[PageAnswer]]


async def start(service: ChatService, request: requests.StartRequest) -> ChatPatch:
    """Start a chat with a persona and show it."""
    view = await service.start(
        request.visitor,
        persona=request.persona,
        scene=request.scene,
        name=request.name,
        about=request.about,
        greeting=request.greeting,
    )
    return _shown(request, view)


async def start_book(service: ChatService, request: requests.StartBookRequest) -> ChatPatch:
    """Start a chat in a scene of a book and show it."""
    view = await service.start_book(
        request.visitor, scenario=request.scenario, me=request.me, model=request.model, replay=request.replay
    )
    return _shown(request, view)


async def start_scene(service: ChatService, request: requests.StartSceneRequest) -> ChatPatch:
    """Start a scene with several personas and show it."""
    view = await live_scenes.start_own(
        service,
        request.visitor,
        request.personas,
        ensemble=_ensemble(request),
        scene=request.scene,
        me=request.me,
        name=request.name,
    )
    return _shown(request, view)


async def start_book_scene(service: ChatService, request: requests.StartBookSceneRequest) -> ChatPatch:
    """Start a scene of a book with several of its cast and show it."""
    view = await live_scenes.start_book(
        service,
        request.visitor,
        request.scenario,
        request.names,
        ensemble=_ensemble(request),
        me=request.me,
        replay=request.replay,
    )
    return _shown(request, view)


async def say(service: ChatService, request: requests.SayRequest) -> ChatPatch:
    """Add a turn of the visitor's character to a scene."""
    return _shown(request, await live_scenes.say(service, request.visitor, request.chat, request.text))


async def move(service: ChatService, request: requests.MoveRequest) -> ChatPatch:
    """Let a character of a scene leave, or come in."""
    return _shown(request, await live_scenes.move(service, request.visitor, request.chat, request.character))


async def rate_character(service: ChatService, request: requests.RateCharacterRequest) -> SavedRating:
    """Store a rating of a character of a scene; answers after the commit."""
    rating = read_rating(request.rating)
    saved = await live_scenes.rate_character(service, request.visitor, request.chat, request.character, rating)
    return {"saved": saved}


async def open_chat(service: ChatService, request: requests.OpenRequest) -> ChatPatch:
    """Show a chat as it is stored."""
    return _shown(request, await service.view(request.visitor, request.chat))


async def older(service: ChatService, request: requests.OlderRequest) -> ChatPatch:
    """Show the turns above a turn."""
    view = await service.view(request.visitor, request.chat)
    return patches.older_turns(view, request.node, patches.reader_of(view, request.director), request.language)


async def replay(service: ChatService, request: requests.ReplayRequest) -> ChatPatch:
    """Show the next turns of the book."""
    return _shown(request, await service.replay(request.visitor, request.chat, request.count))


async def swipe(service: ChatService, request: requests.SwipeRequest) -> ChatPatch:
    """Show the sibling before or after a turn; `focus` is the turn that stands in its place now."""
    before = await service.view(request.visitor, request.chat)
    index = _index(before, request.node)
    view = await service.swipe(request.visitor, request.chat, request.node, request.step)
    return {**_shown(request, view), "focus": view.turns[index].turn.id}


async def keep(service: ChatService, request: requests.KeepRequest) -> ChatPatch:
    """Record that a reply is preferred to its swipes; answers after the commit."""
    saved = await service.keep(request.visitor, request.chat, request.node, request.seen)
    return {**_shown(request, await service.view(request.visitor, request.chat)), "saved": saved}


async def rate(service: ChatService, request: requests.RateRequest) -> SavedRating:
    """Store a rating; answers after the commit."""
    rating = read_rating(request.rating)
    return {"saved": await service.rate(request.visitor, request.chat, request.node, rating)}


async def source(service: ChatService, request: requests.SourceRequest) -> TurnSource:
    """Return the text of a turn for the editor; thoughts that are hidden from the visitor cannot be edited either."""
    view = await service.view(request.visitor, request.chat)
    shown = patches.whole_turn(view, request.node, request.director, request.language)
    return {"text": shown.turn.text("speech") if shown.mine else notation.render_coser(shown.turn.parts)}


async def edit_played(service: ChatService, request: requests.EditPlayedRequest) -> ChatPatch:
    """Rewrite a turn of the model."""
    return _shown(request, await service.edit_played(request.visitor, request.chat, request.node, request.text))


async def branch(service: ChatService, request: requests.BranchRequest) -> ChatPatch:
    """Copy the chat up to a turn into a new chat and show the copy."""
    return _shown(request, await service.branch(request.visitor, request.chat, request.node))


async def delete(service: ChatService, request: requests.DeleteRequest) -> ChatPatch:
    """Delete a turn and everything below it."""
    return _shown(request, await service.delete(request.visitor, request.chat, request.node))


async def select(service: ChatService, request: requests.SelectRequest) -> ChatPatch:
    """Show the path through a turn, which another branch holds."""
    return _shown(request, await service.select(request.visitor, request.chat, request.node))


async def restore(service: ChatService, request: requests.RestoreRequest) -> ChatPatch:
    """Bring a deleted turn back."""
    return _shown(request, await undo.restore(service, request.visitor, request.chat, request.node))


async def restore_chat(service: ChatService, request: requests.RestoreChatRequest) -> ChatPatch:
    """Bring a deleted chat back and show it."""
    return _shown(request, await undo.restore_chat(service, request.visitor, request.chat))


async def delete_chat(service: ChatService, request: requests.DeleteChatRequest) -> Done:
    """Delete a chat."""
    await service.delete_chat(request.visitor, request.chat)
    return {}


async def rename(service: ChatService, request: requests.RenameRequest) -> ChatPatch:
    """Change the title of a chat."""
    view = await service.rename(request.visitor, request.chat, request.text)
    return {"chat": view.id, "view": patches.chat_frame(view, request.language)}


async def export(service: ChatService, request: requests.ExportRequest) -> ExportedFile:
    """Return the shown path of a chat as a file."""
    name, text = await service.export(request.visitor, request.chat, request.format, request.director)
    return {"name": name, "text": text}


async def stop(service: ChatService, request: requests.StopRequest) -> Done:
    """Stop the running generation and keep its text."""
    await service.stop(request.visitor, request.chat)
    return {}


HANDLERS: Mapping[type[requests.Request], Handler] = {
    requests.BootRequest: first_page.boot,
    requests.SafetyRequest: first_page.safety,
    playtest_requests.AgreeRequest: playtest_acts.agree,
    playtest_requests.MissionRequest: playtest_acts.mission,
    playtest_requests.BeginMissionRequest: playtest_acts.begin_mission,
    playtest_requests.GiveUpMissionRequest: playtest_acts.give_up_mission,
    playtest_requests.PersonalFileRequest: playtest_acts.personal_file,
    playtest_requests.DeleteEverythingRequest: playtest_acts.delete_everything,
    author_requests.AuthorRequest: author_acts.author,
    author_requests.DraftPersonaRequest: author_acts.draft,
    author_requests.SavePersonaRequest: author_acts.save,
    requests.PersonaRequest: first_page.persona_detail,
    requests.ListChatsRequest: first_page.chat_list,
    requests.StartRequest: start,
    requests.StartBookRequest: start_book,
    requests.StartSceneRequest: start_scene,
    requests.StartBookSceneRequest: start_book_scene,
    requests.SayRequest: say,
    requests.MoveRequest: move,
    requests.RateCharacterRequest: rate_character,
    requests.OpenRequest: open_chat,
    requests.OlderRequest: older,
    requests.ReplayRequest: replay,
    requests.SwipeRequest: swipe,
    requests.KeepRequest: keep,
    requests.RateRequest: rate,
    requests.SourceRequest: source,
    requests.EditPlayedRequest: edit_played,
    requests.BranchRequest: branch,
    requests.DeleteRequest: delete,
    requests.DeleteChatRequest: delete_chat,
    requests.SelectRequest: select,
    requests.RestoreRequest: restore,
    requests.RestoreChatRequest: restore_chat,
    requests.RenameRequest: rename,
    requests.ExportRequest: export,
    requests.StopRequest: stop,
    requests.VoteRequest: ballot_acts.vote,
    requests.GoOnRequest: ballot_acts.skip_or_choose,
    requests.ReasonsRequest: ballot_acts.reasons,
}
"""Handler of each request of the endpoint `act`; tests/ui/test_acts.py checks that none is missing."""


def _ensemble(request: requests.StartSceneRequest | requests.StartBookSceneRequest) -> Ensemble:
    # Another seed for each scene, since the draws of two scenes need not be equal; it is stored with the scene.
    return Ensemble(next_speaker=request.next_speaker, narrator=request.narrator, seed=secrets.randbits(31))


def _shown(request: requests.Request, view: ChatView) -> ChatPatch:
    return patches.chat_patch(view, viewer=patches.reader_of(view, request.director), interface=request.language)


def _index(view: ChatView, node: str) -> int:
    for index, shown in enumerate(view.turns):
        if shown.turn.id == node:
            return index
    raise NotFound("this turn is no longer shown in this chat; reload the page")
