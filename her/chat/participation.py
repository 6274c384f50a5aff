"""Take part in a playtest: consent, missions, and what a person may do with everything that is stored about them.

Whoever did not agree is refused here, not by the page: nothing is stored for them and no model is called.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from her.chat.ceilings import ADDRESS
from her.chat.service import ChatService
from her.errors import Forbidden, InputError, NotFound
from her.feedback.playtest import FREED_MINUTES, Mission, Playtest
from her.store import Assignment, MissionProgress
from her.store.core import now
from her.store.pseudonyms import pseudonym
from her.store.withdrawals import erase_withdrawn, personal_rows
from her.types import Language


@dataclass(frozen=True)
class AssignedMission:
    """A mission with the place that a visitor has in it, and how far they are; `done_before` counts their finished ones."""

    mission: Mission
    assignment: Assignment
    progress: MissionProgress
    done_before: int = 0

    @property
    def is_done(self) -> bool:
        """Tell whether enough turns were written and everything that the mission asks for was rated."""
        enough = self.progress.turns >= self.mission.least_turns and self.progress.rated >= set(self.mission.rate)
        return self.assignment.done_at is not None or enough


# Consent


async def require_participant(service: ChatService, visitor: str) -> None:
    """Refuse a visitor who did not agree to the text of the playtest as it is now, or who deleted everything.

    Raises:
        Forbidden: one sentence that says what to do.
    """
    if visitor in service.people.withdrawn:
        raise Forbidden("you deleted everything under this code; reload the page to begin anew")
    if await needs_consent(service, visitor):
        raise Forbidden("agree to the text of this playtest first; reload the page to read it")


async def needs_consent(service: ChatService, visitor: str) -> bool:
    """Tell whether this visitor has to agree first: the playtest has a text, and they did not agree to its version."""
    consent = service.people.playtest.consent if service.people.playtest else None
    if consent is None or visitor in service.people.agreed:
        return False
    if await service.in_thread(service.store.agreed_version, visitor, _name(service)) != consent.version:
        return True
    service.people.agreed.add(visitor)
    return False


async def agree(service: ChatService, visitor: str, version: str, language: Language) -> None:
    """Store that a visitor agreed to the text in this language.

    Raises:
        InputError: the playtest has another version now, which the visitor did not read.
    """
    consent = service.people.playtest.consent if service.people.playtest else None
    if consent is None or consent.version != version:
        raise InputError("the text of this playtest is another one now; reload the page to read it")
    if visitor in service.people.withdrawn:
        raise Forbidden("you deleted everything under this code; reload the page to begin anew")
    service.people.pace.take(ADDRESS.get())
    await service.in_thread(service.store.agree, visitor, _name(service), version, language, consent.text(language))
    service.people.agreed.add(visitor)


# Missions


async def current_mission(
    service: ChatService, visitor: str, wanted: str = "", language: Language | None = None
) -> AssignedMission | None:
    """Return the mission that a visitor is at, or give them one; None when there is none for them.

    Args:
        service: the chat service.
        visitor: who asks.
        wanted: id of a mission, from a link; empty for any.
        language: of the page; missions in it are given first. None for any.

    Raises:
        InputError: the wanted mission has no place left.
        NotFound: there is no such mission.
    """
    playtest = service.people.playtest
    if playtest is None or not playtest.missions:
        return None
    if wanted and playtest.mission(wanted) is None:
        raise NotFound("there is no such mission in this playtest; check the link")
    readable = {mission.id for mission in playtest.missions if language_of(service, mission) == language}
    return await service.in_thread(_current, service, playtest, visitor, wanted, readable)


def language_of(service: ChatService, mission: Mission) -> Language:
    """Return the language in which a mission is played."""
    if mission.persona:
        return service.personas[mission.persona].language
    known = service.scenes.get(mission.scene)
    return (known or service.book_scene(mission.scene).scenario).language


def _current(
    service: ChatService, playtest: Playtest, visitor: str, wanted: str, readable: Collection[str]
) -> AssignedMission | None:
    store, places = service.store, {mission.id: mission.people for mission in playtest.missions}
    given = None if wanted else store.current_assignment(visitor, playtest.name, places)
    since = now() - FREED_MINUTES * 60_000
    given = given or store.assign(visitor, playtest.name, places, since=since, wanted=wanted, readable=readable)
    mission = playtest.mission(given.mission) if given else None
    if given is None or mission is None:
        return None
    chat = given.conversation_id
    progress = store.mission_progress(visitor, chat) if chat else MissionProgress()
    found = AssignedMission(mission, given, progress, store.done_missions(visitor, playtest.name))
    if found.is_done and given.done_at is None:
        store.finish_mission(visitor, given.id)
    return found


async def begun(service: ChatService, visitor: str, mission: AssignedMission, chat: str) -> None:
    """Store in which chat a mission is played."""
    await service.in_thread(service.store.begin_mission, visitor, mission.assignment.id, chat)


async def give_up(service: ChatService, visitor: str) -> None:
    """Free the place in the mission that a visitor is at."""
    if service.people.playtest is None:
        return
    missions = {mission.id for mission in service.people.playtest.missions}
    given = await service.in_thread(service.store.current_assignment, visitor, _name(service), missions)
    if given is not None:
        await service.in_thread(service.store.give_up_mission, visitor, given.id)


# Everything about one person


async def personal_file(service: ChatService, visitor: str) -> tuple[str, str]:
    """Return name and text (JSON) of the file with everything that is stored about a visitor."""
    service.people.pace.take(ADDRESS.get())
    rows: dict[str, list[dict[str, Any]]] = await service.in_thread(personal_rows, service.store, visitor)
    content = {
        "name": pseudonym(visitor),
        "playtest": _name(service),
        "written_at": now(),
        "about": "Every row that is stored about you, by table; times are milliseconds since 1970, UTC. Left out are ids of "
        "visitors, prompts (they repeat the turns and the persona), and which model wrote what.",
        "rows": rows,
    }
    return f"her-{content['name']}.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n"


async def delete_everything(service: ChatService, visitor: str) -> None:
    """Delete all rows of a visitor; a mark stays that keeps them out of every export and copy. Replies are stopped first."""
    service.people.pace.take(ADDRESS.get())
    service.people.withdrawn.add(visitor)  # before anything is awaited, so that nothing is written meanwhile
    service.people.agreed.discard(visitor)
    await service.connect(visitor, None)
    for chat in await service.chats(visitor):
        await service.stop(visitor, chat.id)
    await service.in_thread(service.store.withdraw_visitor, visitor, "deleted by the person")
    await service.in_thread(erase_withdrawn, service.store)


def _name(service: ChatService) -> str:
    return service.people.playtest.name if service.people.playtest else ""
