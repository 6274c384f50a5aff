"""The reasoning parser inside a real vLLM server, asked as any client would and by the house's own backend.

    HER_VLLM_PYTHON=/path/to/venv/bin/python python -m tests.backends.vllm_check

Needs torch here, to make the small model, and vLLM 0.31 in the environment of HER_VLLM_PYTHON (default: this one); a
minute or two on a CPU. It starts the very command that `her serve --print` writes, prints one JSON object with what it
measured, and exits 1 at the first thing that is not so.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from her.backends.openai_http import OpenAIBackend
from her.format import parse
from her.types import Message, Sampling
from tests.tiny import make_tiny, teach

ROOT = Path(__file__).resolve().parents[2]
PLAN = "Ann is calm & wary; the reply stays short."
REST = "Ann: <role_thinking>Who is it?</role_thinking><role_action>opens the door</role_action>Good evening."
ANSWERS = {
    "Knock, knock.": (f"<system_thinking>{PLAN}</system_thinking>{REST}", PLAN, REST),
    "An alias, please.": (f"<think>\n{PLAN}\n</think>\n\nAnn: Come in.", PLAN, "\n\nAnn: Come in."),
    "Do not plan.": ("Ann: <role_action>nods</role_action>Sit down.", "", "Ann: <role_action>nods</role_action>Sit down."),
    "Never end.": ("<system_thinking>Ann goes on and on.", "Ann goes on and on.", ""),
    "Forget the tag.": ("Ann is calm.</system_thinking>Ann: Yes.", "Ann is calm.", "Ann: Yes."),
}
"""What is said -> what the model answers by heart, its plan, the rest."""


def main() -> None:
    """Make the model, serve it, ask it."""
    python = os.environ.get("HER_VLLM_PYTHON") or sys.executable
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_tiny(Path(folder) / "tiny-ann", context=512)
        loss = teach(checkpoint, [dialogue(said, answer) for said, (answer, _, _) in ANSWERS.items()], steps=150)
        measured: dict[str, Any] = {"loss": round(loss, 4)}
        started = time.monotonic()
        with serving(python, checkpoint, measured) as url:
            measured["seconds_to_start"] = round(time.monotonic() - started, 1)
            for said, (_, reasoning, content) in ANSWERS.items():
                expect(f"{said!r} whole", whole(url, said), (reasoning, content))
                expect(f"{said!r} streamed", streamed(url, said)[:2], (reasoning, content))
            measured |= asyncio.run(by_the_house(url))
            measured |= extras(url)
    print(json.dumps(measured, indent=2))


def dialogue(said: str, answer: str) -> list[Message]:
    """A chat of one turn."""
    return [
        Message(role="system", content="You are Ann."),
        Message(role="user", content=said),
        Message(role="assistant", content=answer),
    ]


def expect(what: str, found: object, right: object) -> None:
    """Exit with a sentence unless both are the same."""
    if found != right:
        sys.exit(f"vllm_check: {what} gave {found!r}, {right!r} was right")


@contextmanager
def serving(python: str, checkpoint: Path, measured: dict[str, Any]) -> Iterator[str]:
    """The server, answering; its log is shown where it does not come up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = words(python, checkpoint, port)
    log = checkpoint.parent / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=checkpoint.parent)
    try:
        wait(f"http://127.0.0.1:{port}", server, log)
        measured["vllm"] = get(f"http://127.0.0.1:{port}/version")["version"]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def words(python: str, checkpoint: Path, port: int) -> list[str]:
    """The command of `her serve --print`, with this interpreter, and with the sources of the house on its path."""
    from her.deploy import vllm_command as house

    plan = house.plan(str(checkpoint), house.Serving(port=port), python=python)
    return [plan.words[0], f"PYTHONPATH={ROOT}", "OMP_NUM_THREADS=2", *plan.words[1:], "--enforce-eager"]


def wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server is healthy, at most five minutes."""
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            if server.poll() is not None:
                break
            time.sleep(0.5)
    sys.exit(f"vllm_check: the server did not start; its log ends:\n{log.read_text()[-4000:]}")


def get(url: str, body: dict[str, Any] | None = None) -> Any:
    """JSON from the server."""
    return json.load(post(url, body))


def post(url: str, body: dict[str, Any] | None) -> Any:
    """The open answer."""
    payload = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(url, payload, {"content-type": "application/json"}), timeout=120)


def request(said: str, **more: Any) -> dict[str, Any]:
    """A chat call, greedy."""
    messages = [{"role": "system", "content": "You are Ann."}, {"role": "user", "content": said}]
    return {"model": "tiny-ann", "messages": messages, "temperature": 0, "max_tokens": 160, **more}


def whole(url: str, said: str) -> tuple[str, str]:
    """Reasoning and content of an answer that is not streamed."""
    message = get(f"{url}/chat/completions", request(said))["choices"][0]["message"]
    return message.get("reasoning") or "", message.get("content") or ""


def streamed(url: str, said: str) -> tuple[str, str, int]:
    """Reasoning, content and number of the pieces with reasoning of a streamed answer."""
    reasoning, content = [], []
    with post(f"{url}/chat/completions", request(said, stream=True)) as events:
        for line in events:
            event = line.decode().removeprefix("data:").strip()
            if not event or event == "[DONE]":
                continue
            delta = json.loads(event)["choices"][0]["delta"]
            reasoning += [delta["reasoning"]] if delta.get("reasoning") else []
            content += [delta["content"]] if delta.get("content") else []
    return "".join(reasoning), "".join(content), len(reasoning)


async def by_the_house(url: str) -> dict[str, Any]:
    """The house's backend, streamed and whole: the plan is system_thinking and nothing of it is seen."""
    backend = OpenAIBackend(url)
    sampling = Sampling(temperature=0, max_tokens=160)
    try:
        for said, (answer, reasoning, content) in ANSWERS.items():
            for call in (backend.complete, backend.ask):
                completion = await call(dialogue(said, answer)[:-1], sampling)
                expect(f"{said!r} by the house", (completion.reasoning, completion.text), (reasoning, content))
            turn = parse(completion.text, "Ann", reasoning=completion.reasoning)
            expect(f"the plan of {said!r}", turn.text("system_thinking"), reasoning)
        return {"answers": len(ANSWERS), "context": backend.describe().context}
    finally:
        await backend.close()


def extras(url: str) -> dict[str, Any]:
    """Usage, a message gone on with, several answers, a forced choice, and how finely the plan streams."""
    usage = get(f"{url}/chat/completions", request("Knock, knock."))["usage"]
    counted = usage["completion_tokens_details"]["reasoning_tokens"]
    expect("reasoning tokens counted", 0 < counted < usage["completion_tokens"], True)
    more = request("Knock, knock.", continue_final_message=True, add_generation_prompt=False)
    more["messages"].append({"role": "assistant", "content": f"<system_thinking>{PLAN}</system_thinking>Ann:"})
    went_on = get(f"{url}/chat/completions", more)["choices"][0]["message"]
    expect("a message gone on with", (went_on.get("reasoning"), went_on["content"].strip()), (None, REST.removeprefix("Ann: ")))
    several = get(f"{url}/chat/completions", request("Knock, knock.", n=2, temperature=0.01))["choices"]
    expect("two answers", {(each["message"]["reasoning"], each["message"]["content"]) for each in several}, {(PLAN, REST)})
    chosen = get(f"{url}/chat/completions", request("Knock, knock.", structured_outputs={"choice": ["left", "right"]}))
    expect("a choice", chosen["choices"][0]["message"]["content"] in ("left", "right"), True)
    return {"reasoning_tokens": counted, "pieces_of_the_plan": streamed(url, "Knock, knock.")[2]}


if __name__ == "__main__":
    main()
