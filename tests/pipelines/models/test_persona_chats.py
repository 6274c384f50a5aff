"""pipelines/models/persona_chats.py: chats have the prompts and replies that the playground would have."""

from collections import Counter
from pathlib import Path

import pytest

from her.backends.scripted import ScriptedBackend
from her.characters.personas import load_persona, load_personas, save_persona
from her.characters.scenes import load_scenes
from her.chat.service import ChatService
from her.errors import InputError
from her.format import parse
from her.store import Store
from her.types import ENVIRONMENT, Exchange, Persona, Sample
from pipelines.models.persona_chats import BUNDLED, VISITORS, PersonaChat, chat_files, chat_samples, persona_chats
from tests.players import ANNE, ended


@pytest.fixture(scope="module")
def chats() -> list[PersonaChat]:
    return list(persona_chats(BUNDLED, chats=6, exchanges=8, seed=1))


@pytest.fixture(scope="module")
def samples(chats: list[PersonaChat]) -> list[Sample]:
    return list(chat_samples(chats))


@pytest.mark.whole
def test_every_persona_speaks_in_each_of_its_scenes(chats: list[PersonaChat]) -> None:
    personas, scenes = load_personas(), load_scenes()
    spoken = Counter(chat.speaker for chat in chats)
    assert spoken == {persona.name: 6 for persona in personas.values()}
    for persona in personas.values():
        places = {chat.transcript.scenario.id for chat in chats if chat.speaker == persona.name}
        assert places >= {scene.id for scene in scenes.values() if persona.id in scene.personas}
        assert any(place not in scenes for place in places), "and in none"
    assert {chat.transcript.scenario.language for chat in chats} == {"en", "zh"}
    assert len({member.name for chat in chats for member in chat.transcript.cast}) > len(personas) + 8


def test_no_exchange_is_twice_in_a_chat_and_all_are_used(chats: list[PersonaChat]) -> None:
    used: dict[str, Counter[str]] = {}
    for chat in chats:
        plans = [turn.text("system_thinking") for turn in chat.transcript.turns if turn.id in chat.replies]
        assert len(set(plans)) == len(plans) == 8
        used.setdefault(chat.speaker, Counter()).update(plans)
    for persona in load_personas().values():
        rounds = 6 * 8 / len(persona.exchanges)
        assert all(count <= rounds + 2 for count in used[persona.name].values())
        assert len(used[persona.name]) >= min(len(persona.exchanges), 48) - 2


def test_every_reply_is_a_target_with_its_plan_and_no_greeting_is(chats: list[PersonaChat], samples: list[Sample]) -> None:
    assert len(samples) == sum(len(chat.replies) for chat in chats) == 17 * 6 * 8
    for sample in samples:
        target = sample.messages[-1].content
        assert not parse(target, sample.speaker, others=(ENVIRONMENT,), notation="her").defects
        assert "{" not in target and not any("<system_thinking>" in message.content for message in sample.messages[1:-1])


@pytest.mark.whole
def test_the_seed_decides_all(chats: list[PersonaChat]) -> None:
    assert list(persona_chats(BUNDLED, 6, 8, 1)) == chats
    assert [chat.transcript.id for chat in persona_chats(BUNDLED, 1, 8, 2)] != [chat.transcript.id for chat in chats[::6]]
    assert len({turn.id for chat in chats for turn in chat.transcript.turns}) == sum(len(c.transcript.turns) for c in chats)


