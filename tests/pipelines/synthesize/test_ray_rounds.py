"""pipelines/synthesize/ray_rounds.py: a stage's questions gathered in rounds, asked on a real local Ray, found in the ledger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from her.characters.coser import BookScene
from her.types import Sampling
from pipelines.synthesize.__main__ import main
from pipelines.synthesize.models import Models
from pipelines.synthesize.options import PlanOptions
from pipelines.synthesize.ray_rounds import Gathering, NotYet, ask_on_ray
from pipelines.synthesize.stages.answers import RewrittenPlan
from pipelines.synthesize.stages.system_thinking import STAGE, add_plans
from pipelines.synthesize.work import Asker, Notes, question
from tests.teaching import LINES, a_scene, ledger_of, models_of, teaching

SMOKE = f"@{Path(__file__).resolve().parents[3] / 'pipelines/configs/synthesize_smoke.toml'}"
SHORT = Sampling(max_tokens=900)
SCENE = a_scene(LINES[:4])
TURNS = 3
"""Turns of characters in it; each has a draft and a rewrite."""


def asked(name: str = "Iago") -> tuple[Any, ...]:
    return question("rewrite_plan", "en", {"name": name, "turn": "Ha! I like not that.", "characters": [200, 2400]}, name=name)


async def test_what_the_ledger_has_is_answered_and_the_rest_is_gathered_once(tmp_path: Path) -> None:
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with models_of(server, ledger) as models:
            there = await models.ask(STAGE, asked(), SHORT, RewrittenPlan)
            gathering = Gathering(models, set())
            found = await gathering.ask(STAGE, asked(), SHORT, RewrittenPlan)
            assert found == there and len(server.chats) == 1
            for _ in range(2):
                with pytest.raises(NotYet):
                    await gathering.ask(STAGE, asked("Cassio"), SHORT, RewrittenPlan)
    (calls,) = gathering.calls.values()
    assert [call.messages for call in calls.values()] == [asked("Cassio")] and len(server.chats) == 1


async def test_a_question_without_an_answer_on_the_cluster_is_a_reply_with_its_error(tmp_path: Path) -> None:
    """So that the scene is gone through to its end, and no round asks it again."""
    with teaching() as server, ledger_of(tmp_path) as ledger:
        async with models_of(server, ledger) as models:
            caller, call = models.question(STAGE, asked(), SHORT, RewrittenPlan)
            gathering = Gathering(models, {caller.key(call)})
            reply = await gathering.ask(STAGE, asked(), SHORT, RewrittenPlan)
    assert reply.error and reply.value is None and not reply.text
    assert not any(gathering.calls.values()) and not server.chats


async def planned(models: Models, asker: Asker) -> BookScene:
    return await add_plans(SCENE, asker, Sampling(seed=1), PlanOptions(), Notes())


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of this machine, begun by the first run and ended with the last test."""
    yield
    import ray

    ray.shutdown()


async def on_ray(models: Models) -> None:
    def improve(asker: Asker) -> Any:
        return lambda scene, notes: add_plans(scene, asker, Sampling(seed=1), PlanOptions(), notes)

    await ask_on_ray(lambda: [SCENE, SCENE], improve, models)


@pytest.mark.whole
async def test_a_stage_on_ray_is_the_same_as_without(cluster: None, tmp_path: Path) -> None:
    """After the rounds the ordinary pass asks nothing, and what it makes is what asyncio makes; so it is a second time."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    with teaching() as server, ledger_of(tmp_path / "here") as ledger:
        async with models_of(server, ledger) as models:
            here = await planned(models, models)
    with teaching() as server, ledger_of(tmp_path / "there") as ledger:
        async with models_of(server, ledger, timeout=30, patience=30) as models:
            await on_ray(models)
            assert len(server.chats) == 2 * TURNS
            await on_ray(models)
            assert await planned(models, models) == here and len(server.chats) == 2 * TURNS
    assert sum(bool(turn.text("system_thinking")) for turn in here.turns) == TURNS


@pytest.mark.whole
async def test_rounds_end_where_the_cluster_gets_no_answer(cluster: None, tmp_path: Path) -> None:
    """Every call is refused for good: each question is asked once on the cluster, and none of it becomes content."""
    with teaching(status=400) as server, ledger_of(tmp_path) as ledger:
        async with models_of(server, ledger, timeout=30, patience=30) as models:
            await on_ray(models)
            assert len(ledger) == 0 and len(ledger.failures()) == 2 * TURNS
            assert 2 * TURNS <= len(server.chats) <= 2 * 2 * TURNS  # one more each, without the schema
            assert await planned(models, models) == SCENE


@pytest.mark.whole
def test_a_whole_run_on_ray_gives_the_same_files(cluster: None, home: Path) -> None:
    """Othello once with asyncio and once with `executor=ray`, against one server; every round starts its workers anew."""
    with teaching() as server:
        words = [SMOKE, f"endpoints=['{server.spec}']", "stages=['role_thinking']"]
        assert main([*words, "name=here"]) == 0
        asked = len(server.chats)
        assert main([*words, "name=there", "executor=ray"]) == 0
        assert len(server.chats) == 2 * asked
    for name in ("role_thinking", "role_thinking.turns", "transcripts"):
        here, there = ((home / "runs" / run / f"{name}.jsonl").read_bytes() for run in ("here", "there"))
        assert here == there, name
