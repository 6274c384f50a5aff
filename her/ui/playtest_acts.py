"""Handlers of a playtest: consent, missions, everything about one person; and the check before every other request."""

from her.chat import participation
from her.chat.participation import AssignedMission
from her.chat.service import ChatService
from her.chat.views import ChatView
from her.errors import HerError, InputError
from her.feedback.playtest import Mission
from her.feedback.rubric import RUBRIC
from her.rollouts import live_scenes
from her.store import Ensemble
from her.types import Language, Persona, Scenario
from her.ui import patches, playtest_requests, requests
from her.ui.answers import ChatPatch, Done, ExportedFile, MissionAnswer, ShownMission
from her.ui.words import words

OPEN_TO_ALL = (
    requests.BootRequest,
    requests.SafetyRequest,
    playtest_requests.AgreeRequest,
    playtest_requests.PersonalFileRequest,
    playtest_requests.DeleteEverythingRequest,
)
"""Requests that are answered without consent: they store nothing, or are how a person gives or takes it back."""


async def require_allowed(service: ChatService, request: requests.Request) -> None:
    """Refuse a request of a visitor who did not agree to the text of the playtest; raises Forbidden."""
    if not isinstance(request, OPEN_TO_ALL):
        await participation.require_participant(service, request.visitor)


async def agree(service: ChatService, request: playtest_requests.AgreeRequest) -> Done:
    """Store that the visitor agreed; answers after the commit."""
    await participation.agree(service, request.visitor, request.version, request.language)
    return {}


async def mission(service: ChatService, request: playtest_requests.MissionRequest) -> MissionAnswer:
    """Show the visitor's mission."""
    return await _answer(service, request, request.mission)


async def give_up_mission(service: ChatService, request: playtest_requests.GiveUpMissionRequest) -> MissionAnswer:
    """Give the visitor's mission back and show another."""
    await participation.give_up(service, request.visitor)
    return await _answer(service, request)


async def begin_mission(service: ChatService, request: playtest_requests.BeginMissionRequest) -> ChatPatch:
    """Open the chat of the visitor's mission, a new one when there is none."""
    found = await participation.current_mission(service, request.visitor, language=request.language)
    if found is None:
        raise InputError(words(request.language)["no_mission"])
    if chat := found.assignment.conversation_id:
        view = await service.view(request.visitor, chat)
    else:
        view = await _opened(service, request.visitor, found.mission, request.name)
        await participation.begun(service, request.visitor, found, view.id)
    return patches.chat_patch(view, viewer=patches.reader_of(view, request.director), interface=request.language)


async def personal_file(service: ChatService, request: playtest_requests.PersonalFileRequest) -> ExportedFile:
    """Return everything that is stored about the visitor as a file."""
    name, text = await participation.personal_file(service, request.visitor)
    return {"name": name, "text": text}


async def delete_everything(service: ChatService, request: playtest_requests.DeleteEverythingRequest) -> Done:
    """Delete everything that is stored about the visitor; answers after the commit."""
    await participation.delete_everything(service, request.visitor)
    return {}


def check_missions(service: ChatService) -> None:
    """Check that every mission of the playtest can be opened.

    Raises:
        InputError: one cannot; the sentence names it.
    """
    for mission in service.people.playtest.missions if service.people.playtest else ():
        try:
            _place(service, mission)
            _require_character(service, mission)
        except HerError as error:
            raise InputError(f"mission '{mission.id}' cannot be opened: {error}") from error


async def _answer(service: ChatService, request: requests.Request, wanted: str = "") -> MissionAnswer:
    found = await participation.current_mission(service, request.visitor, wanted, request.language)
    return {"mission": None if found is None else _shown(service, found, request.language)}


def _shown(service: ChatService, found: AssignedMission, language: Language) -> ShownMission:
    mission = found.mission
    labels = {label.id: label.label(language) for label in RUBRIC.dimensions}
    rated = found.progress.rated
    return {
        "id": mission.id,
        "place": _place(service, mission),
        "goal": mission.goal.text(language),
        "chat": found.assignment.conversation_id or "",
        "turns": found.progress.turns,
        "least": mission.least_turns,
        "rate": [{"id": name, "label": labels[name], "done": name in rated} for name in mission.rate],
        "done": found.is_done,
        "before": found.done_before - (found.assignment.done_at is not None),
        "asks_name": not mission.plays,
    }


def _place(service: ChatService, mission: Mission) -> str:
    """Return persona and scene of a mission as the page shows them; raises NotFound when one of them is not there."""
    persona = _persona(service, mission.persona) if mission.persona else None
    scene = _scene(service, mission.scene) if mission.scene else None
    return " · ".join(text for text in (persona.name if persona else "", (scene.title if scene else "")) if text)


def _persona(service: ChatService, persona: str) -> Persona:
    if persona not in service.personas:
        raise InputError(f"there is no persona '{persona}'")
    return service.personas[persona]


def _scene(service: ChatService, scene: str) -> Scenario:
    return service.scenes[scene] if scene in service.scenes else service.book_scene(scene).scenario


def _cast(service: ChatService, mission: Mission) -> list[str]:
    """Return the names in the scene of a mission."""
    if mission.scene in service.scenes:
        return [_persona(service, name).name for name in service.scenes[mission.scene].personas]
    return [member.name for member in service.book_scene(mission.scene).cast]


def _require_character(service: ChatService, mission: Mission) -> None:
    if mission.persona:
        if mission.scene and mission.scene not in service.scenes:
            raise InputError(f"the scene '{mission.scene}' of a book has its own cast; leave 'persona' out")
        return
    cast = _cast(service, mission)
    if mission.plays and mission.plays not in cast:
        raise InputError(f"nobody is called '{mission.plays}' in its scene; 'as' is one of {', '.join(cast)}")
    if not mission.plays and mission.scene not in service.scenes:
        raise InputError(f"whom the person plays in a book is not said; write 'as' with one of {', '.join(cast)}")
    least = 2 if mission.plays or len(cast) > 1 else 1
    if len(cast) < least:
        raise InputError(f"its scene names {len(cast)} personas, and {least} are needed; write 'persona' beside 'scene'")


async def _opened(service: ChatService, visitor: str, mission: Mission, name: str) -> ChatView:
    """Begin the chat of a mission."""
    if mission.persona:
        return await service.start(visitor, persona=mission.persona, scene=mission.scene, name=name)
    ensemble = Ensemble(next_speaker="mention", seed=len(name))
    if mission.scene not in service.scenes:
        cast = _cast(service, mission)
        return await live_scenes.start_book(service, visitor, mission.scene, cast, ensemble=ensemble, me=mission.plays)
    personas = service.scenes[mission.scene].personas
    if len(personas) == 1:
        return await service.start(visitor, persona=personas[0], scene=mission.scene, name=name)
    visitor_word = words(service.scenes[mission.scene].language)["visitor"]
    own = {"me": mission.plays} if mission.plays else {"name": name.strip() or visitor_word}
    return await live_scenes.start_own(service, visitor, personas, ensemble=ensemble, scene=mission.scene, **own)