@pytest.mark.whole
@pytest.mark.parametrize("persona", ["mara-quill", "lin-daiyu", "falstaff"])
async def test_prompts_and_targets_are_the_playgrounds_byte_for_byte(store: Store, tmp_path: Path, persona: str) -> None:
    """The scripted backend plays the line whose cue it gets, and knows no other lines here."""
    scenes = load_scenes()
    for number in range(3):
        chat = _with_cues(persona, tmp_path, number)
        rows = list(chat_samples([chat]))
        known = load_persona(tmp_path / f"{persona}.yaml")
        service = ChatService(store, ScriptedBackend({persona: known}, rate=0), {persona: known}, scenes)
        scenario = chat.transcript.scenario.id if chat.transcript.scenario.id in scenes else ""
        visitor = chat.transcript.cast[1].name
        opened = await _opened(service, persona, scenario, visitor, chat)
        for sample in rows:
            place = [turn.id for turn in chat.transcript.turns].index(sample.turn)
            last = await ended(await service.send(ANNE, opened, chat.transcript.turns[place - 1].raw))
            call = store.generation(ANNE, opened, str(store.node(ANNE, opened, str(last.node)).generation_id))
            assert call.messages == sample.messages[:-1]
            assert call.raw == sample.messages[-1].content
        assert len(rows) == 5


async def _opened(service: ChatService, persona: str, scene: str, visitor: str, chat: PersonaChat) -> str:
    """Start a chat in the playground with the same greeting."""
    greetings = range(len(service.personas[persona].greetings))
    for number in greetings:
        view = await service.start(ANNE, persona=persona, scene=scene, name=visitor, greeting=number)
        if [shown.turn.parts for shown in view.turns] == [turn.parts for turn in chat.transcript.turns[: len(view.turns)]]:
            return view.id
    raise AssertionError("no chat of the playground has this greeting")


def _with_cues(persona: str, folder: Path, number: int) -> PersonaChat:
    """Return a chat of five exchanges that have a cue, and write a persona file that holds only these."""
    full = load_personas()[persona]
    by_cue = {cue: exchange for exchange in full.exchanges for cue in exchange.cues}
    chosen = list({exchange.reply: exchange for exchange in by_cue.values()}.values())[number * 5 : number * 5 + 5]
    save_persona(full.model_copy(update={"exchanges": tuple(_once(exchange) for exchange in chosen)}), folder)
    if not (folder / "scenes").exists():
        (folder / "scenes").symlink_to(Path(__file__).resolve().parents[3] / "personas" / "scenes")
    return list(persona_chats(str(folder), number + 1, 5, number))[number]


def _once(exchange: Exchange) -> Exchange:
    return exchange.model_copy(update={"anytime": False, "cues": exchange.cues[:1]})


def test_a_persona_without_exchanges_is_named(tmp_path: Path) -> None:
    save_persona(Persona(id="mara", name="Mara", profile="A keeper."), tmp_path)
    with pytest.raises(InputError, match="persona 'mara' in .* has no written exchanges"):
        list(persona_chats(str(tmp_path), 1, 1, 1))


def test_a_visitor_never_has_the_personas_name(tmp_path: Path) -> None:
    mara = Persona(id="anna", name="Anna", profile="A keeper.", exchanges=(Exchange(reply="Aye.", anytime=True),))
    save_persona(mara, tmp_path)
    names = {chat.transcript.cast[1].name for chat in persona_chats(str(tmp_path), 60, 1, 1)}
    assert "Anna" in VISITORS["en"] and names == {"Visitor", *VISITORS["en"]} - {"", "Anna"}


def test_an_exchange_without_a_plan_is_a_target_only_when_plans_is_false(tmp_path: Path) -> None:
    mara = Persona(id="mara", name="Mara", profile="A keeper.", exchanges=(Exchange(reply="Aye.", anytime=True),))
    save_persona(mara, tmp_path)
    chats = list(persona_chats(str(tmp_path), 1, 3, 1))
    assert list(chat_samples(chats)) == []
    assert [sample.messages[-1].content for sample in chat_samples(chats, plans=False)] == ["Mara: Aye."]


def test_the_files_are_personas_and_scenes(tmp_path: Path) -> None:
    names = [path.name for path in chat_files(BUNDLED)]
    assert {"mara-quill.yaml", "lighthouse-storm.yaml"} <= set(names) and len(names) == 17 + 13
