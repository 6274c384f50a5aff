"""Count how many rebuilt replies and server answers are read as they should be. Run: `python -m benchmarks.reading CASES.json`

CASES.json holds four lists: `text` (what models write), `streams` and `whole` (what servers send) and `parameters` (what servers
refuse). A text goes through `her.format.parse`. A stream goes over HTTP to the OpenAI backend of a real chat, in which the
visitor Anne sends Mara a line; a whole answer goes to the same backend's unstreamed call. The notation of `expected` stands in
the file. Prints one JSON object, with the ids that were read wrong and what was read instead.
"""

import argparse
import asyncio
import base64
import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.report import report
from her.backends.openai_http import OpenAIBackend
from her.chat.service import ChatService
from her.errors import HerError
from her.format import parse
from her.kinds import PLAN, REPLY_KINDS, Kind
from her.store import Store
from her.types import Message, Part, Persona, Sampling

BAR = {"tasteless": 1.0, "taste": 0.9, "streams": 1.0, "whole": 1.0, "parameters": 1.0}
"""Shares that have to be read as expected."""
LETTERS: dict[Kind, str] = {"system_thinking": "p", "role_thinking": "t", "role_action": "a", "speech": "s"}
VISITOR = "0" * 32
MARA = Persona(id="mara", name="Mara", profile="A keeper of a lighthouse.", greetings=("Come in.",))
Case = Mapping[str, Any]
Answer = Callable[[dict[str, Any]], Case]
"""What a server answers to a request's body: a case with `status` and either `steps` or `body`."""


def spelled(parts: tuple[Part, ...]) -> str:
    """Return parts in the notation of the cases."""
    return "|".join(f"{LETTERS[part.kind]}:{part.text}" for part in parts)


def fits(expected: str, parts: tuple[Part, ...]) -> bool:
    """Tell whether the parts are those expected; `a:*x` means a part that contains x."""
    wanted = [piece.split(":", 1) for piece in _pieces(expected)]
    return len(wanted) == len(parts) and all(
        letter == LETTERS[part.kind] and (text[1:] in part.text if text.startswith("*") else text == part.text)
        for (letter, text), part in zip(wanted, parts, strict=True)
    )


def _pieces(expected: str) -> list[str]:
    """Split at each `|` that a kind follows: a text may hold one."""
    pieces: list[str] = []
    for piece in expected.split("|"):
        if piece[:2] in ("p:", "t:", "a:", "s:") or not pieces:
            pieces.append(piece)
        else:
            pieces[-1] += "|" + piece
    return pieces


