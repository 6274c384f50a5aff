"""her/ui/ballot_acts.py: two replies that wait for a vote, through the endpoints: the wire before the vote, and the acts."""

import asyncio
import json
import random
from typing import Any

import gradio as gr
import pytest

from her.backends.base import Delta
from her.characters.personas import load_personas
from her.chat.comparisons import ComparedArm, Comparing
from her.feedback.playtest import Playtest
from her.feedback.votes import rater_votes, vote_verdict
from her.judging.catches import KINDS_OF_FAULT, Catches
from her.kinds import PLAN
from her.store import Store
from her.store.exports import voted_pairs, votes_cast
from her.types import Sampling
from her.ui.comparing import comparing
from her.ui.stage import Stage
from tests.players import MARA, Actor, reply, service
from tests.ui.test_stage import TOKEN, act, sent, started

SECRETS = (
    "arm-red",
    "arm-blue",
    "host-red",
    "host-blue",
    "actor",
    "r1",
    "7,777",
    "6,666",
    "0.123",
    '"length"',
    "truncated",
    "cut at",
)
OTHER = "bb" * 32


async def texts_of(stage: Stage, payload: Any) -> list[str]:
    return [text async for text in stage.run(gr.EventData(None, payload))]


def stage_with(store: Store, *, catch: float = 0) -> Stage:
    """Return a stage whose every reply is a comparison of two models with tell-tale names, limits and pace."""
    late = asyncio.Event()
    asyncio.get_running_loop().call_later(0.3, late.set)
    red = Actor([*reply("Red. "), "It is said at once, and it is long."], spec="host-red:", context=7777)
    blue = Actor(["Mara: Blue", late, ".", Delta(finish="length")], spec="host-blue:", context=6666)
    chats = service(store, Actor(reply("Alone.")))
    arms = ComparedArm("arm-red", red, Sampling(temperature=0.123)), ComparedArm("arm-blue", blue)
    chats.comparing = Comparing(arms, lambda _: 1, catch=catch, repeat=0, plant=Catches({"mara": MARA}), seed=3)
    return Stage(chats)


def placed(winner: str = "first", **fields: Any) -> dict[str, Any]:
    return {"id": "vote-0001", "winner": winner, **fields}


async def test_before_the_vote_no_byte_tells_who_wrote_what(store: Store) -> None:
    stage = stage_with(store)
    chat = await started(stage)
    streamed, meanwhile = [], []
    async for text in stage.run(gr.EventData(None, sent(chat))):
        streamed.append(text)
        if '"writing"' in text:
            meanwhile.append(await act(stage, "open", chat=chat))
    opened = await act(stage, "open", chat=chat)
    ballot = opened["ballot"]
    listed = await act(stage, "chats")
    boot = await act(stage, "boot")
    del boot["words"]
    wire = "".join([*streamed, json.dumps([opened, *meanwhile, listed, boot])])
    assert meanwhile and all(one["view"]["live"] for one in meanwhile)
    (voted,) = store.ballots(store.conversation(*_owner(store, chat)).visitor_id)
    nodes = [*voted.ballot.shown_ids]
    generations = [str(store.node(*_owner(store, chat), node).generation_id) for node in nodes]
    for secret in (*SECRETS, *nodes, *generations):
        assert secret not in wire, secret
    assert {*ballot} == {"id", "state", "repeat", "language", "sides", "question"} and ballot["state"] == "vote"
    assert opened["order"][-1] not in nodes and not opened["view"]["can_answer"]
    paces = [json.loads(text)["ballot"]["sides"] for text in streamed if '"writing"' in text]
    assert paces and all("Red" not in side and "at once" not in side for sides in paces[:-1] for side in sides)


def _owner(store: Store, chat: str) -> tuple[str, str]:
    from her.ui.request_fields import visitor_id

    return visitor_id(TOKEN), chat


