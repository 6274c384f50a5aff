"""The playground as its own process, and a client that knocks at its doors as a browser does.

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
    """A TCP port of the loopback address that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Playground:
    """`python app.py` (or `her play` with arguments) until the block ends; `log` holds what it printed.

    Args:
        home: HER_HOME of the process; made anew or left by an earlier one.
        backend: its spec.
        arguments: of `her play`; empty runs app.py.
        wait: seconds until it must answer.
        port: to listen on; 0 takes a free one.
        environment: more variables of the process.
    """

    def __init__(
        self,
        home: Path,
        backend: str = "scripted:?rate=0",
        arguments: Sequence[str] = (),
        wait: float = 60,
        port: int = 0,
        **environment: str,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "playground.log"
        home.mkdir(parents=True, exist_ok=True)
        play = [sys.executable, "-m", "her.cli", "play", *arguments] if arguments else [sys.executable, str(ROOT / "app.py")]
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
        """End the process, gently at first."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait()

    def _wait(self, seconds: float) -> float:
        """Seconds until the first 200; RuntimeError with the log when it ends or never answers."""
        while time.monotonic() - self.started < seconds:
            try:
                if httpx.get(self.url, timeout=5).status_code == 200:
                    return time.monotonic() - self.started
            except httpx.TransportError:
                pass  # nobody listens yet: knock again, unless the process has ended
            try:
                self.process.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                continue
        self.stop()
        raise RuntimeError(f"the playground did not answer; its log:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")


class Visitor:
    """One browser without a screen: a secret of its own, the two doors `act` and `run`."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token or secrets.token_hex(32)
        self.session = secrets.token_hex(8)
        self.http = httpx.Client(base_url=url, timeout=60)
        self.fn_index, self.component = doors(self.http.get("/config").json())

    def act(self, act: str, **wish: Any) -> Patch:
        """Ask at the first door; the answer as it came, `error` included."""
        body = {
            "data": {"act": act, "token": self.token, **wish},
            "component_id": self.component,
            "fn_name": "act",
            "session_hash": self.session,
        }
        answer = self.http.post("/gradio_api/component_server", json=body)
        answer.raise_for_status()
        patch: Patch = answer.json()
        return patch

    def run(self, act: str, **wish: Any) -> Iterator[Patch]:
        """Ask at the second door: the patches of a generation as they come."""
        session = secrets.token_hex(8)
        self.http.post("/gradio_api/queue/join", json=self.join(session, act, **wish)).raise_for_status()
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            yield from patches(stream.iter_lines())

    def join(self, session: str, act: str, **wish: Any) -> Patch:
        """The body that the page posts to the queue."""
        payload = {"act": act, "token": self.token, **wish}
        return {
            "data": [],
            "event_data": payload,
            "fn_index": self.fn_index,
            "session_hash": session,
            "trigger_id": self.component,
        }


def doors(config: Patch) -> tuple[int, int]:
    """Index of the function `run` and id of the stage component, from the page's configuration."""
    index = next(n for n, one in enumerate(config["dependencies"]) if one["api_name"] == "run")
    component = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "stage")
    return int(config["dependencies"][index].get("id", index)), int(component)


def patches(lines: Iterator[str]) -> Iterator[Patch]:
    """The patches in a stream of the queue's events, Gradio's differences undone."""
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
    """The output after one event of the queue, and the patch in it when it brought one."""
    if event["msg"] not in ("process_generating", "process_completed"):
        return value, None
    if not event.get("success", True):
        raise RuntimeError(f"the event failed: {event}")
    data = event["output"].get("data")
    if not data or event["msg"] == "process_completed":
        return value, None
    value = data if value is None else [apply_diff(old, change) for old, change in zip(value, data, strict=True)]
    return value, json.loads(value[0])