class CaseServer:
    """An HTTP server on a free port: the first segment of a path names who answers."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.models: dict[str, list[str]] = {}
        self.bodies: dict[str, list[dict[str, Any]]] = {}
        self.port = 0

    async def __aenter__(self) -> "CaseServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def add(self, name: str, answer: Answer) -> str:
        """Answer under this name; return the base address."""
        self.answers[name], self.bodies[name] = answer, []
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            name = head.split(" ", 2)[1].split("/")[1]
            size = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
            body = json.loads(await reader.readexactly(size) or b"null")
            if body is None:
                listed = [{"id": model} for model in self.models.get(name, ["test-model"])]
                await _send(writer, {"status": 200, "content_type": "application/json", "body": json.dumps({"data": listed})})
            else:
                self.bodies[name].append(body)
                await _send(writer, self.answers[name](body))
        writer.close()


async def _send(writer: asyncio.StreamWriter, case: Case) -> None:
    """Send one answer: its body whole, or its steps byte for byte, each as a chunk of its own."""
    kind = case.get("content_type", "text/event-stream")
    head = f"HTTP/1.1 {case.get('status', 200)} X\r\nconnection: close\r\ncontent-type: {kind}"
    if "body" in case:
        content = case["body"].encode()
        writer.write(f"{head}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        return
    writer.write(f"{head}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for step in case["steps"]:
        await asyncio.sleep(step.get("sleep", 0))
        if content := base64.b64decode(step["b64"]) if "b64" in step else step.get("text", "").encode():
            writer.write(b"%x\r\n%b\r\n" % (len(content), content))
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def event(text: str) -> Case:
    """Return a streamed answer with this text."""
    chunk = {"model": "test-model", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    return {"steps": [{"text": f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"}]}


class Chat:
    """A chat of Anne with Mara whose model is at this address."""

    def __init__(self, store: Store, url: str) -> None:
        self.service = ChatService(store, OpenAIBackend(url, "test-model"), {MARA.id: MARA}, {})
        self.id = ""

    async def open(self) -> None:
        """Start the chat."""
        self.id = (await self.service.start(VISITOR, persona=MARA.id, name="Anne")).id

    async def turns(self) -> list[Any]:
        """Return the turns that are shown."""
        return list((await self.service.view(VISITOR, self.id)).turns)

    async def act(self, name: str) -> str:
        """Do one act and return what it led to, in the notation of the cases; an error begins with `error:`."""
        before = [turn.turn for turn in await self.turns()]
        try:
            last = await (await self._begin(name, before)).wait()
        except HerError as error:
            return f"error: {error}"
        after = await self.turns()
        if last.state != "done":
            changed = "" if [turn.turn for turn in after] == before else "TRANSCRIPT CHANGED "
            return f"error:{changed}{last.reason} {last.error}"
        return ("length:" if after[-1].truncated else "") + spelled(after[-1].turn.parts)

    async def _begin(self, name: str, before: list[Any]) -> Any:
        chat = (VISITOR, self.id)
        if name == "send":
            return await self.service.send(*chat, "Good evening.")
        if name == "regenerate":
            return await self.service.regenerate(*chat, before[-1].id)
        return await (self.service.continue_(*chat) if name == "continue" else self.service.answer(*chat))


def agrees(expected: str, got: str) -> bool:
    """Tell whether what an act led to is what was expected."""
    if expected.startswith("error:"):
        return got.startswith("error:") and expected[6:] in got and "TRANSCRIPT CHANGED" not in got
    prefix = "length:" if expected.startswith("length:") else ""
    if got.startswith("error:") or got.startswith("length:") != bool(prefix):
        return False
    parts = [
        Part(kind=kind, text=piece[2:]) for piece in _pieces(got[len(prefix) :]) for kind in LETTERS if LETTERS[kind] == piece[0]
    ]
    return fits(expected[len(prefix) :], tuple(parts))


def read_texts(cases: list[Case]) -> dict[str, dict[str, str]]:
    """Return what was read wrong, by `tasteless` and `taste`."""
    wrong: dict[str, dict[str, str]] = {"tasteless": {}, "taste": {}}
    for case in cases:
        turn = parse(case["text"], case["speaker"], case["others"])
        if not fits(case["expected"], turn.parts):
            wrong["taste" if case["taste"] else "tasteless"][case["id"]] = spelled(turn.parts)
    return wrong


async def read_streams(cases: list[Case], server: CaseServer, store: Store) -> dict[str, str]:
    """Return the streams that were read wrong."""

    async def read(number: int, case: Case) -> tuple[str, str]:
        chat = Chat(store, server.add(f"stream{number}", lambda _: case))
        await chat.open()
        got = await asyncio.wait_for(chat.act("send"), 60)
        return case["id"], "" if agrees(case["expected"], got) else got

    results = [await task for task in [asyncio.create_task(read(*one)) for one in enumerate(cases)]]
    return {name: got for name, got in results if got}


async def read_whole(cases: list[Case], server: CaseServer) -> dict[str, str]:
    """Return the whole answers that were read wrong."""
    wrong = {}
    for number, case in enumerate(cases):
        backend = OpenAIBackend(server.add(f"whole{number}", lambda _, case=case: case), "test-model")  # type: ignore[misc]
        try:
            answer = await backend.ask([Message(role="user", content="Hello.")], Sampling(), seconds=30)
            got = f"text {answer.text}" + (f" reasoning {answer.reasoning}" if answer.reasoning else "")
        except HerError as error:
            got = f"error:{getattr(error, 'reason', '')} {error}"
        await backend.close()
        right = (
            got.startswith("error:") and case["expected"][6:] in got
            if case["expected"].startswith("error:")
            else got == case["expected"]
        )
        if not right:
            wrong[case["id"]] = got
    return wrong


def refusing(server: Case) -> Answer:
    """Return the answers of a server that refuses requests as the case says."""

    def answer(body: dict[str, Any]) -> Case:
        for rule in server["refuses"]:
            if _REFUSALS[rule["when"]](body):
                return {"status": rule["status"], "content_type": "application/json", "body": json.dumps(rule["body"])}
        return event(server["else"])

    return answer


def _alternates(body: dict[str, Any]) -> bool:
    roles = [message["role"] for message in body["messages"]]
    roles = roles[1:] if roles[0] == "system" else roles
    return all(role == ("user", "assistant")[place % 2] for place, role in enumerate(roles))


_REFUSALS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "body has continue_final_message or add_generation_prompt": lambda body: (
        "continue_final_message" in body or "add_generation_prompt" in body
    ),
    "the last message is the assistant's and has no prefix: true": lambda body: (
        body["messages"][-1]["role"] == "assistant" and not body["messages"][-1].get("prefix")
    ),
    "after an optional system message roles are not user, assistant, user, ...": lambda body: not _alternates(body),
}


async def _check(case: Case, server: CaseServer, store: Store) -> str:
    backend = OpenAIBackend(server.add(case["id"], refusing(case["server"])), "test-model")
    server.models[case["id"]] = case["server"]["models"]
    try:
        said = str(await backend.check())
    except HerError as error:
        return f"error: {error}"
    return "" if "does not list" in said else said


async def _acts(case: Case, server: CaseServer, store: Store) -> str:
    begun = {"text": case.get("before", "")}
    refuse = refusing(case["server"])
    chat = Chat(store, server.add(case["id"], lambda body: event(begun["text"]) if begun["text"] else refuse(body)))
    await chat.open()
    if begun["text"]:
        await chat.act("send")
        begun["text"] = ""
    acts = case["act"].split(", ")
    got = [await asyncio.wait_for(chat.act(name), 30) for name in acts]
    if len(acts) > 1:
        sent = server.bodies[case["id"]]
        return "" if not any(one.startswith("error:") for one in got) and len(sent) == len(acts) else str(got)
    visible = [part.text for part in (await chat.turns())[-1].turn.parts if part.kind in REPLY_KINDS and part.kind != PLAN]
    wanted = case["expected"].removeprefix("visible parts ").removesuffix(", said once")
    kept = "|".join(piece for piece in _pieces(got[0]) if not piece.startswith("p:")) if wanted != case["expected"] else got[0]
    return "" if agrees(wanted, kept) and len(visible) == len(_pieces(wanted)) else got[0]


async def read_parameters(cases: list[Case], server: CaseServer, store: Store) -> dict[str, str]:
    """Return the acts that went wrong at servers that refuse parameters."""
    acts: dict[str, Callable[[Case, CaseServer, Store], Awaitable[str]]] = {"check": _check}
    results = {case["id"]: await acts.get(case["act"], _acts)(case, server, store) for case in cases}
    return {name: got for name, got in results.items() if got}


async def measure(cases: Mapping[str, list[Case]], home: Path) -> dict[str, dict[str, str]]:
    """Return what was read wrong in each list."""
    store = Store(f"sqlite:///{home / 'her.sqlite3'}")
    async with CaseServer() as server:
        wrong = read_texts(cases["text"])
        wrong["streams"] = await read_streams(cases["streams"], server, store)
        wrong["whole"] = await read_whole(cases["whole"], server)
        wrong["parameters"] = await read_parameters(cases["parameters"], server, store)
    store.close()
    return wrong


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path, help="JSON file with the cases")
    cases = json.loads(parser.parse_args().cases.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as home:
        os.environ["HER_HOME"] = home
        wrong = asyncio.run(measure(cases, Path(home)))
    counts = {name: len(cases[name]) for name in ("streams", "whole", "parameters")}
    counts |= {name: sum(case["taste"] is (name == "taste") for case in cases["text"]) for name in ("tasteless", "taste")}
    right = {name: counts[name] - len(wrong[name]) for name in wrong}
    measured = {"right": right, "of": counts, "wrong": wrong}
    report("reading", BAR, measured, all(right[name] >= BAR[name] * counts[name] for name in BAR))


if __name__ == "__main__":
    main()
