"""her/ui/playtest_acts.py through the endpoints: consent before everything, missions, everything about one person."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, get_args

import gradio as gr
import pytest

from her.chat.ceilings import ADDRESS
from her.chat.service import ChatService
from her.errors import InputError
from her.feedback.export import ExportFormat, export
from her.feedback.playtest import Consent, Goal, Mission, Playtest
from her.store import Store
from her.store.pseudonyms import pseudonym
from her.store.segments import TABLES
from her.store.withdrawals import personal_rows
from her.types import Scenario
from her.ui import requests
from her.ui.playtest_acts import OPEN_TO_ALL, check_missions
from her.ui.stage import Stage
from tests.players import BOOK, MARA, STORM, Actor, reply
from tests.store.samples import sql

GOAL = Goal(en="Find the key.", zh="找到钥匙。")
MISSIONS = (
    Mission(id="tower", persona="mara", scene="storm", goal=GOAL, least_turns=1, rate=("voice",), people=1),
    Mission.model_validate({"id": "street", "scene": "venice", "as": "Brabantio", "goal": GOAL}),
)
PLAYTEST = Playtest(name="An evening", consent=Consent(version="v1", en="Do you agree?", zh="你同意吗？"), missions=MISSIONS)
TOM = MARA.model_copy(update={"id": "tom", "name": "Tom"})
SUPPER = Scenario(id="supper", title="Supper", personas=("mara", "tom"))


def playground(store: Store, playtest: Playtest | None = PLAYTEST) -> Stage:
    personas, scenes = {"mara": MARA, "tom": TOM}, {"storm": STORM, "supper": SUPPER}
    service = ChatService(store, Actor(reply("Sit.")), personas, scenes, (BOOK,))
    service.people.playtest = playtest
    return Stage(service)


class Person:
    """A browser with a token of its own."""

    def __init__(self, stage: Stage, name: str = "anne") -> None:
        self.stage, self.token = stage, hashlib.sha256(name.encode()).hexdigest()

    @property
    def id(self) -> str:
        return requests.visitor_id(self.token)

    async def act(self, act: str, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(json.dumps(await self.stage.act({"act": act, "token": self.token, **fields})))
        return answer

    async def run(self, act: str, **fields: Any) -> list[dict[str, Any]]:
        event = gr.EventData(None, {"act": act, "token": self.token, **fields})
        return [json.loads(text) async for text in self.stage.run(event)]

    async def agrees(self) -> "Person":
        assert await self.act("agree", version="v1") == {}
        return self


# Consent

IDS = {"chat": "c", "node": "n", "persona": "mara", "character": "Mara", "scenario": "venice", "me": "Iago", "model": "Roderigo"}
FIELDS: Mapping[str, Any] = IDS | {
    "rating": {"thumb": 1},
    "fields": {"name": "Tom"},
    "kind": "role_thinking",
    "place": 0,
    "ballot": "b",
    "vote": {"id": "0123456789", "winner": "first"},
    "text": "Hello.",
    "format": "jsonl",
    "step": 1,
    "count": 1,
    "personas": ["mara", "tom"],
    "names": ["Iago", "Roderigo"],
    "next_speaker": "mention",
}


def sample(request: type[requests.Request]) -> dict[str, Any]:
    """Return fields with which this request is well formed."""
    needed = {name for name, field in request.model_fields.items() if field.is_required()} - {"token", "act"}
    return {name: FIELDS.get(name, "") for name in needed}


def name_of(request: type[requests.Request]) -> str:
    return str(get_args(request.model_fields["act"].annotation)[0])


ACTS = [each for each in get_args(requests.ActRequest) if each not in OPEN_TO_ALL]


@pytest.mark.parametrize("request_type", ACTS, ids=name_of)
async def test_no_act_is_done_without_consent(store: Store, request_type: type[requests.Request]) -> None:
    anne = Person(playground(store))
    answer = await anne.act(name_of(request_type), **sample(request_type))
    assert "agree to the text" in answer["error"]
    assert all(not rows for rows in personal_rows(store, anne.id).values())


@pytest.mark.parametrize("request_type", get_args(requests.RunRequest), ids=name_of)
async def test_no_reply_is_made_without_consent(store: Store, request_type: type[requests.Request]) -> None:
    stage = playground(store)
    (patch,) = await Person(stage).run(name_of(request_type), **sample(request_type))
    assert "agree to the text" in patch["error"] and patch["end"]
    assert stage.service.backend.sent == []  # type: ignore[attr-defined]


async def test_a_new_version_asks_again_and_the_old_one_is_refused(store: Store) -> None:
    anne = Person(playground(store))
    boot = await anne.act("boot", language="zh")
    assert boot["playtest"] == {"name": "An evening", "consent": "你同意吗？", "version": "v1", "missions": True}
    await anne.agrees()
    assert (await anne.act("boot"))["playtest"]["consent"] == ""
    assert (await anne.act("chats")) == {"chats": []}
    newer = PLAYTEST.model_copy(update={"consent": Consent(version="v2", en="And now?", zh="现在呢？")})
    again = Person(playground(store, newer))
    assert (await again.act("boot"))["playtest"]["consent"] == "And now?"
    assert "agree to the text" in (await again.act("chats"))["error"]
    assert "another one now" in (await again.act("agree", version="v1"))["error"]
    assert (await again.act("agree", version="v2")) == {} and (await again.act("chats")) == {"chats": []}


async def test_without_a_playtest_nobody_is_asked(store: Store) -> None:
    anne = Person(playground(store, None))
    assert (await anne.act("boot"))["playtest"] is None
    assert await anne.act("mission") == {"mission": None}
    assert "another one now" in (await anne.act("agree", version=""))["error"]


# Missions


async def test_a_mission_is_begun_played_rated_and_done(store: Store) -> None:
    anne = await Person(playground(store)).agrees()
    mission = (await anne.act("mission", mission="tower", language="zh"))["mission"]
    assert (mission["goal"], mission["place"], mission["chat"], mission["done"]) == ("找到钥匙。", "Mara · Storm", "", False)
    assert mission["rate"] == [{"id": "voice", "label": "语言风格", "done": False}]
    chat = (await anne.act("begin_mission", name="Anne"))["chat"]
    assert (await anne.act("begin_mission"))["chat"] == chat, "begun once"
    last = (await anne.run("send", chat=chat, text="Hello."))[-1]
    mission = (await anne.act("mission"))["mission"]
    assert (mission["turns"], mission["done"], mission["chat"]) == (1, False, chat)
    await anne.act("rate", chat=chat, node=last["order"][-1], rating={"stars": {"voice": 4}})
    mission = (await anne.act("mission"))["mission"]
    assert mission["done"] and mission["rate"][0]["done"] and mission["before"] == 0
    following = (await anne.act("mission"))["mission"]
    assert (following["id"], following["before"]) == ("street", 1)
    ben = await Person(anne.stage, "ben").agrees()
    assert "as many people" in (await ben.act("mission", mission="tower"))["error"]
    assert "no such mission" in (await ben.act("mission", mission="nowhere"))["error"]


async def test_a_scene_of_a_book_is_opened_as_the_character_of_the_file(store: Store) -> None:
    anne = await Person(playground(store)).agrees()
    await anne.act("mission", mission="street")
    opened = await anne.act("begin_mission", name="ignored")
    assert opened["view"]["scene"]["me"] == "Brabantio" and opened["view"]["visitor_name"] == "Brabantio"


@pytest.mark.parametrize(("plays", "me"), [("", "Visitor"), ("Tom", "Tom")])
async def test_a_scene_of_personas_is_opened_with_the_visitor_in_it(store: Store, plays: str, me: str) -> None:
    supper = Mission.model_validate({"id": "supper", "scene": "supper", "as": plays, "goal": GOAL})
    anne = Person(playground(store, Playtest(name="x", missions=(supper,))))
    check_missions(anne.stage.service)
    await anne.act("mission")
    assert (await anne.act("begin_mission"))["view"]["scene"]["me"] == me


async def test_a_mission_is_given_back_for_another(store: Store) -> None:
    anne = await Person(playground(store)).agrees()
    first = (await anne.act("mission"))["mission"]["id"]
    second = (await anne.act("give_up_mission"))["mission"]["id"]
    assert {first, second} == {"tower", "street"}
    assert (await anne.act("give_up_mission")) == {"mission": None}
    assert "no mission left" in (await anne.act("begin_mission"))["error"]


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "persona": ({"persona": "marra"}, "no persona 'marra'"),
    "scene": ({"scene": "nowhere"}, "no scene 'nowhere'"),
    "character": ({"scene": "venice", "as": "Othello"}, "nobody is called 'Othello' in its scene; 'as' is one of Iago"),
    "character of a book is not named": ({"scene": "venice"}, "whom the person plays in a book is not said"),
    "persona in a book": ({"scene": "venice", "persona": "mara"}, "has its own cast; leave 'persona' out"),
    "scene without personas": ({"scene": "storm"}, "its scene names 0 personas, and 1 are needed"),
}


@pytest.mark.parametrize(("fields", "sentence"), WRONG.values(), ids=WRONG)
def test_a_mission_that_cannot_be_opened_stops_the_start(store: Store, fields: dict[str, str], sentence: str) -> None:
    wrong = Mission.model_validate({"id": "m", "goal": GOAL, **fields})
    with pytest.raises(InputError, match=r"mission 'm' cannot be opened: ") as caught:
        check_missions(playground(store, Playtest(name="x", missions=(wrong,))).service)
    assert sentence in str(caught.value)


# Everything about one person


async def lived(stage: Stage, name: str) -> tuple[Person, str]:
    """Let a person agree, play, rate, choose, edit and delete; return them and their chat."""
    person = await Person(stage, name).agrees()
    await person.act("mission")
    chat = (await person.act("start", persona="mara", name=f"{name} Smith"))["chat"]
    shown = (await person.run("send", chat=chat, text=f"I am {name}."))[-1]
    node = shown["order"][-1]
    await person.act("rate", chat=chat, node=node, rating={"stars": {"voice": 4}, "comment": f"by {name}"})
    other = (await person.run("regenerate", chat=chat, node=node))[-1]["order"][-1]
    await person.act("keep", chat=chat, node=node)
    await person.act("edit", chat=chat, node=other, text=f"Sit, {name}.")
    one, two = _swipes(stage.service.store, chat)
    stage.service.store.add_ballot(person.id, chat, (one, two))
    await person.run("send", chat=chat, text="And now?")
    gone = (await person.act("start", persona="tom"))["chat"]
    await person.act("delete_chat", chat=gone)
    return person, chat


def _swipes(store: Store, chat: str) -> list[str]:
    with store.reading() as connection:
        nodes = TABLES["nodes"]
        rows = connection.execute(nodes.select().where(nodes.c.conversation_id == chat, nodes.c.origin == "model"))
        return [row.id for row in rows]


async def test_my_rows_are_all_of_mine_and_none_of_others(store: Store) -> None:
    stage = playground(store)
    anne, chat = await lived(stage, "anne")
    ben, other = await lived(stage, "ben")
    file = await anne.act("my_rows")
    content = json.loads(file["text"])
    assert file["name"] == f"her-{pseudonym(anne.id)}.json" and content["name"] == pseudonym(anne.id)
    assert set(content["rows"]) == set(TABLES)
    counts = {name: len(rows) for name, rows in content["rows"].items()}
    assert [name for name, number in counts.items() if not number] == ["votes"]
    theirs = json.loads((await ben.act("my_rows"))["text"])["rows"]
    for name, rows in content["rows"].items():
        with store.reading() as connection:
            total = connection.execute(TABLES[name].select()).all()
        waiting = 4 if name in ("nodes", "generations") else 0  # two sides of a ballot each, until the vote
        assert len(rows) + len(theirs[name]) + waiting == len(total), name
    assert "ben" not in file["text"] and other not in file["text"]
    assert all(secret not in file["text"] for secret in (anne.id, anne.id[:12], anne.token, '"spec"', '"actor"', "worse"))
    assert chat in file["text"] and "by anne" in file["text"] and "I am anne." in file["text"]


async def test_deleting_everything_reaches_every_table_and_every_export(store: Store, tmp_path: Any) -> None:
    stage = playground(store)
    anne, chat = await lived(stage, "anne")
    ben, _ = await lived(stage, "ben")
    assert await anne.act("delete_everything") == {}
    text = json.dumps([sql(tmp_path / "her.sqlite3", f"SELECT * FROM {name}") for name in TABLES if name != "tombstones"])
    assert anne.id not in text and chat not in text and "anne" not in text and ben.id in text
    for format in get_args(ExportFormat):
        lines: list[str] = []
        export(store, format, lines.append)
        assert all(pseudonym(anne.id) not in line and "anne" not in line for line in lines), format
    for act in ("boot", "my_rows"):
        assert "error" not in await anne.act(act)
    for answer in (await anne.act("agree", version="v1"), await anne.act("start", persona="mara")):
        assert "you deleted everything" in answer["error"]
    assert "you deleted everything" in (await Person(playground(store)).act("chats"))["error"], "after a restart as well"
    assert "error" not in await ben.act("chats")


@pytest.mark.parametrize("act", ["agree", "my_rows", "delete_everything"])
async def test_one_address_cannot_ask_for_ever_with_new_secrets(store: Store, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("her.chat.participants.AT_ONCE", 2)
    stage = playground(store)
    token = ADDRESS.set("10.0.0.9")
    try:
        fields = {"version": "v1"} if act == "agree" else {}
        answers = [await Person(stage, str(number)).act(act, **fields) for number in range(3)]
    finally:
        ADDRESS.reset(token)
    assert ["error" in answer for answer in answers] == [False, False, True] and "network address" in answers[2]["error"]
    assert store.withdrawals_since(0) == (2 if act == "delete_everything" else 0)
