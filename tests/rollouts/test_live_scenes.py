"""her/rollouts/live_scenes.py with the chat service and a store: scenes of several characters are begun, played and rated."""

import asyncio

import pytest

from her.chat.ensembles import open_own_scene
from her.chat.generation import StoppedEarly
from her.chat.service import ChatService
from her.errors import InputError, NotFound
from her.feedback.rubric import RUBRIC
from her.rollouts import live_scenes
from her.store import Ensemble, Rating, Store
from her.store.exports import rated_replies
from her.types import ENVIRONMENT
from tests.players import ANNE, BERT, BOOK, MARA, STORM, Actor, ended

RUBRIC_STARS = {"engaging": 4}
TURNS = Ensemble(next_speaker="round_robin", seed=1)
BY_MODEL = Ensemble(next_speaker="model", seed=1)
THREE = ["Iago", "Roderigo", "Brabantio"]


def service(store: Store, *replies: str) -> ChatService:
    actor = Actor(*([reply] for reply in replies or ("<role_thinking>SECRET</role_thinking>Well.",)))
    zhen = MARA.model_copy(update={"id": "zhen", "name": "阿珍", "language": "zh"})
    tom = MARA.model_copy(update={"id": "tom", "name": "Tom", "colour": "#112233"})
    return ChatService(store, actor, {"mara": MARA, "tom": tom, "zhen": zhen}, {"storm": STORM}, (BOOK,))


async def begun(chats: ChatService, me: str = "", ensemble: Ensemble = TURNS, replay: int = 0) -> str:
    return (await live_scenes.start_book(chats, ANNE, "venice", THREE, ensemble=ensemble, me=me, replay=replay)).id


async def played(chats: ChatService, chat: str, name: str = "") -> str:
    speaker = await live_scenes.play(chats, ANNE, chat, name=name)
    if generation := chats.running(chat):
        assert (await ended(generation)).state == "done"
    return speaker


async def test_a_book_scene_is_played_in_turn(store: Store) -> None:
    chats = service(store)
    chat = await begun(chats, me="Brabantio")
    assert [await played(chats, chat) for _ in range(3)] == ["Iago", "Roderigo", "Brabantio"]
    view = await live_scenes.say(chats, ANNE, chat, "What is the matter?")
    assert [(each.turn.speaker, each.origin, each.mine, each.played) for each in view.turns] == [
        ("Iago", "model", False, True),
        ("Roderigo", "model", False, True),
        ("Brabantio", "visitor", True, False),
    ]
    assert await played(chats, chat) == "Iago"
    sent = [" ".join(message.content for message in messages) for messages in chats.backend.sent]  # type: ignore[attr-defined]
    assert "SECRET" not in sent[1] and sent[1].startswith("You are Roderigo") and "SECRET" in sent[2]


async def test_swipes_and_continuations_stay_with_their_speaker(store: Store) -> None:
    chats = service(store)
    chat = await begun(chats)
    for _ in range(2):
        await played(chats, chat)
    node = (await chats.view(ANNE, chat)).turns[1].turn.id
    assert (await ended(await chats.regenerate(ANNE, chat, node))).state == "done"
    view = await chats.view(ANNE, chat)
    assert (view.turns[1].turn.speaker, view.turns[1].swipe_count) == ("Roderigo", 2)
    assert [each.name for each in view.cast] == THREE and len(set(view.colours)) == 3
    edited = await chats.edit_played(ANNE, chat, view.turns[1].turn.id, "Never.")
    assert edited.turns[1].edited and len(store.siblings(ANNE, chat, edited.turns[1].turn.id)) == 3


async def test_a_rewritten_line_of_the_visitor_is_answered_by_whoever_answered_it(store: Store) -> None:
    chats = service(store, "Well.")
    chat = await begun(chats, me="Iago")
    await live_scenes.say(chats, ANNE, chat, "Who is there?")
    await played(chats, chat, "Brabantio")
    mine = (await chats.view(ANNE, chat)).turns[0].turn.id
    assert (await ended(await chats.edit_own(ANNE, chat, mine, "Who goes there?"))).state == "done"
    turns = (await chats.view(ANNE, chat)).turns
    assert [(each.turn.speaker, each.turn.text()) for each in turns] == [("Iago", "Who goes there?"), ("Brabantio", "Well.")]


async def test_personas_the_visitor_and_a_narrator(store: Store) -> None:
    chats = service(store, "Well.")
    view = await live_scenes.start_own(chats, ANNE, ["mara", "tom"], ensemble=TURNS, scene="storm", name="Anne")
    assert [each.name for each in view.cast] == ["Mara", "Tom", "Anne"] and view.colours[:2] == ("#334455", "#112233")
    assert [each.turn.text() for each in view.turns] == ["Rain beats the glass."] and view.visitor_name == "Anne"
    assert await played(chats, view.id, "Tom") == "Tom"
    assert await played(chats, view.id, ENVIRONMENT) == ENVIRONMENT
    turns = (await chats.view(ANNE, view.id)).turns
    assert [each.turn.speaker for each in turns] == [ENVIRONMENT, "Tom", ENVIRONMENT] and turns[-1].played


async def test_characters_come_and_go(store: Store) -> None:
    chats = service(store, "Well.")
    chat = await begun(chats, me="Brabantio")
    view = await live_scenes.move(chats, ANNE, chat, "Iago")
    assert view.absent == ("Iago",) and view.turns[-1].turn.leaves == ("Iago",) and not view.turns[-1].played
    with pytest.raises(InputError, match="Iago is not there now"):
        await live_scenes.play(chats, ANNE, chat, name="Iago")
    assert await played(chats, chat) == "Roderigo"
    assert (await live_scenes.move(chats, ANNE, chat, "Iago")).absent == ()
    await live_scenes.move(chats, ANNE, chat, "Brabantio")
    with pytest.raises(InputError, match="Brabantio is not there now; come in first"):
        await live_scenes.say(chats, ANNE, chat, "Hello?")
    with pytest.raises(InputError, match="nobody is called 'Bob'"):
        await live_scenes.move(chats, ANNE, chat, "Bob")


