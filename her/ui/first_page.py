"""Answers for the first page: words, rubric, personas, books and the list of chats."""

from collections.abc import Sequence

from her import paths
from her.characters.coser import Book
from her.chat import participation
from her.chat.openings import HERE, greeting_turn
from her.chat.service import ChatService
from her.errors import NotFound
from her.feedback.rubric import RUBRIC, Label
from her.store.pseudonyms import pseudonym
from her.types import Language, Persona, Scenario
from her.ui import bubbles, requests
from her.ui.answers import (
    Boot,
    ChatList,
    OfferedScene,
    PersonaCard,
    PersonaDetail,
    RubricLabel,
    SafetyAnswer,
    ShelvedBook,
    ShownPlaytest,
    ShownRubric,
    ShownSafety,
    StagedScene,
)
from her.ui.author_acts import is_author
from her.ui.words import words


async def boot(service: ChatService, request: requests.BootRequest) -> Boot:
    """Return everything the first page needs in its language."""
    texts = words(request.language)
    model = service.backend_for(request.visitor).describe()
    return {
        "words": texts,
        "rubric": shown_rubric(request.language),
        "personas": [persona_card(persona) for persona in service.personas.values()],
        "books": [shelved_book(book) for book in service.books],
        "scenes": [staged_scene(scene) for scene in service.scenes.values()],
        # In a playtest with comparisons it may be the name of an arm.
        "badge": texts["scripted_badge"] if model.scripted else "" if service.comparing else model.model,
        "scripted": model.scripted,
        "notice": texts["ephemeral"] if paths.ephemeral() else "",
        "safety": await _shown_safety(service),
        "rater": pseudonym(request.visitor),
        "playtest": await _shown_playtest(service, request),
        "author": is_author(service),
    }


async def _shown_playtest(service: ChatService, request: requests.BootRequest) -> ShownPlaytest | None:
    playtest = service.people.playtest
    if playtest is None:
        return None
    asked = playtest.consent if await participation.needs_consent(service, request.visitor) else None
    return {
        "name": playtest.name,
        "consent": asked.text(request.language) if asked else "",
        "version": asked.version if asked else "",
        "missions": bool(playtest.missions),
    }


async def safety(service: ChatService, request: requests.SafetyRequest) -> SafetyAnswer:
    """Return how far what people wrote is kept outside this machine."""
    return {"safety": await _shown_safety(service)}


async def _shown_safety(service: ChatService) -> ShownSafety | None:
    known = await service.safety_now()
    return None if known is None else {"waiting": known.waiting, "age": round(known.age, 1), "alarm": known.alarm}


async def persona_detail(service: ChatService, request: requests.PersonaRequest) -> PersonaDetail:
    """Return profile, greetings and scenes of one persona; NotFound for an unknown id."""
    persona = service.personas.get(request.persona)
    if persona is None:
        raise NotFound(f"there is no persona '{request.persona}'; reload the page to see the personas")
    texts = words(persona.language)
    slots = (texts["visitor"], HERE[persona.language])
    greetings = [greeting_turn(text, persona.name, slots).parts for text in persona.greetings]
    return {
        "profile": persona.profile.strip(),
        "greetings": [bubbles.layers(parts, texts) for parts in greetings],
        "scenes": offered_scenes(service, persona),
    }


async def chat_list(service: ChatService, request: requests.ListChatsRequest) -> ChatList:
    """List the visitor's chats, the last used first."""
    untitled = words(request.language)["untitled"]
    return {
        "chats": [
            {
                "id": chat.id,
                "title": chat.title or untitled,
                "letters": bubbles.monogram(chat.speaker),
                "colour": chat.colour,
                "last": chat.last,
                "at": chat.updated_at,
            }
            for chat in await service.chats(request.visitor)
        ]
    }


def offered_scenes(service: ChatService, persona: Persona) -> list[OfferedScene]:
    """List the scenes in the persona's language: first those written for it, then those for anybody, then the rest."""
    scenes = sorted(
        (scene for scene in service.scenes.values() if scene.language == persona.language),
        key=lambda scene: (persona.id not in scene.personas, bool(scene.personas)),
    )
    return [
        {"id": scene.id, "title": scene.title, "setting": scene.setting.strip(), "suits": persona.id in scene.personas}
        for scene in scenes
    ]


def persona_card(persona: Persona) -> PersonaCard:
    """Return what the first page shows of a persona."""
    return {
        "id": persona.id,
        "name": persona.name,
        "source": persona.source,
        "tagline": persona.tagline,
        "language": persona.language,
        "colour": persona.colour,
        "tags": list(persona.tags),
        "letters": bubbles.monogram(persona.name),
    }


def staged_scene(scene: Scenario) -> StagedScene:
    """Return what the form of a scene shows of a setting."""
    return {
        "id": scene.id,
        "title": scene.title,
        "setting": scene.setting.strip(),
        "language": scene.language,
        "personas": list(scene.personas),
    }


def shelved_book(book: Book) -> ShelvedBook:
    """Return what the first page shows of a book."""
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


def shown_rubric(language: Language) -> ShownRubric:
    """Return the rubric in use in one language."""
    return {
        "id": RUBRIC.version,
        "dimensions": _labels(RUBRIC.dimensions, language),
        "tags": _labels(RUBRIC.tags, language),
    }


def _labels(labels: Sequence[Label], language: Language) -> list[RubricLabel]:
    return [
        {"id": label.id, "label": label.label(language), "hint": label.hint(language), "low": low, "high": high}
        for label, (low, high) in ((label, label.ends(language)) for label in labels)
    ]
