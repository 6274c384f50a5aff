"""her/judging/serving.py and `her serve reward`: refusals, the token, both judges, and a real process that is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from typer.testing import CliRunner

from her.cli import app
from her.errors import InputError
from her.inference.caller import Caller
from her.judging.serving import BearerToken, ServiceOptions, check_access, group_judge
from tests.judging.test_groups import group
from tests.judging.test_judge import QUICK
from tests.judging.test_service import body
from tests.servers import ModelServer, Script

TOKEN = "sixteen-letters-or-more"


def larger(chat: dict[str, Any]) -> str:
    """A judge that prefers the larger number; asked about one candidate it gives that number as the score."""
    question = chat["messages"][1]["content"]
    said = [int(line.rpartition(" ")[2]) for line in question.splitlines() if line.startswith("> Mara: ")]
    if "===Candidate===" in question:
        return f"Score: {said[-1]}"
    return f"Verdict: {'A' if said[-2] > said[-1] else 'B'}"


def options(**changes: Any) -> ServiceOptions:
    return ServiceOptions(**{"endpoints": ("scripted:",), "folder": Path("unused"), **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"host": "0.0.0.0"}, "host '0.0.0.0' can be reached by others"),
        ({"host": "::"}, "can be reached by others"),
        ({"host": "judge.example"}, "can be reached by others"),
        ({"token": "short"}, "the token has 5 characters; give at least 16"),
    ],
    ids=["all addresses", "all of IPv6", "a name", "a token to guess"],
)
def test_settings_that_let_strangers_in_are_refused(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_access(**{"host": "127.0.0.1", "token": "", **changes})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_this_machine_needs_no_token(host: str) -> None:
    check_access(host, "")
    check_access("0.0.0.0", TOKEN)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, 404),
    ],
    ids=["none", "no scheme", "another", "right"],
)
async def test_only_clients_with_the_token_get_past(header: dict[str, str], status: int) -> None:
    inner = Starlette(middleware=[Middleware(BearerToken, token=TOKEN)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=inner), base_url="http://reward") as client:
        assert (await client.get("/metrics", headers=header)).status_code == status
        assert (await client.get("/health")).status_code == 404, "no token is asked for: the route alone is missing here"


@pytest.mark.parametrize("judge", ["pairwise", "pointwise"])
async def test_both_judges_rank_a_group_and_leave_out_who_is_missing(judge: Any) -> None:
    with ModelServer(Script(text=larger)) as server:
        async with Caller([f"openai:{server.url}#test-her"], None, QUICK) as caller:
            found = await group_judge(options(judge=judge), caller)(group(3, None, 9, 5))
    low, gone, high, middle = found.rewards
    assert gone is None and low is not None and middle is not None and high is not None and low < middle < high
    assert found.failed == 0


@pytest.mark.parametrize(("judge", "first"), [("pairwise", "Compare turns A and B."), ("pointwise", "Rate the turn.")])
async def test_a_trained_reward_model_is_asked_as_it_was_trained(judge: Any, first: str) -> None:
    with ModelServer(Script(text=larger)) as server:
        async with Caller([f"openai:{server.url}#test-her"], None, QUICK) as caller:
            await group_judge(options(judge=judge, principles=None, instructions="short"), caller)(group(3, 9))
        assert {chat["messages"][0]["content"] for chat in server.chats} == {first}


async def test_a_score_that_fails_is_missing() -> None:
    with ModelServer(Script(text="no number")) as server:
        async with Caller([f"openai:{server.url}#test-her"], None, QUICK) as caller:
            found = await group_judge(options(judge="pointwise"), caller)(group(3, None))
    assert found.rewards == (None, None) and (found.asked, found.failed) == (1, 1)


def test_a_public_host_is_refused_on_the_command_line(home: Path) -> None:
    words = ["serve", "reward", "--endpoint", "scripted:", "--host", "0.0.0.0"]
    answer = CliRunner().invoke(app, words, env={"HER_REWARD_TOKEN": None})
    assert answer.exit_code == 2 and "can be reached by others" in answer.stderr
    assert not (home / "reward_service").exists()
    answer = CliRunner().invoke(app, ["serve", "scores", "nothing", "--host", "0.0.0.0"], env={"HER_REWARD_TOKEN": None})
    assert answer.exit_code == 2 and "can be reached by others" in answer.stderr


@contextmanager
def running(url: str, folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`her serve reward` as a process, and its address."""
    command = [
        sys.executable,
        "-m",
        "her.cli",
        "serve",
        "reward",
        "--endpoint",
        f"openai:{url}#test-her",
        "--folder",
        str(folder),
    ]
    environment = {**os.environ, "HER_REWARD_TOKEN": TOKEN}
    with subprocess.Popen([*command, "--port", "0", *words], stdout=subprocess.PIPE, text=True, env=environment) as service:
        assert service.stdout is not None
        try:
            yield service, service.stdout.readline().split(" at ")[1].partition("/score")[0]
        finally:
            service.kill()


def post(url: str, numbers: list[int]) -> list[dict[str, Any]]:
    """Post a group's candidates one after the other, each without waiting for its answer; return the answers."""
    from concurrent.futures import ThreadPoolExecutor

    def send(index: int) -> dict[str, Any]:
        asked = body(index, numbers[index], size=len(numbers))
        answer = httpx.post(f"{url}/score", json=asked, headers={"authorization": f"Bearer {TOKEN}"}, timeout=30)
        found: dict[str, Any] = answer.json()
        return found

    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(send, range(len(numbers))))


@pytest.mark.whole
def test_a_service_that_was_killed_asks_no_recorded_pair_again(tmp_path: Path) -> None:
    with ModelServer(Script(text=larger)) as server:
        with running(server.url, tmp_path) as (service, url):
            before = post(url, [3, 1, 2])
            service.send_signal(signal.SIGKILL)
        assert [answer["missing"] for answer in before] == [0, 0, 0] and before[0]["reward"] > before[2]["reward"] > before[1][
            "reward"
        ]
        asked = len(server.chats)
        with running(server.url, tmp_path) as (_, url):
            assert post(url, [3, 1, 2]) == before
            counts = httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}).json()
            assert httpx.get(f"{url}/metrics").status_code == 401
        assert asked == len(server.chats) == 6
        assert (counts["groups"], counts["candidates"], counts["judgements"], counts["open_groups"]) == (1, 3, 6, 0)