async def test_a_model_chooses_and_may_end_it(store: Store) -> None:
    chats = service(store, "One.", "Next Speaker: Brabantio", "Two.", "Next Speaker: <END CHAT>")
    chat = await begun(chats, ensemble=BY_MODEL, replay=4)
    assert await played(chats, chat, "Iago") == "Iago"
    assert await played(chats, chat) == "Brabantio"
    assert await played(chats, chat) == ""


async def test_the_choice_may_be_stopped(store: Store) -> None:
    never = asyncio.Event()
    chats = service(store)
    chat = await begun(chats, ensemble=BY_MODEL)
    await played(chats, chat, "Iago")
    chats.backend.replies = [[never]]  # type: ignore[attr-defined]
    playing = asyncio.create_task(live_scenes.play(chats, ANNE, chat))
    while chat not in chats.choosing:
        await asyncio.sleep(0.001)
    with pytest.raises(InputError, match="a reply is being written"):
        await live_scenes.play(chats, ANNE, chat)
    with pytest.raises(NotFound):
        await chats.stop(BERT, chat)
    await chats.stop(ANNE, chat)
    with pytest.raises(StoppedEarly):
        await playing
    assert chats.choosing == {} and len((await chats.view(ANNE, chat)).turns) == 1


async def test_each_character_is_rated_by_itself(store: Store) -> None:
    chats = service(store, "Well.")
    chat = await begun(chats, me="Brabantio")
    await played(chats, chat)
    turn = (await chats.view(ANNE, chat)).turns[0].turn.id
    given = Rating(rubric=RUBRIC.version, stars=RUBRIC_STARS)
    for name, stars in (("Iago", 2), ("Iago", 4), ("Roderigo", 5)):
        await live_scenes.rate_character(chats, ANNE, chat, name, given.model_copy(update={"stars": {"engaging": stars}}))
    await chats.rate(ANNE, chat, turn, given)
    await chats.rate(ANNE, chat, None, given)
    view = await chats.view(ANNE, chat)
    assert {name: rated.rating.stars["engaging"] for name, rated in view.characters.items()} == {"Iago": 4, "Roderigo": 5}
    assert view.rating is not None and view.turns[0].rating is not None
    rows = {(row.speaker, row.rated.character, row.reply is not None) for row in rated_replies(store)}
    assert rows == {("Iago", "Iago", False), ("Roderigo", "Roderigo", False), ("Iago", "", True), ("Iago", "", False)}
    for name in ("Brabantio", "Bob"):
        with pytest.raises(InputError, match="does not play"):
            await live_scenes.rate_character(chats, ANNE, chat, name, given)


@pytest.mark.parametrize(
    ("names", "me", "replay", "sentence"),
    [
        (["Iago"], "", 0, "has 1 characters; choose 2 to 6"),
        (["Iago", "Bob"], "", 0, "nobody is called 'Bob' in this scene; choose one of Iago"),
        (["Iago", "Roderigo"], "Brabantio", 0, "you play 'Brabantio', who takes no part"),
        (THREE, "", 9, "replay from 0 to 4 of them, not 9"),
    ],
)
async def test_book_scenes_that_cannot_be_begun(store: Store, names: list[str], me: str, replay: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        await live_scenes.start_book(service(store), ANNE, "venice", names, ensemble=TURNS, me=me, replay=replay)


async def test_own_scenes_that_cannot_be_begun(store: Store) -> None:
    chats = service(store)
    for personas, fields, sentence in (
        (["mara"], {}, "has 1 characters"),
        (["mara", "zhen"], {}, "different languages"),
        (["mara", "nobody"], {}, "there is no persona 'nobody'"),
        (["mara", "tom"], {"scene": "calm"}, "there is no scene 'calm'"),
        (["mara", "tom"], {"name": "TOM"}, "is a persona's name"),
        ([], {}, "has no characters"),
    ):
        with pytest.raises((InputError, NotFound), match=sentence):
            await live_scenes.start_own(chats, ANNE, personas, ensemble=TURNS, **fields)
    assert open_own_scene([MARA, MARA.model_copy(update={"name": "Tom"})], None, "Tom", TURNS).draft.speaker == "Mara"


async def test_only_scenes_are_played_so_and_only_by_their_owner(store: Store) -> None:
    chats = service(store)
    single = (await chats.start(ANNE, persona="mara")).id
    with pytest.raises(InputError, match="this chat has one character"):
        await live_scenes.play(chats, ANNE, single, name="Mara")
    with pytest.raises(InputError, match="this chat has one character"):
        await live_scenes.say(chats, ANNE, single, "Hello.")
    chat = await begun(chats, ensemble=Ensemble(next_speaker="manual"))
    with pytest.raises(NotFound):
        await live_scenes.play(chats, BERT, chat, name="Iago")
    with pytest.raises(InputError, match="you choose who speaks"):
        await live_scenes.play(chats, ANNE, chat)
    with pytest.raises(InputError, match="you play nobody in this scene"):
        await live_scenes.say(chats, ANNE, chat, "Hello.")
    with pytest.raises(InputError, match="the model does not play 'Bob'"):
        await live_scenes.play(chats, ANNE, chat, name="Bob")
