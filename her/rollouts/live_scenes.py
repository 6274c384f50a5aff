"""Play scenes of several characters in the playground: the visitor is one of them or looks on, the model plays the rest.

A scene is a chat (her/chat): its turns are stored, streamed, swiped, edited and rated as any other. This module adds what several
characters need: whose turn is next, by the rules of `SceneEngine`, who comes and goes, and a rating for each character.
"""

import asyncio
from collections.abc import Sequence

from her.chat.ensembles import moving_turn, open_book_scene, open_own_scene
from her.chat.generation import StoppedEarly
from her.chat.openings import clean_message
from her.chat.pages import Page
from her.chat.service import ChatService
from her.chat.views import ChatView
from her.errors import InputError, NotFound
from her.feedback.rubric import check_rating
from her.format import plain_turn
from her.rollouts.players import BackendPlayer, Players
from her.rollouts.scene import NextSpeakerMode, SceneEngine, SceneSettings
from her.store import Conversation, Ensemble, Rating
from her.types import Sampling
from her.view import absent

CHOOSING = Sampling(temperature=0.3, max_tokens=1024)
"""Of the call that chooses the next speaker; a model that reasons first needs more tokens than a name has."""
ENDLESS = 1_000_000


async def start_own(
    chats: ChatService,
    visitor: str,
    personas: Sequence[str],
    *,
    ensemble: Ensemble,
    scene: str = "",
    me: str = "",
    name: str = "",
) -> ChatView:
    """Start a scene with personas, by their ids; `me` is the name of one of them, or `name` one of the visitor's own."""
    for persona in personas:
        if persona not in chats.personas:
            raise NotFound(f"there is no persona {persona[:60]!r} here; choose one from the list")
    if scene and scene not in chats.scenes:
        raise NotFound(f"there is no scene {scene[:60]!r} here; choose one from the list")
    cast = [chats.personas[persona] for persona in dict.fromkeys(personas)]
    return await chats.start_scene(visitor, open_own_scene(cast, chats.scenes.get(scene), me, ensemble, name))


async def start_book(
    chats: ChatService,
    visitor: str,
    scenario: str,
    names: Sequence[str],
    *,
    ensemble: Ensemble,
    me: str = "",
    replay: int = 0,
) -> ChatView:
    """Start a scene of an open book with some of its cast."""
    return await chats.start_scene(visitor, open_book_scene(chats.book_scene(scenario), names, me, ensemble, replay))


async def say(chats: ChatService, visitor: str, chat: str, text: str) -> ChatView:
    """Add a turn of the visitor's character; nobody answers yet."""

    def change(page: Page) -> None:
        _require_scene(page.conversation)
        name = page.conversation.visitor_name
        if not name:
            raise InputError("you play nobody in this scene; let the others play, or begin it again with a character of yours")
        if name in absent(page.transcript()):
            raise InputError(f"{name} is not there now; come in first")
        turn = plain_turn(name, clean_message(text, chats.limits.max_message_chars))
        chats.store.add_turn(visitor, chat, page.conversation.head_id, turn, "visitor")

    return await chats.change(visitor, chat, change)


async def move(chats: ChatService, visitor: str, chat: str, name: str) -> ChatView:
    """Let a character leave, or come in when they are not there; the narrator says so."""

    def change(page: Page) -> None:
        chats.store.add_turn(visitor, chat, page.conversation.head_id, moving_turn(page, name), "opening")

    return await chats.change(visitor, chat, change)


async def rate_character(chats: ChatService, visitor: str, chat: str, name: str, rating: Rating) -> int:
    """Store a rating of how a character is played; returns the time of the commit (UTC, ms)."""
    conversation = (await chats.page(visitor, chat)).conversation
    _require_scene(conversation)
    if not conversation.plays(name) or name not in {member.name for member in conversation.cast}:
        raise InputError(f"the model does not play {name[:60]!r} in this scene; rate one of its characters")
    return await chats.rate_character(visitor, chat, name, check_rating(rating))


async def play(
    chats: ChatService,
    visitor: str,
    chat: str,
    *,
    name: str = "",
    mode: NextSpeakerMode | None = None,
    narrator: bool | None = None,
) -> str:
    """Start the next turn of a scene and return whose it is.

    Args:
        chats: the chat service.
        visitor: owner of the chat.
        chat: the scene.
        name: who speaks; empty lets the mode choose.
        mode: how the next speaker is chosen; default that of the scene.
        narrator: whether the environment takes turns; default as the scene says.

    Returns:
        The speaker. For the visitor's own character nothing was started: it is their turn. Empty when the scene has come to its
        end, or nobody is there.

    Raises:
        InputError: the mode is `manual` and no name is given, or the character cannot speak now.
        StoppedEarly: the visitor stopped the choice.
    """
    page = await chats.page(visitor, chat)
    ensemble = _require_scene(page.conversation)
    own = {"next_speaker": mode or ensemble.next_speaker, "narrator": ensemble.narrator if narrator is None else narrator}
    if not name:
        name = await _choose(chats, page, ensemble.model_copy(update=own))
    if name and name != page.conversation.visitor_name:
        await chats.play(visitor, chat, name)
    return name


async def _choose(chats: ChatService, page: Page, ensemble: Ensemble) -> str:
    """Return who is next; `ChatService.stop` may cancel it meanwhile."""
    chat = page.conversation
    if ensemble.next_speaker == "manual":
        raise InputError("you choose who speaks; choose a character above the text field")
    if chat.id in chats.choosing or chats.running(chat.id) is not None:
        raise InputError("a reply is being written in this chat; wait for it or stop it first")
    task = asyncio.create_task(_chosen(chats, page, ensemble), name=f"next speaker {chat.id}")
    chats.choosing[chat.id] = task
    try:
        return await task
    except asyncio.CancelledError as error:
        if task.cancelled() and not _is_cancelled():
            raise StoppedEarly("stopped before the next speaker was chosen; the scene is unchanged") from error
        task.cancel()
        raise
    finally:
        del chats.choosing[chat.id]


def _is_cancelled() -> bool:
    """Tell whether the request itself is cancelled, and not only the choice."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


async def _chosen(chats: ChatService, page: Page, ensemble: Ensemble) -> str:
    conversation = page.conversation
    player = BackendPlayer(chats.backend_for(conversation.visitor_id), CHOOSING)
    players = Players(actor=player, environment=player if ensemble.narrator else None, next_speaker=player)
    settings = SceneSettings(
        rounds=ENDLESS,
        next_speaker=ensemble.next_speaker,
        seed=ensemble.seed,
        narrator_every=len(conversation.cast) + 1,
    )
    engine = SceneEngine(conversation.scenario, conversation.cast, players, settings, resume=page.transcript())
    chosen = await engine.choose()
    return "" if isinstance(chosen, str) else chosen[0]


def _require_scene(conversation: Conversation) -> Ensemble:
    if conversation.ensemble is None:
        raise InputError("this chat has one character; begin a scene for several")
    return conversation.ensemble
