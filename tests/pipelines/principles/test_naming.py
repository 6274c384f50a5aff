"""pipelines/principles/naming.py: three principles a pair; fewer, or an unreadable answer, is asked again and then missing."""

import json
from typing import Any

from her.inference.caller import Ledger
from pipelines.principles.naming import Named, name_principles
from pipelines.principles.pairs import load_contrasts
from pipelines.principles.questions import PrincipleCallers
from tests.pipelines.principles.small import options
from tests.teaching import TeachingServer, answering, teaching


async def named(server: TeachingServer, ledger: Ledger | None = None) -> tuple[Named, int]:
    settings = options(server.spec, pairs=16)
    pairs = load_contrasts(settings.pairs, 1).named_from
    async with PrincipleCallers(settings, ledger) as callers:
        return await name_principles(callers, pairs, 0.7, 1), len(pairs)


async def test_every_pair_is_named_and_the_turns_are_told_apart() -> None:
    with teaching() as server:
        found, pairs = await named(server)
        assert not found.missing and 3 * pairs <= len(found.texts) <= 4 * pairs
        asked = server.questions("name_principles")
    assert len(asked) == pairs and all(each["better"] != each["worse"] and each["situation"] for each in asked)


async def test_too_few_are_asked_again_and_then_missing() -> None:
    def two(payload: dict[str, Any], answer: dict[str, Any], count: int) -> Any:
        return {"principles": answer["principles"][:2]}

    with teaching(answering("name_principles", two)) as server:
        found, pairs = await named(server)
        assert len(server.chats) == 2 * pairs and "cannot be used" in json.dumps(server.chats[-1]["messages"])
    assert not found.texts and len(found.missing) == pairs


async def test_a_second_answer_can_be_right() -> None:
    def once(payload: dict[str, Any], answer: dict[str, Any], count: int) -> Any:
        same = [answer["principles"][0]] * 3
        return {"principles": same} if count == 0 else answer

    with teaching(answering("name_principles", once)) as server:
        found, pairs = await named(server)
    assert not found.missing and len(found.texts) >= 3 * pairs


async def test_prose_and_failures_are_missing_and_never_a_principle() -> None:
    with teaching(answering("name_principles", lambda payload, answer, count: "I like the first one.")) as server:
        found, pairs = await named(server)
    assert not found.texts and len(found.missing) == pairs and "I like" not in "".join(found.texts)
