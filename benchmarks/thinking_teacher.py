"""Measure what a teacher that thinks yields: turns enhanced and planned of all. Run: `python -m benchmarks.thinking_teacher`

A server thinks 5,000 tokens before every answer and counts them against the request's limit, as servers do: an answer whose
limit is smaller is cut off within the thinking. It runs in a separate process and answers by the rules of `teacher:`. One run
finds the thinking in `reasoning_content`, one in the text between `<think>` tags, and one at a server that takes
`max_completion_tokens` and no temperature. Then a run whose every request is refused: it must stop after a few calls.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from benchmarks.endpoint import Connection, Places, received_calls, serve, served_by
from benchmarks.report import report
from her.backends.teacher import write_answer
from her.errors import HerError
from her.files import jsonl
from her.tokens import estimate_tokens
from her.types import Message
from pipelines.synthesize.__main__ import run
from pipelines.synthesize.notes import TurnRecord
from pipelines.synthesize.option_groups import DatasetOptions, SceneOptions, TeacherOptions
from pipelines.synthesize.options import SynthesisOptions

BAR = {"done_share_at_least": 0.95, "calls_until_a_refused_parameter_stops_at_most": 20}
THINKING_TOKENS = 5_000
THOUGHT = 'Okay, so let me think about what is wanted of me here, step by step, and then write {"plan": "no"} or so. '
BOOK = Path(__file__).parents[1] / "pipelines" / "configs" / "Othello.txt"
PLACES = ("reasoning_content", "text", "max_completion_tokens")


class ThinkingConnection(Connection):
    """Connection to a server that thinks; `Places.text` is one of PLACES, or `refusing`."""

    def answer(self) -> None:
        """Answer, cut off where the request's limit is, or refuse the request."""
        place = self.places.text
        new = place == "max_completion_tokens"
        field = "max_completion_tokens" if new else "max_tokens"
        if place == "refusing" or field not in self.body or (new and "temperature" in self.body):
            self.places.taken -= 1
            self.send(b"400 Bad Request", {"error": {"message": f"Unsupported parameter; this model takes {field}"}})
            return
        messages = [Message(role=each["role"], content=each["content"]) for each in self.body["messages"]]
        _, text = write_answer(messages)
        thinking = THOUGHT * (THINKING_TOKENS // estimate_tokens([Message(role="assistant", content=THOUGHT)]))
        left = int(self.body[field]) - THINKING_TOKENS
        cut = left < estimate_tokens([Message(role="assistant", content=text)])
        shown = "" if cut else text
        message: dict[str, Any] = {"role": "assistant", "content": shown, "reasoning_content": thinking}
        if place == "text":
            message = {"role": "assistant", "content": f"<think>\n{thinking}\n" + ("" if cut else f"</think>\n\n{shown}")}
        choice = {"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}
        self.places.taken -= 1
        if self.places.waiting:
            self.places.waiting.popleft().begin()
        usage = {"prompt_tokens": 500, "completion_tokens": THINKING_TOKENS + max(0, left)}
        self.send(b"200 OK", {"model": self.body["model"], "choices": [choice], "usage": usage})

    def name(self) -> str:
        """Return the task of the request, for the log."""
        return str(self.body["messages"][0]["content"][:40].splitlines()[0])


def thinking_server(place: str, log: Path) -> AbstractContextManager[str]:
    """Run the server in a separate process; the context is its backend spec."""
    return served_by([sys.executable, "-m", "benchmarks.thinking_teacher", "--serve", place, "--log", str(log)])


def options(name: str, spec: str, teacher: TeacherOptions) -> SynthesisOptions:
    """Return the settings of a run on the passages of Othello."""
    shares = {"sft": 0.4, "rm_sft": 0.15, "rm_rl": 0.15, "rl": 0.15, "test": 0.15}
    return SynthesisOptions(
        name=name,
        books=(BOOK,),
        endpoints=(spec,),
        books_to_scenes=SceneOptions(chunk_tokens=512),
        samples=DatasetOptions(shares=shares, split_by="conversation"),
        teacher=teacher,
    )


def done_shares(folder: Path) -> dict[str, float]:
    """Return, for the stages of turns, the share of turns that an answer changed or left as they are."""
    shares = {}
    for stage in ("role_thinking", "system_thinking"):
        fates = Counter(record.fate for record in jsonl.read(folder / f"{stage}.turns.jsonl", TurnRecord))
        shares[stage] = round((fates["changed"] + fates["as_it_was"]) / max(1, fates.total()), 4)
    return shares


def main() -> None:
    """Measure and report, or serve with `--serve`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", default="")
    parser.add_argument("--log", type=Path)
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve(Places(0.0, 64, False, chosen.log, chosen.serve), 0, ThinkingConnection))
        return
    measured: dict[str, Any] = {"thinking_tokens": THINKING_TOKENS}
    with tempfile.TemporaryDirectory() as place:
        os.environ["HER_HOME"] = place
        for name in PLACES:
            new = TeacherOptions(tokens_field="max_completion_tokens", leave_out=("temperature",))
            with thinking_server(name, Path(place) / f"{name}.log") as spec:
                run(options(name, spec, new if name == "max_completion_tokens" else TeacherOptions()))
            measured[name] = done_shares(Path(place) / "runs" / name)
        log = Path(place) / "refusing.log"
        with thinking_server("refusing", log) as spec:
            try:
                run(options("refusing", spec, TeacherOptions()))
            except HerError as error:
                measured["refused_with"] = str(error).replace(place, "HER_HOME")
        measured["calls_until_a_refused_parameter_stops"] = received_calls(log).total()
    least = min(share for name in PLACES for share in measured[name].values())
    stopped = "refused_with" in measured and measured["calls_until_a_refused_parameter_stops"] <= 20
    report("thinking_teacher", BAR, {"done_share": least, **measured}, least >= 0.95 and stopped)


if __name__ == "__main__":
    main()
