"""Check the reasoning parser in a real vLLM server, with plain HTTP requests and with `OpenAIBackend`.

    HER_VLLM_PYTHON=/path/to/venv/bin/python python -m tests.backends.vllm_check

Needs torch here, to train a tiny model, and vLLM 0.31 in the environment of HER_VLLM_PYTHON (default: this one). Takes one or two
minutes on a CPU. It starts the command that `her serve --print` prints, prints one JSON object with what it measured, and
exits with code 1 at the first difference.
"""

import asyncio
import json
import os
import shlex
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
"""User message -> the answer that the model has learnt by heart, its reasoning, its content."""


def main() -> None:
    """Train the model, serve it, compare its answers."""
    python = os.environ.get("HER_VLLM_PYTHON") or sys.executable
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_tiny(Path(folder) / "tiny-ann", context=512)
        loss = teach(checkpoint, [dialogue(words, answer) for words, (answer, _, _) in ANSWERS.items()], steps=150)
        measured: dict[str, Any] = {"loss": round(loss, 4)}
        started = time.monotonic()
        with serving(python, checkpoint, measured) as url:
            measured["seconds_to_start"] = round(time.monotonic() - started, 1)
            for words, (_, reasoning, content) in ANSWERS.items():
                expect(f"{words!r} unstreamed", ask_unstreamed(url, words), (reasoning, content))
                expect(f"{words!r} streamed", ask_streamed(url, words)[:2], (reasoning, content))
            measured |= asyncio.run(check_backend(url))
            measured |= check_extras(url)
    print(json.dumps(measured, indent=2))


def dialogue(words: str, answer: str) -> list[Message]:
    """Return a chat of one turn."""
    return [
        Message(role="system", content="You are Ann."),
        Message(role="user", content=words),
        Message(role="assistant", content=answer),
    ]


def expect(what: str, actual: object, expected: object) -> None:
    """Exit with a sentence unless both are equal."""
    if actual != expected:
        sys.exit(f"vllm_check: {what} gave {actual!r}, expected {expected!r}")


@contextmanager
def serving(python: str, checkpoint: Path, measured: dict[str, Any]) -> Iterator[str]:
    """Run the server; yield its base address. Show its log if it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = serve_command(python, checkpoint, port)
    log = checkpoint.parent / "log.txt"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=checkpoint.parent)
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", server, log)
        measured["vllm"] = get(f"http://127.0.0.1:{port}/version")["version"]
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def serve_command(python: str, checkpoint: Path, port: int) -> list[str]:
    """Return the command of `her serve --print` with the interpreter of vLLM and this repository on its path."""
    serve = [sys.executable, "-m", "her.cli", "serve", str(checkpoint), "--port", str(port), "--print"]
    printed = subprocess.run(serve, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    env, *words = [python if word == sys.executable else word for word in shlex.split(printed)]
    return [env, f"PYTHONPATH={ROOT}", "OMP_NUM_THREADS=2", *words, "--enforce-eager"]


def wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server is healthy, at most five minutes."""
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
    """Return the JSON of a response."""
    return json.load(post(url, body))


def post(url: str, body: dict[str, Any] | None) -> Any:
    """Return the open response of a GET, or of a POST where there is a body."""
    payload = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(url, payload, {"content-type": "application/json"}), timeout=120)


def request(words: str, **more: Any) -> dict[str, Any]:
    """Return the body of a chat completion request, greedy."""
    messages = [{"role": "system", "content": "You are Ann."}, {"role": "user", "content": words}]
    return {"model": "tiny-ann", "messages": messages, "temperature": 0, "max_tokens": 160, **more}


def ask_unstreamed(url: str, words: str) -> tuple[str, str]:
    """Return reasoning and content of an answer that is not streamed."""
    message = get(f"{url}/chat/completions", request(words))["choices"][0]["message"]
    return message.get("reasoning") or "", message.get("content") or ""


def ask_streamed(url: str, words: str) -> tuple[str, str, int]:
    """Return reasoning, content and the number of chunks with reasoning of a streamed answer."""
    reasoning, content = [], []
    with post(f"{url}/chat/completions", request(words, stream=True)) as events:
        for line in events:
            event = line.decode().removeprefix("data:").strip()
            if not event or event == "[DONE]":
                continue
            delta = json.loads(event)["choices"][0]["delta"]
            reasoning += [delta["reasoning"]] if delta.get("reasoning") else []
            content += [delta["content"]] if delta.get("content") else []
    return "".join(reasoning), "".join(content), len(reasoning)


async def check_backend(url: str) -> dict[str, Any]:
    """Ask through OpenAIBackend, streamed and unstreamed: the plan becomes system_thinking and no other part holds it."""
    backend = OpenAIBackend(url)
    sampling = Sampling(temperature=0, max_tokens=160)
    try:
        for words, (answer, reasoning, content) in ANSWERS.items():
            for call in (backend.complete, backend.ask):
                completion = await call(dialogue(words, answer)[:-1], sampling)
                expect(f"{words!r} by OpenAIBackend", (completion.reasoning, completion.text), (reasoning, content))
            turn = parse(completion.text, "Ann", reasoning=completion.reasoning)
            expect(f"the plan of {words!r}", turn.text("system_thinking"), reasoning)
        return {"answers": len(ANSWERS), "context": backend.describe().context}
    finally:
        await backend.close()


def check_extras(url: str) -> dict[str, Any]:
    """Check usage, a continued message, several answers and a structured output; count the chunks of a plan."""
    usage = get(f"{url}/chat/completions", request("Knock, knock."))["usage"]
    counted = usage["completion_tokens_details"]["reasoning_tokens"]
    expect("reasoning tokens counted", 0 < counted < usage["completion_tokens"], True)
    more = request("Knock, knock.", continue_final_message=True, add_generation_prompt=False)
    more["messages"].append({"role": "assistant", "content": f"<system_thinking>{PLAN}</system_thinking>Ann:"})
    continued = get(f"{url}/chat/completions", more)["choices"][0]["message"]
    expect("a continued message", (continued.get("reasoning"), continued["content"].strip()), (None, REST.removeprefix("Ann: ")))
    several = get(f"{url}/chat/completions", request("Knock, knock.", n=2, temperature=0.01))["choices"]
    expect("two answers", {(each["message"]["reasoning"], each["message"]["content"]) for each in several}, {(PLAN, REST)})
    chosen = get(f"{url}/chat/completions", request("Knock, knock.", structured_outputs={"choice": ["left", "right"]}))
    expect("a choice", chosen["choices"][0]["message"]["content"] in ("left", "right"), True)
    return {"reasoning_tokens": counted, "chunks_of_the_plan": ask_streamed(url, "Knock, knock.")[2]}


if __name__ == "__main__":
    main()
