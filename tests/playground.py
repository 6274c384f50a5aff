"""Run the playground as a process, and send it requests as the page does.

with Playground(home, backend="scripted:?rate=0") as page:      # `python app.py` on a free port
    visitor = Visitor(page.url)
    chat = visitor.act("start", persona="scheherazade")["chat"]
    patches = list(visitor.run("send", chat=chat, text="Hello."))
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
from gradio_client.utils import apply_diff

ROOT = Path(__file__).resolve().parent.parent
Patch = dict[str, Any]


def free_port() -> int:
    """Return a TCP port of the loopback address that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Playground:
    """`python app.py` (or `her play` with arguments), ended with the block; `log` is the file of its output.

    Args:
        home: HER_HOME of the process; it may hold the files of an earlier one.
        backend: its spec.
        arguments: of `her play`; empty runs app.py.
        wait: seconds within which it must answer: 3 on a free machine, more than 60 were seen at a load of 12.
        port: to listen on; 0 takes a free one.
        environment: more variables of the process.
    """

    command: Sequence[str] = (sys.executable, str(ROOT / "app.py"))

    def __init__(
        self,
        home: Path,
        backend: str = "scripted:?rate=0",
        arguments: Sequence[str] = (),
        wait: float = 240,
        port: int = 0,
        **environment: str,
    ) -> None:
        self.port = port or free_port()
        host = "[::1]" if environment.get("GRADIO_SERVER_NAME") == "::1" else "127.0.0.1"
        self.url = f"http://{host}:{self.port}"
        self.log = home / "playground.log"
        home.mkdir(parents=True, exist_ok=True)
        play = [sys.executable, "-m", "her.cli", "play", *arguments] if arguments else list(self.command)
        variables = {
            **{name: value for name, value in os.environ.items() if name != "HER_DATABASE_URL"},
            "HER_HOME": str(home),
            "HER_BACKEND": backend,
            "GRADIO_SERVER_PORT": str(self.port),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_OFFLINE": "1",
            **environment,
        }
        self.started = time.monotonic()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(play, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT)
        self.ready_after = self._wait(wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL after 10 s."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """Kill the process as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def _wait(self, seconds: float) -> float:
        """Return the seconds until the first answer 200.

        Raises:
            RuntimeError: it ended or did not answer within `seconds`; the message holds its log.
        """
        while time.monotonic() - self.started < seconds:
            try:
                if httpx.get(self.url, timeout=5).status_code == 200:
                    return time.monotonic() - self.started
            except httpx.TransportError:
                pass  # the port is not open yet: try again, unless the process has ended
            try:
                self.process.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                continue
        self.stop()
        raise RuntimeError(f"the playground did not answer; its log:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")


class Visitor:
    """Client with a visitor token that sends the requests of the page: `act` and `run`."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token or secrets.token_hex(32)
        self.session = secrets.token_hex(8)
        self.http = httpx.Client(base_url=url, timeout=60)
        self.fn_index, self.component = doors(self.http.get("/config").json())

    def act(self, act: str, **fields: Any) -> Patch:
        """Send a request that is answered at once; return the answer, which may be `{"error": ...}`."""
        body = {
            "data": {"act": act, "token": self.token, **fields},
            "component_id": self.component,
            "fn_name": "act",
            "session_hash": self.session,
        }
        answer = self.http.post("/gradio_api/component_server", json=body)
        answer.raise_for_status()
        patch: Patch = answer.json()
        return patch

    def run(self, act: str, **fields: Any) -> Iterator[Patch]:
        """Start or join a generation; yield its patches as they arrive."""
        session = secrets.token_hex(8)
        self.http.post("/gradio_api/queue/join", json=self.join(session, act, **fields)).raise_for_status()
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            yield from patches(stream.iter_lines())

    def join(self, session: str, act: str, **fields: Any) -> Patch:
        """Return the body that the page posts to the queue of Gradio."""
        payload = {"act": act, "token": self.token, **fields}
        return {
            "data": [],
            "event_data": payload,
            "fn_index": self.fn_index,
            "session_hash": session,
            "trigger_id": self.component,
        }


def doors(config: Patch) -> tuple[int, int]:
    """Return the index of the function `run` and the id of the stage component in the configuration of the page."""
    index = next(n for n, entry in enumerate(config["dependencies"]) if entry["api_name"] == "run")
    component = next(entry["id"] for entry in config["components"] if entry["props"].get("elem_id") == "stage")
    return int(config["dependencies"][index].get("id", index)), int(component)


def patches(lines: Iterator[str]) -> Iterator[Patch]:
    """Yield the patches in the events of a queue; Gradio sends each output as a difference to the one before."""
    value: list[Any] | None = None
    for line in lines:
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        value, patch = step(value, event)
        if patch is not None:
            yield patch
        if event["msg"] == "process_completed":
            return


def step(value: list[Any] | None, event: Patch) -> tuple[list[Any] | None, Patch | None]:
    """Return the output after one event of the queue, and the patch when the event has one."""
    if event["msg"] not in ("process_generating", "process_completed"):
        return value, None
    if not event.get("success", True):
        raise RuntimeError(f"the event failed: {event}")
    data = event["output"].get("data")
    if not data or event["msg"] == "process_completed":
        return value, None
    value = data if value is None else [apply_diff(old, change) for old, change in zip(value, data, strict=True)]
    return value, json.loads(value[0])
