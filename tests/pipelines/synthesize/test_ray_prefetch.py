"""A stage's questions are collected in rounds, asked on a real local Ray cluster, and found in the ledger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from her.characters.coser import BookScene
from her.types import Sampling
from pipelines.synthesize.__main__ import main
from pipelines.synthesize.callers import StageCallers
from pipelines.synthesize.option_groups import StageOptions
from pipelines.synthesize.ray_prefetch import AnswerPending, QuestionCollector, prefetch_on_ray
from pipelines.synthesize.stages.system_thinking import REWRITE, add_plans
from tests.teaching import LINES, a_scene, callers_of, context_of, ledger_of, teaching

SMOKE = f"@{Path(__file__).resolve().parents[3] / 'pipelines/configs/synthesize_smoke.toml'}"
SHORT = Sampling(max_tokens=900)
OPTIONS = StageOptions(sampling=Sampling(seed=1))
SCENE = a_scene(LINES[:4])
TURNS = 3
"""Turns of characters in it; each has a draft and a rewrite."""


def question(name: str = "Iago") -> tuple[Any, ...]:
    return REWRITE.messages("en", {"name": name, "turn": "Ha! I like not that.", "characters": [200, 2400]}, name=name)


async def test_recorded_answers_are_returned_and_other_questions_collected_once(tmp_path: Path) -> None:
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with callers_of(server, ledger) as callers:
            recorded = await callers.ask(REWRITE, question(), SHORT)
            collector = QuestionCollector(callers, set())
            assert await collector.ask(REWRITE, question(), SHORT) == recorded and len(server.chats) == 1
            for _ in range(2):
                with pytest.raises(AnswerPending):
                    await collector.ask(REWRITE, question("Cassio"), SHORT)
    (calls,) = collector.calls.values()
    assert [call.messages for call in calls.values()] == [question("Cassio")] and len(server.chats) == 1


async def test_a_question_without_an_answer_on_the_cluster_has_an_error(tmp_path: Path) -> None:
    """So that the stage runs through the scene to its end, and no later round asks the question again."""
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with callers_of(server, ledger) as callers:
            caller, call = callers.call_for(REWRITE, question(), SHORT)
            collector = QuestionCollector(callers, {caller.key(call)})
            answer = await collector.ask(REWRITE, question(), SHORT)
    assert answer.error and answer.value is None and not answer.text
    assert not any(collector.calls.values()) and not server.chats


async def planned(callers: StageCallers) -> BookScene:
    return await add_plans(SCENE, context_of(callers, OPTIONS))


async def prefetch(callers: StageCallers) -> None:
    await prefetch_on_ray(lambda: [SCENE, SCENE], add_plans, OPTIONS, callers)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Stop the Ray cluster of this machine after the last test; the first run starts it."""
    yield
    import ray

    ray.shutdown()


@pytest.mark.whole
async def test_a_stage_on_ray_is_the_same_as_without(cluster: None, tmp_path: Path) -> None:
    """After the rounds the ordinary pass asks nothing and makes what asyncio makes; so does a second prefetch."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    with teaching() as server, ledger_of(tmp_path / "here") as ledger:
        async with callers_of(server, ledger) as callers:
            here = await planned(callers)
    with teaching() as server, ledger_of(tmp_path / "there") as ledger:
        async with callers_of(server, ledger, retries=1, timeout=30, patience=30) as callers:
            await prefetch(callers)
            assert len(server.chats) == 2 * TURNS
            await prefetch(callers)
            assert await planned(callers) == here and len(server.chats) == 2 * TURNS
    assert sum(bool(turn.text("system_thinking")) for turn in here.turns) == TURNS


@pytest.mark.whole
async def test_rounds_end_where_the_cluster_gets_no_answer(cluster: None, tmp_path: Path) -> None:
    """Every call is refused for good: each question is asked once on the cluster, and none of it becomes content."""
    with teaching(status=400) as server, ledger_of(tmp_path) as ledger:
        async with callers_of(server, ledger, retries=1, timeout=30, patience=30) as callers:
            await prefetch(callers)
            assert len(ledger) == 0 and len(ledger.failures()) == 2 * TURNS
            assert 2 * TURNS <= len(server.chats) <= 2 * 2 * TURNS  # one more each, without the schema
            assert await planned(callers) == SCENE


@pytest.mark.whole
def test_a_whole_run_on_ray_gives_the_same_files(cluster: None, home: Path) -> None:
    """Othello once with asyncio and once with `executor=ray`, against one server; every round starts its workers anew."""
    with teaching() as server:
        words = [SMOKE, f"endpoints=['{server.spec}']", "stages=['role_thinking']"]
        assert main([*words, "name=here"]) == 0
        count = len(server.chats)
        assert main([*words, "name=there", "executor=ray"]) == 0
        assert len(server.chats) == 2 * count
    for name in ("role_thinking", "role_thinking.turns", "transcripts"):
        here, there = ((home / "runs" / run / f"{name}.jsonl").read_bytes() for run in ("here", "there"))
        assert here == there, name
