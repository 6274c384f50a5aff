"""pipelines/rl/engine_export.py and engines/: exported rows reach the service, and engines get numbers."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from her.errors import InputError
from her.judging.groups import Group, GroupRewards
from her.judging.service import RewardService
from pipelines.rl.engine_export import EngineExportOptions, export, verl_rows
from pipelines.rl.engines import slime_reward, verl_reward
from pipelines.rl.prompts import PromptOptions, RolloutPrompt, read_prompts
from tests.pipelines.rl.test_prompts import chats
from tests.pipelines.rl.test_reward import PLANNED

pytestmark = pytest.mark.whole
TEXTS = [PLANNED + "Short.", PLANNED + "A longer answer than the other one.", "Mara: No plan."]
EOS = 2


async def by_length(group: Group) -> GroupRewards:
    """Prefer short answers; the prompt must have arrived."""
    assert group.prompt[-1].content.startswith("Tom: Question")
    found = [None if turn is None else 1.0 if len(turn.raw) < 70 else -1.0 for turn in group.candidates]
    return GroupRewards(tuple(found), 2, 0)


@asynccontextmanager
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RewardService]:
    service = RewardService(by_length, deadline=10)
    server = uvicorn.Server(uvicorn.Config(service.app(), port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    monkeypatch.setenv("HER_REWARD_URL", f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    try:
        yield service
    finally:
        server.should_exit = True
        await task


class Ids(list[int]):
    """A list with the methods of a tensor that the manager uses."""

    @property
    def shape(self) -> tuple[int]:
        return (len(self),)

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return Ids(found) if isinstance(place, slice) else found

    def tolist(self) -> list[int]:
        return list(self)

    def sum(self) -> int:
        return sum(self)


def verl_item(row: dict[str, Any], number: int) -> list[Any]:
    ids = Ids([10 + number, EOS, 0])
    fields = {"uid": "u1", "extra_info": row["extra_info"], "reward_model": row["reward_model"]}
    return [SimpleNamespace(batch={"responses": ids, "attention_mask": Ids([1, 1, 1, 1, 0])}, non_tensor_batch=fields)]


def prompt(tmp_path: Path) -> RolloutPrompt:
    return read_prompts(PromptOptions(files=(chats(tmp_path, 3),)), 1, room=999, count=len)[0]


async def test_verl_gets_the_rewards_of_a_group_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = verl_rows([prompt(tmp_path)], "train")
    tokenizer = SimpleNamespace(eos_token_id=EOS, decode=lambda ids, **_: TEXTS[ids[0] - 10])
    config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=SimpleNamespace(n=3)))
    async with served(monkeypatch) as service:
        manager = verl_reward.GroupRewardManager(config, tokenizer)
        found = await asyncio.gather(*(manager.run_single(verl_item(row, number)) for number in range(3)))
        assert [each["reward_score"] for each in found] == [1.0, -1.0, -1.0]
        assert [each["reward_extra_info"]["malformed"] for each in found] == [0, 0, 1]
        assert len({tuple(each["reward_extra_info"]) for each in found}) == 1 and service.counts["groups"] == 1
        alone = await verl_reward.compute_score("her", TEXTS[0], "", row["extra_info"])
        assert alone["score"] == 1.0


async def test_slime_gets_a_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = verl_rows([prompt(tmp_path)], "train")
    samples = [SimpleNamespace(metadata=row["extra_info"], response=text, status="completed") for text in TEXTS]
    async with served(monkeypatch):
        assert await slime_reward.group_reward(None, samples) == [1.0, -1.0, -1.0]


async def test_a_dead_service_stops_an_engine_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = verl_rows([prompt(tmp_path)], "train")
    monkeypatch.setenv("HER_REWARD_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(verl_reward, "PATIENCE", 0.01)
    with pytest.raises(RuntimeError, match="start `her serve reward`"):
        await verl_reward.compute_score("her", TEXTS[0], "", row["extra_info"])
    with pytest.raises(RuntimeError, match="her serve reward"):
        await slime_reward.group_reward(None, [SimpleNamespace(metadata=row["extra_info"], response="x", status="")])


@pytest.mark.parametrize("filled", [None, float("nan"), "0.3"])
def test_what_is_no_number_never_reaches_an_engine(filled: Any) -> None:
    with pytest.raises(RuntimeError, match="is no reward"):
        verl_reward._scored({"filled": filled, "reward": filled})


def options(folder: Path, **changes: Any) -> EngineExportOptions:
    fields = {"out": folder / "out", "model": "her-sft", "prompts": {"files": [chats(folder, 12)]}, "batch": 4, **changes}
    return EngineExportOptions.model_validate(fields, strict=False)


def test_the_export_holds_rows_rewards_and_a_command_that_a_shell_reads(tmp_path: Path) -> None:
    from pyarrow import parquet

    out = export(options(tmp_path))
    rows = parquet.read_table(out / "train.parquet").to_pylist()
    held_out = parquet.read_table(out / "val.parquet").to_pylist()
    assert len(rows) == 11 and len(held_out) == 1
    assert rows[0]["prompt"][1]["role"] == "user" and "ground_truth" in rows[0]["reward_model"]
    assert json.loads(rows[0]["extra_info"]["messages"]) == rows[0]["prompt"]
    assert {path.name for path in out.iterdir()} >= {"her_verl_reward.py", "her_slime_reward.py", "run_verl.sh"}
    assert subprocess.run(["sh", "-n", out / "run_verl.sh"], check=False).returncode == 0
    with pytest.raises(InputError, match="exists"):
        export(options(tmp_path))


def test_fewer_prompts_than_a_step_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lower batch"):
        export(options(tmp_path, batch=12))
