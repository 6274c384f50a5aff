"""Measure the relative-reward service under load and a kill. Run: `python -m benchmarks.reward_service`

64 groups of 8 candidates are posted at once to `her serve reward`, one of them without its last candidate; one judgement in 20
fails. The service is killed with SIGKILL in the middle, started again, and every candidate is posted again, as engines do. Every
group must be answered by its deadline, advantages must equal those of the group without the missing rows, and no pair that the
judge had answered and the ledger had recorded may be asked again.
"""

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.report import report
from her.judging.serving import LEDGER
from her.rewards import advantages
from her.store.ledger import Ledger
from tests.servers import ModelServer, Script

GROUPS, SIZE, FAILING, LATENCY, DEADLINE = 64, 8, 0.05, 0.2, 20.0
KILLED_AT = 500
"""Calls that the judge has received when the service is killed; about half of all."""
MISSING = SIZE - 1
"""Index of the candidate that never comes, in the first group."""
BAR = {"answered": GROUPS, "late": 0, "largest_difference": 1e-9, "asked_again": 0}
_NUMBER = re.compile(r"Mara: .*?(\d+) lamps")


def judge(body: dict[str, Any]) -> str:
    """Prefer the candidate with more lamps; one pair in 20, always the same, gets no readable verdict."""
    question = body["messages"][1]["content"]
    if int(hashlib.sha256(question.encode()).hexdigest()[:8], 16) / 2**32 < FAILING:
        return "I cannot say."
    first, second = (int(number) for number in _NUMBER.findall(question)[-2:])
    winner = "A" if first > second else "B" if first < second else "tie"
    return f'- [own-voice] A: "{first} lamps" B: "{second} lamps" -> {winner}: more light\nVerdict: {winner}'


def candidate(group: int, index: int) -> dict[str, Any]:
    """Return one request of a group."""
    lamps = int(hashlib.sha256(f"{group} {index}".encode()).hexdigest()[:4], 16)
    prompt = [{"role": "system", "content": "You are Mara."}, {"role": "user", "content": f"Tom: How many, on night {group}?"}]
    text = f"Mara: I count {lamps} lamps."
    return {"group": f"group {group}", "index": index, "size": SIZE, "prompt": prompt, "text": text, "speaker": "Mara"}


def candidates() -> list[dict[str, Any]]:
    """Return all requests but the one that never comes."""
    return [candidate(group, index) for group in range(GROUPS) for index in range(SIZE) if (group, index) != (0, MISSING)]


class Service:
    """`her serve reward` in a process of its own."""

    def __init__(self, judge_url: str, folder: Path) -> None:
        words = [
            "--endpoint",
            f"openai:{judge_url}#test-her",
            "--folder",
            str(folder),
            "--port",
            "0",
            "--deadline",
            str(DEADLINE),
        ]
        command = [sys.executable, "-m", "her.cli", "serve", "reward", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split(" at ")[1].partition("/score")[0]

    def kill(self) -> int:
        """End it as a machine that fails does; return the exit status, which is not 0."""
        self.process.kill()
        return self.process.wait()


async def post_all(url: str, until: Callable[[], object] | None = None) -> list[tuple[dict[str, Any], Any, float]]:
    """Post every candidate at once; return request, answer (None after a broken connection) and seconds.

    Args:
        until: called again and again while the posts wait, until it returns something true.
    """

    async def post(session: aiohttp.ClientSession, body: dict[str, Any]) -> tuple[dict[str, Any], Any, float]:
        began = time.perf_counter()
        try:
            async with session.post(f"{url}/score", json=body) as answer:
                return body, (await answer.json() if answer.status == 200 else None), time.perf_counter() - began
        except aiohttp.ClientError:
            return body, None, time.perf_counter() - began

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = [asyncio.create_task(post(session, body)) for body in candidates()]
        while until is not None and not until():
            await asyncio.sleep(0.02)
        return await asyncio.gather(*tasks)


def recorded_calls(folder: Path) -> int:
    """Return how many answers the ledger of a stopped service holds."""
    with closing(Ledger(folder / LEDGER)) as ledger:
        return len(ledger)


def largest_difference(answers: list[tuple[dict[str, Any], Any, float]]) -> tuple[float, int, int]:
    """Return the largest difference of advantages, groups in which rewards are missing, and missing rewards."""
    worst, gappy, missing = 0.0, set(), 0
    for body, answer, _ in answers:
        rewards = answer["group_rewards"]
        known = [reward for reward in rewards if reward is not None]
        if not known:
            continue
        filled = answer["filled"] - sum(known) / len(known)  # what an engine without null computes, division switched off
        place = sum(reward is not None for reward in rewards[: body["index"]])
        expected = 0.0 if answer["reward"] is None else advantages(known)[place]
        worst = max(worst, abs(filled - expected), abs(advantages(rewards)[body["index"]] - expected))
        if answer["missing"]:
            gappy.add(body["group"])
            missing += answer["reward"] is None
    return worst, len(gappy), missing


def measure(folder: Path) -> dict[str, Any]:
    """Run the service, kill it, run it again."""
    with ModelServer(Script(text=judge, first_delay=LATENCY)) as server:
        first = Service(server.url, folder)
        asyncio.run(post_all(first.url, lambda: len(server.chats) > KILLED_AT and first.kill()))
        recorded, asked_before = recorded_calls(folder), len(server.chats)
        before = Counter(json.dumps(chat["messages"]) for chat in server.chats)
        second = Service(server.url, folder)
        try:
            answers = asyncio.run(post_all(second.url))
        finally:
            second.kill()
        chats = [json.dumps(chat["messages"]) for chat in server.chats]
    repeated = sum(count - 1 for count in Counter(chats).values())
    worst, gappy, missing = largest_difference([answer for answer in answers if answer[1] is not None])
    return {
        "answered": len({body["group"] for body, answer, _ in answers if answer is not None}),
        "late": sum(seconds > DEADLINE or answer is None for _, answer, seconds in answers),
        "slowest_s": round(max(seconds for *_, seconds in answers), 2),
        "largest_difference": worst,
        "groups_with_missing": gappy,
        "missing_rewards": missing,
        "recorded_before_kill": recorded,
        "in_flight_at_kill": asked_before - recorded,
        "calls": len(chats),
        "asked_again": max(0, repeated - (len(before) - recorded)),
    }


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder))
    ok = measured["answered"] == GROUPS and all(measured[name] <= bar for name, bar in BAR.items() if name != "answered")
    report("reward_service", BAR, measured, ok and measured["recorded_before_kill"] > 0)


if __name__ == "__main__":
    main()
