"""her/ui/stage.py: the endpoints `act` and `run` on a real service; over HTTP see tests/ui/test_build.py."""

import json
import logging
from typing import Any

import gradio as gr
import pytest

from her.chat.service import ChatService
from her.store import Store
from her.ui.stage import UNEXPECTED, Stage
from tests.players import Actor, reply, service

TOKEN = "aa" * 32


async def act(stage: Stage, act_name: str, /, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(json.dumps(await stage.act({"act": act_name, "token": TOKEN, **fields})))
    return answer


async def run(stage: Stage, payload: Any) -> list[dict[str, Any]]:
    return [json.loads(text) async for text in stage.run(gr.EventData(None, payload))]


async def started(stage: Stage) -> str:
    return str((await act(stage, "start", persona="mara", scene="storm", name="Anne"))["chat"])


def sent(chat: str, text: Any = "Hello.", **fields: Any) -> dict[str, Any]:
    return {"act": "send", "token": TOKEN, "chat": chat, "text": text, **fields}


async def test_the_first_page_lists_personas_books_and_the_rubric(store: Store) -> None:
    boot = await act(Stage(service(store, Actor(scripted=True))), "boot", language="zh")
    assert [(card["id"], card["letters"], card["colour"]) for card in boot["personas"]] == [("mara", "M", "#334455")]
    assert [(scene["id"], scene["cast"], scene["turns"]) for scene in boot["books"][0]["scenes"]] == [
        ("venice", ["Iago", "Roderigo", "Brabantio"], 4)
    ]
    assert boot["scripted"] and boot["words"]["begin"] == "开始" and boot["rubric"]["dimensions"][1]["label"] == "语言风格"
    assert boot["notice"] == "" and boot["badge"] == boot["words"]["scripted_badge"]


async def test_a_space_without_a_database_says_that_ratings_are_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "her/stage")
    boot = await act(Stage(service(store, Actor())), "boot")
    assert boot["notice"] == boot["words"]["ephemeral"] and boot["badge"] == "actor" and not boot["scripted"]


async def test_a_persona_is_shown_with_its_greetings_and_scenes(store: Store) -> None:
    stage = Stage(service(store, Actor()))
    detail = await act(stage, "persona", persona="mara")
    assert detail["profile"] == "Keeps a lighthouse." and [scene["id"] for scene in detail["scenes"]] == ["storm"]
    assert "Come in, Visitor." in detail["greetings"][0] and "here is closed." in detail["greetings"][1]
    assert "no persona 'nobody'" in (await act(stage, "persona", persona="nobody"))["error"]


async def test_a_message_streams_patches_and_ends_with_the_stored_chat(store: Store) -> None:
    stage = Stage(service(store, Actor(reply("Sit."))))
    chat = await started(stage)
    patches = await run(stage, sent(chat))
    assert [patch["chat"] for patch in patches] == [chat] * len(patches)
    assert len({patch["stamp"] for patch in patches}) == len(patches)
    last = patches[-1]
    assert (last["end"], last["error"], last["give_back"]) == (True, "", "")
    assert last["order"][-1] == last["put"][-1]["id"] and "Sit." in last["put"][-1]["html"] and last["view"]["total"] == 4
    assert [row["title"] for row in (await act(stage, "chats"))["chats"]] == ["Mara · Storm"]


async def test_following_when_nothing_runs_shows_what_is_stored(store: Store) -> None:
    stage = Stage(service(store, Actor()))
    chat = await started(stage)
    [patch] = await run(stage, {"act": "follow", "token": TOKEN, "chat": chat})
    assert patch["end"] is True and len(patch["order"]) == len(patch["put"]) == 2


async def test_the_acts_on_a_turn(store: Store) -> None:
    stage = Stage(service(store, Actor(reply("One."), reply("Two."))))
    chat = await started(stage)
    first = (await run(stage, sent(chat)))[-1]["order"][-1]
    again = await run(stage, {"act": "regenerate", "token": TOKEN, "chat": chat, "node": first})
    second = again[-1]["order"][-1]
    back = await act(stage, "swipe", chat=chat, node=second, step=-1)
    assert back["focus"] == back["order"][-1] == first
    kept = await act(stage, "keep", chat=chat, node=first, seen={"swipe_index": 0, "swipe_count": 2})
    assert kept["saved"] > 0 and 'class="mark kept"' in kept["put"][-1]["html"]
    assert (await act(stage, "rate", chat=chat, node=first, rating={"thumb": 1}))["saved"] >= kept["saved"]
    assert (await act(stage, "source", chat=chat, node=first))["text"] == "(nods) One."
    assert (await act(stage, "source", chat=chat, node=back["order"][-2]))["text"] == "Hello."
    edited = await act(stage, "edit", chat=chat, node=first, text="(bows) One.")
    assert 'class="mark edited"' in edited["put"][-1]["html"]
    assert (await act(stage, "rename", chat=chat, text="Rain"))["view"]["title"] == "Rain"
    assert (await act(stage, "export", chat=chat, format="markdown"))["name"].startswith("rain-")
    branch = await act(stage, "branch", chat=chat, node=first)
    assert branch["chat"] != chat and branch["order"][-1] != first
    assert (await act(stage, "delete", chat=chat, node=edited["order"][-1]))["order"][-1] != edited["order"][-1]
    assert await act(stage, "delete_chat", chat=chat) == {}
    assert "no chat" in (await act(stage, "open", chat=chat))["error"]


async def test_a_book_is_replayed(store: Store) -> None:
    stage = Stage(service(store, Actor()))
    book = await act(stage, "start_book", scenario="venice", me="Roderigo", model="Iago")
    assert book["view"]["replay"] == {"shown": 1, "total": 4}
    more = await act(stage, "replay", chat=book["chat"], count=2)
    assert more["view"]["replay"]["shown"] == 3
    assert [drawn["id"] for drawn in (await act(stage, "older", chat=book["chat"], node=more["order"][-1]))["put"]] == [
        *more["order"][:-1]
    ]


@pytest.mark.parametrize(
    ("payload", "chat", "give_back"),
    [
        (None, "", ""),
        (sent("c", text=["x"]), "c", ""),
        (sent("nowhere", text="a\ud83d"), "nowhere", "a\ufffd"),
        (sent("c", token="?"), "c", "Hello."),
        ({"chat": {"deep": 1}, "act": "boot", "token": TOKEN}, "", ""),
    ],
)
async def test_a_run_that_cannot_start_ends_with_a_sentence(store: Store, payload: Any, chat: str, give_back: str) -> None:
    [patch] = await run(Stage(service(store, Actor())), payload)
    assert patch.pop("error") and patch.pop("stamp")
    assert patch == {"chat": chat, "end": True, "give_back": give_back}


async def test_an_unexpected_error_is_logged_and_shown_as_one_sentence(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(ChatService, "view", broken)
    monkeypatch.setattr(ChatService, "send", broken)
    stage = Stage(service(store, Actor()))
    with caplog.at_level(logging.ERROR):
        assert await act(stage, "open", chat="c") == {"error": UNEXPECTED, "again": True}
        [patch] = await run(stage, sent("c"))
    assert patch["error"] == UNEXPECTED and patch["give_back"] == "Hello."
    assert caplog.messages == ["act failed", "run failed"] and "a secret detail" in caplog.text