async def test_a_vote_is_stored_once_as_a_verdict_and_the_winner_is_drawn(store: Store) -> None:
    stage = stage_with(store)
    chat = await started(stage)
    await texts_of(stage, sent(chat))
    ballot = (await act(stage, "open", chat=chat))["ballot"]
    seen = [{"opened": ["role_thinking"], "swipe_count": 1}, {"system_thinking": True}]
    vote = placed("second", dimensions={"voice": "second"}, comment="Livelier.", seen=seen)
    for foreign in ({"token": OTHER}, {"ballot": "nowhere"}):
        request = {"act": "vote", "token": TOKEN, "chat": chat, "ballot": ballot["id"], "vote": vote, **foreign}
        assert "there is no ballot" in (await stage.act(request))["error"]  # type: ignore[typeddict-item]
    first, again = [await act(stage, "vote", chat=chat, ballot=ballot["id"], vote=vote) for _ in range(2)]
    assert first["saved"] == again["saved"] and first["ballot"] is None and len(first["order"]) == 4
    other = {**vote, "id": "vote-0002"}
    assert "has your vote already" in (await act(stage, "vote", chat=chat, ballot=ballot["id"], vote=other))["error"]
    ((stored, cast),) = votes_cast(store)
    second = "b" if stored.first == "a" else "a"
    assert (cast.winner, cast.dimensions, cast.comment) == (second, {"voice": second}, "Livelier.")
    shown = cast.seen if stored.first == "a" else cast.seen[::-1]
    assert shown[0].opened == ("role_thinking",) and shown[1].system_thinking
    assert vote_verdict(stored, cast).winner == second and rater_votes(store)[0].left == stored.first
    assert stored.arms and rater_votes(store)[0].arms == tuple(arm.name for arm in stored.arms)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"winner": "a"}, "field 'vote.winner'"),
        ({"id": "x"}, "field 'vote.id'"),
        ({"why": ["no-such-reason"]}, "not in the library"),
        ({"dimensions": {"charm": "first"}}, "not in rubric"),
        ({"comment": "x" * 5000}, "field 'vote.comment'"),
    ],
)
async def test_a_wrong_vote_is_refused_in_one_sentence(store: Store, wrong: dict[str, Any], said: str) -> None:
    stage = stage_with(store)
    chat = await started(stage)
    await texts_of(stage, sent(chat))
    ballot = (await act(stage, "open", chat=chat))["ballot"]["id"]
    assert said in (await act(stage, "vote", chat=chat, ballot=ballot, vote={**placed(), **wrong}))["error"]
    assert not list(votes_cast(store))


async def test_a_check_that_was_overlooked_is_told_after_the_vote(store: Store) -> None:
    stage = stage_with(store, catch=1)
    chat = await started(stage)
    streamed = await texts_of(stage, sent(chat))
    assert "planted" not in "".join(streamed)
    ballot = (await act(stage, "open", chat=chat))["ballot"]["id"]
    (asked,) = store.ballots(_owner(store, chat)[0])
    bad = "first" if asked.ballot.first == asked.ballot.worse else "second"
    after = await act(stage, "go_on", chat=chat, ballot=ballot, side=bad)
    assert "made bad on purpose" in after["told"] and after["ballot"] is None and not list(voted_pairs(store))
    assert store.node(*_owner(store, chat), after["order"][-1]).origin == "model"


def test_a_planted_reply_has_all_layers_of_an_honest_one() -> None:
    from her.format import parse

    personas = load_personas()
    kinds = set()
    for language, name in (("en", "Sherlock Holmes"), ("zh", "林黛玉")):
        for seed in range(12):
            planted = Catches(personas)(name, "Anne", language, random.Random(seed))  # type: ignore[arg-type]
            turn = parse(planted.text, name)
            kinds.add(planted.kind)
            assert turn.speaker == name and turn.text(PLAN) and turn.spoken and not turn.defects
    assert kinds == set(KINDS_OF_FAULT)


def test_the_comparisons_of_a_file_are_opened_with_their_backends() -> None:
    arms = [{"name": "one", "backend": "scripted:?seed=1"}, {"name": "two", "thinking": "no_plan"}]
    described = {"name": "t", "comparisons": {"every": 3, "arms": arms}, "missions": []}
    playtest = Playtest.model_validate_json(json.dumps(described))
    opened = comparing(playtest, load_personas(), lambda _: "")
    assert opened is not None and [arm.name for arm in opened.arms] == ["one", "two"] and len(opened.backends) == 1
    assert comparing(None, {}, lambda _: "") is None and opened.arms[1].thinking == "no_plan"
