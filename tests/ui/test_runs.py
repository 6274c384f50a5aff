"""her/ui/acts.py and her/ui/runs.py: the requests of a scene of several characters, through both endpoints."""

import asyncio
import json
from typing import Any

from her.feedback.rubric import RUBRIC
from her.store import Store
from her.ui.stage import Stage
from tests.players import Actor, service
from tests.ui.test_stage import TOKEN, act, run

NAMES = ["Iago", "Roderigo", "Brabantio"]
RULES = {"next_speaker": "round_robin", "narrator": False}


async def begun(stage: Stage, **fields: Any) -> dict[str, Any]:
    return await act(stage, "start_book_scene", scenario="venice", names=NAMES, **{"me": "Brabantio", **RULES, **fields})


def play(chat: str, **fields: Any) -> dict[str, Any]:
    return {"act": "play", "token": TOKEN, "chat": chat, **RULES, **fields}


def scene_of(store: Store, *replies: str) -> Stage:
    return Stage(service(store, Actor(*([reply] for reply in replies or ("Well.",)))), "scene")


async def test_turns_stream_until_it_is_the_visitors(store: Store) -> None:
    stage = scene_of(store)
    opened = await begun(stage)
    scene = opened["view"]["scene"]
    assert (scene["me"], scene["next_speaker"], scene["narrator"], opened["view"]["can_answer"]) == (
        "Brabantio",
        "round_robin",
        False,
        False,
    )
    assert [(each["name"], each["mine"], each["away"], each["rating"]) for each in scene["cast"]] == [
        ("Iago", False, False, None),
        ("Roderigo", False, False, None),
        ("Brabantio", True, False, None),
    ]
    for name in ("Iago", "Roderigo"):
        last = (await run(stage, play(opened["chat"])))[-1]
        assert last["end"] and name in last["put"][-1]["html"] and not last.get("hint")
    [hint] = await run(stage, play(opened["chat"]))
    assert hint["end"] and hint["hint"] == "It is your turn, Brabantio." and "put" not in hint
    said = await act(stage, "say", chat=opened["chat"], text="Who is there?")
    assert said["view"]["total"] == 3 and "mine" in said["put"][-1]["html"]
    zh = (await run(stage, play(opened["chat"], character="Brabantio", language="zh")))[0]
    assert zh["hint"] == "轮到你了，Brabantio。"


async def test_the_thoughts_of_others_are_not_sent_to_the_page_without_the_directors_view(store: Store) -> None:
    text = "<system_thinking>PLAN</system_thinking><role_thinking>SECRET</role_thinking>Well."
    stage = scene_of(store, *[f"{name}: {text}" for name in ("Iago", "Roderigo")])
    chat = (await begun(stage))["chat"]
    for choice in (None, False):
        sent = json.dumps([await run(stage, play(chat, director=choice)), await act(stage, "open", chat=chat, director=choice)])
        assert "Well." in sent and "SECRET" not in sent and "PLAN" not in sent
    opened = await act(stage, "open", chat=chat, director=True)
    last = opened["put"][-1]
    assert "SECRET" in last["html"] and "PLAN" in last["html"]
    refused = await act(stage, "source", chat=chat, node=last["id"])
    assert "director" in refused["error"] and "SECRET" not in json.dumps(refused)
    assert "SECRET" in (await act(stage, "source", chat=chat, node=last["id"], director=True))["text"]
    looking_on = scene_of(store, f"Iago: {text}")
    chat = (await begun(looking_on, me=""))["chat"]
    assert "SECRET" in json.dumps(await run(looking_on, play(chat)))
    assert "SECRET" not in json.dumps(await act(looking_on, "open", chat=chat, director=False))


async def test_a_scene_with_personas_moves_and_ratings(store: Store) -> None:
    stage = scene_of(store)
    boot = await act(stage, "boot")
    assert [scene["id"] for scene in boot["scenes"]] == ["storm"]
    refused = await act(stage, "start_scene", personas=["mara"], **RULES)
    assert "choose 2 to 6" in refused["error"]
    opened = await act(stage, "start_scene", personas=["mara"], scene="storm", name="Anne", **RULES)
    chat = opened["chat"]
    assert opened["view"]["subtitle"] == "Storm" and opened["view"]["scene"]["me"] == "Anne"
    left = await act(stage, "move", chat=chat, character="Mara")
    assert [each["away"] for each in left["view"]["scene"]["cast"]] == [True, False]
    rating = {"rubric": RUBRIC.version, "stars": {"engaging": 3}}
    assert (await act(stage, "rate_character", chat=chat, character="Mara", rating=rating))["saved"] > 0
    assert (await act(stage, "open", chat=chat))["view"]["scene"]["cast"][0]["rating"]["stars"] == {"engaging": 3}
    assert "does not play 'Anne'" in (await act(stage, "rate_character", chat=chat, character="Anne", rating=rating))["error"]
    assert "next_speaker" in (await act(stage, "start_scene", personas=["mara"], next_speaker="dice"))["error"]


async def test_a_stopped_choice_ends_the_stream_without_an_error(store: Store) -> None:
    stage = scene_of(store)
    chat = (await begun(stage, me=""))["chat"]
    await run(stage, play(chat, character="Iago"))
    stage.service.backend.replies = [[asyncio.Event()]]  # type: ignore[attr-defined]
    streaming = asyncio.create_task(run(stage, play(chat, next_speaker="model")))
    while chat not in stage.service.choosing:
        await asyncio.sleep(0.001)
    await act(stage, "stop", chat=chat)
    assert [{key: patch[key] for key in patch if key != "stamp"} for patch in await streaming] == [{"chat": chat, "end": True}]


async def test_every_character_of_a_scene_is_exported(store: Store) -> None:
    stage = scene_of(store, "<system_thinking>PLAN</system_thinking><role_thinking>SECRET</role_thinking>Well.")
    chat = (await begun(stage))["chat"]
    for _ in range(2):
        await run(stage, play(chat))
    rows = json.loads((await act(stage, "export", chat=chat, format="sharegpt", director=True))["text"])
    assert [row["id"].split("-")[1] for row in rows] == ["Iago", "Roderigo"]
    texts = [json.dumps(row) for row in rows]
    assert all(text.count("SECRET") == 1 and "PLAN" not in text for text in texts)
    for form in ("jsonl", "markdown", "sharegpt"):
        text = (await act(stage, "export", chat=chat, format=form))["text"]
        assert "SECRET" not in text and "PLAN" not in text and text.count("Well.") >= 2, "what the page hides, a file hides too"
        directed = (await act(stage, "export", chat=chat, format=form, director=True))["text"]
        assert "SECRET" in directed
