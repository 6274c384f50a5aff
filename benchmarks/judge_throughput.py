"""Measure how busy the pairwise judge keeps a server, and its shared prefix. Run: `python -m benchmarks.judge_throughput [PAIRS]`

10,000 pairs in both orders, through judge, caller and ledger as a pipeline uses them, against a server of 200 ms latency with
room for 64 calls. The ideal is calls x latency / room. Two pairs of each moment are compared byte by byte as well: their
calls must differ in nothing before the first candidate, so that a server reuses the prefix.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.endpoint import endpoint
from benchmarks.report import report
from her.format import parse
from her.inference.caller import Caller, CallLimits, Ledger
from her.judging.judge import PairJudge, PairQuestion, judge_pairs, pair_messages, principle_lines
from her.judging.principles import library_hash, load_principles
from her.types import Message

PAIRS, LATENCY, ROOM, OF_ONE_MOMENT = 10_000, 0.2, 64, 4
BAR = {"to_ideal": 1.1, "missing": 0, "different_bytes": 0}
ANSWER = '\n- [own-voice] A: "The lamp is lit" -> tie (slight): equal\nVerdict: tie'


def questions(count: int) -> Iterator[PairQuestion]:
    """Yield pairs, four of each moment, with a conversation of about 2 kB."""
    for number in range(count):
        said = f"Tom: moment {number // OF_ONE_MOMENT}. " + "It was a long evening at the inn, told in full. " * 40
        prompt = (Message(role="system", content="You are Mara, a keeper of the light."), Message(role="user", content=said))
        a, b = (parse(f"Mara: The lamp is lit, {side} {number}.", "Mara") for side in ("left", "right"))
        yield PairQuestion(f"pair {number}", prompt, a, b)


async def judged(spec: str, folder: Path, pairs: int) -> tuple[float, int]:
    """Return seconds, and how many verdicts are missing."""
    began, missing = time.perf_counter(), 0
    with Ledger(folder / "calls.sqlite3") as ledger:
        async with Caller([spec], ledger, CallLimits()) as caller:
            judge = PairJudge(caller.ask, name="benchmark", principles={"en": load_principles()}, library=library_hash())
            async for verdict in judge_pairs(judge, questions(pairs)):
                missing += verdict.verdict is None
    return time.perf_counter() - began, missing


def different_bytes() -> int:
    """Return how many of 1,000 pairs differ from the first pair of their moment before the first candidate."""
    rules, heads = principle_lines(load_principles()), {}
    different = 0
    for number, question in enumerate(questions(1000)):
        system, user = pair_messages(question, "a", rules)
        head = system.content + user.content.partition("===Candidate A===")[0]
        different += heads.setdefault(number // OF_ONE_MOMENT, head) != head
    return different


def main(words: list[str]) -> None:
    """Measure and print the JSON object."""
    pairs = int(words[0]) if words else PAIRS
    ideal = 2 * pairs * LATENCY / ROOM
    with tempfile.TemporaryDirectory() as folder, endpoint(LATENCY, ROOM, text=ANSWER) as spec:
        seconds, missing = asyncio.run(judged(spec, Path(folder), pairs))
    measured = {
        "pairs": pairs,
        "ideal_s": round(ideal, 2),
        "seconds": round(seconds, 2),
        "to_ideal": round(seconds / ideal, 3),
        "missing": missing,
        "different_bytes": different_bytes(),
    }
    report("judge_throughput", BAR, measured, pairs == PAIRS and all(measured[name] <= bar for name, bar in BAR.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
