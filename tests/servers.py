"""An HTTP server with the OpenAI chat completions API whose answers and faults come from a `Script`, changeable at any time.

    with ModelServer() as server:                 # in a thread, on a free port
        server.script.text = "Hello."             # or a function of the request body
        open_backend(f"openai:{server.url}#{server.script.model}")
        server.requests[-1].body["messages"]      # everything that it received

To run it alone, for benchmarks and trials by hand (it answers in the canonical message format, with more than 200 tokens):

    python -m tests.servers --port 9000 --rate 50
"""

import argparse
import asyncio
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Fault = Literal[
    "",
    "html",  # 200 with a web page, as from a captive portal or a wrong path
    "not_json",  # an answer that is not JSON
    "wrong_shape",  # JSON, but not a chat completion
    "truncated",  # the connection is cut after `fault_after` tokens
    "no_finish",  # the stream is closed after `fault_after` tokens, with neither finish_reason nor [DONE]
    "stall",  # nothing more is sent after `fault_after` tokens, until the client leaves
    "error_event",  # an error object as an event after `fault_after` tokens, as vLLM sends it
    "endless",  # never stops
    "empty",  # stops at once without text
    "redirect",  # 307 to `redirect_to`
]

_FAULTS_MIDWAY = {"truncated", "no_finish", "stall", "error_event", "not_json", "wrong_shape"}
_PIECES = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|\s?[^\s\u3000-\u9fff\uff00-\uffef]{1,5}|\s")
_NAME = re.compile(r"(?:You are|你是)\s*(.+?)(?=,|，|。|\(|（| from | in |(?<!Mr)(?<!Mrs)(?<!Ms)(?<!Dr)(?<!St)[.!:;](?:\s|$)|$)")


@dataclass
class Script:
    """Settings of the next answers; any thread may change them at any time.

    Units: `rate` tokens per second (0: all at once), `first_delay` seconds before the first token.
    """

    text: str | Callable[[dict[str, Any]], str] = field(default_factory=lambda: canonical_answer)
    reasoning: str = ""
    reasoning_field: str = "reasoning_content"
    rate: float = 0
    first_delay: float = 0
    finish: str = "stop"
    usage: bool = True
    model: str = "test-her"
    models: list[str] = field(default_factory=list)
    """Names in /models; empty for `model` alone. With `strict_model`, a request for another name gets 404."""
    strict_model: bool = False
    reply_model: str | None = None
    """Model name in the answers: None repeats that of the request, "" leaves it out."""
    status: int = 200
    error: str = "the script says so"
    retry_after: str = ""
    room: int = 0
    """Most calls in flight; further ones get 429. 0: no limit."""
    in_flight: int = field(default=0, init=False)
    fault: Fault = ""
    fault_after: int = 3
    redirect_to: str = "http://127.0.0.1:9/v1"
    refused_field: str = ""
    """A field of the request that gets 400, by its name."""
    refuse_schema: bool = False
    choices: list[tuple[str, dict[str, float]]] | None = None
    """The last tokens of an unstreamed answer with the probabilities of their alternatives; None: it sends none."""
    refuse_choices: bool = False
    models_status: int = 200
    key: str = ""
    """If set, requests without this bearer key get 401."""


@dataclass(frozen=True)
class Received:
    """One request as it arrived. Header names are in lower case, `at` is time.monotonic()."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float


def pieces(text: str) -> list[str]:
    """Split a text as a tokenizer might: one CJK character or up to 5 others each; joined they are the text."""
    return _PIECES.findall(text)


def canonical_answer(body: dict[str, Any]) -> str:
    """Return an answer in the canonical format with more than 200 tokens, spoken by the character that the prompt names."""
    messages = body.get("messages") or [{}]
    system = str(messages[0].get("content", "")) if messages[0].get("role") == "system" else ""
    match = _NAME.match(system)
    name = match.group(1).strip() if match else "Somebody"
    return (_CANONICAL_ZH if system.startswith("你是") else _CANONICAL_EN).replace("NAME", name)


_CANONICAL_EN = (
    "<system_thinking>I need to portray NAME as someone who has waited for exactly this question. The reply should begin "
    "with a thought that is not said aloud, turn to the visitor by way of a small act, and end on a line that leaves the "
    "door open. Nothing of the plan may be heard.</system_thinking>NAME: <role_thinking>So it is asked at last, and on an "
    "ordinary evening too. I had imagined thunder, or at least a better coat.</role_thinking><role_action>turns the lamp "
    "down and draws the second chair nearer to the fire</role_action>Sit with me a while. You have asked a plain thing and "
    "you shall have a plain answer, though I must go round by the road to reach it.<role_thinking>Slowly. It has kept for "
    "eleven years, it will keep for another minute.</role_thinking>There was a house with green shutters, and a clock in it "
    "that was always seven minutes wrong, and nobody would let me mend it.<role_action>counts something off on the "
    "fingers, and stops at the fourth</role_action>When I understood why, I packed my trunk the same night. Tell me, "
    "what would you have done, if the only honest thing in a house were its clock?"
)

_CANONICAL_ZH = (
    "<system_thinking>我需要把NAME演成一个早已料到此问的人。先有一念不出口，再以一个小动作转向来客，"
    "末了留一句话，门是开着的。谋划不可说破，一字也不可露在台词里。</system_thinking>NAME: "
    "<role_thinking>到底还是问了，偏在这样一个寻常的晚上。我原以为要打雷的，至少也该下一场雨，"
    "好叫人有个由头，慢慢地说。</role_thinking><role_action>把灯芯拨低了些，将另一把椅子拖近火边</role_action>"
    "坐一会儿吧。你问得直，我也答得直，只是路要绕一绕才到得了。"
    "<role_thinking>慢些。十一年都等了，不差这一盏茶。</role_thinking>"
    "从前有一座绿窗的宅子，里头有一架钟，总是差着七分，谁也不许我去修它。"
    "<role_action>扳着指头数，数到第四个便停住</role_action>"
    "等我明白过来是什么缘故，当夜就收拾了箱子。你说，一座宅子里若只有那架钟是老实的，你走不走？"
)


class ModelServer:
    """The server. As a context manager it runs in a thread until the block ends."""

    def __init__(self, script: Script | None = None, port: int = 0) -> None:
        self.script = script or Script()
        self.requests: list[Received] = []
        self.disconnects = 0
        """Number of clients that left before the end of their answer."""
        self.port = port
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve()), name="model-server", daemon=True)

    @property
    def url(self) -> str:
        """The base address, as a spec needs it."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests, in order."""
        return [request.body for request in self.requests if request.path.endswith("/chat/completions")]

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The chat requests but those of a check, which asks for one token after a greeting."""
        return [body for body in self.chats if [message["content"] for message in body["messages"]] != ["Hello."]]

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the test server did not start within 10 s")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None and self._stopped is not None
        with suppress(RuntimeError):  # the loop is closed already after a crash; the join below still holds
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    async def serve(self) -> None:
        """Serve until stopped; returns at once after `__exit__` or cancellation."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._converse(reader, writer)
            finally:
                connections.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            await self._stopped.wait()
        finally:
            server.close()
            for task in list(connections):
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it closes or an answer cuts it."""
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                if not await _Answer(self.script, request, reader, writer).send():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            self.disconnects += 1


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    """Read the next request; None when the client closed between requests."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, json.loads(body) if body else {}, time.monotonic())


class _Answer:
    """The answer to one request. `send` returns False when the connection must be cut."""

    def __init__(self, script: Script, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.script, self.request, self.reader, self.writer = script, request, reader, writer
        self.body = request.body

    async def send(self) -> bool:
        script, path = self.script, self.request.path
        if script.fault == "redirect":
            return await self._plain(307, {}, extra=f"location: {script.redirect_to}{path.removeprefix('/v1')}\r\n")
        if script.key and self.request.headers.get("authorization") != f"Bearer {script.key}":
            return await self._plain(401, _error("wrong key " + self.request.headers.get("authorization", "")))
        if path.endswith("/models"):
            return await self._models()
        if not path.endswith("/chat/completions"):
            return await self._plain(404, _error(f"no route {path}"))
        return await self._chat()

    async def _models(self) -> bool:
        if self.script.models_status != 200:
            return await self._plain(self.script.models_status, _error(self.script.error))
        if self.script.fault == "html":
            return await self._html()
        names = self.script.models or [self.script.model]
        return await self._plain(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    async def _chat(self) -> bool:
        script = self.script
        if script.room and script.in_flight >= script.room:
            return await self._plain(429, _error("too many calls in flight"))
        if script.status != 200:
            extra = f"retry-after: {script.retry_after}\r\n" if script.retry_after else ""
            return await self._plain(script.status, _error(script.error), extra)
        if script.refused_field in self.body:
            return await self._plain(400, _error(f"{script.refused_field} is not a known parameter"))
        if script.strict_model and self.body.get("model") not in (script.models or [script.model]):
            return await self._plain(404, _error(f"The model `{self.body.get('model')}` does not exist."))
        if script.fault == "html":
            return await self._html()
        if script.refuse_schema and "response_format" in self.body:
            return await self._plain(400, _error("response_format is not a known parameter"))
        if script.refuse_choices and "logprobs" in self.body:
            return await self._plain(400, _error("logprobs is not a known parameter"))
        script.in_flight += 1
        try:
            return await (self._stream() if self.body.get("stream") else self._unstreamed())
        finally:
            script.in_flight -= 1

    async def _html(self) -> bool:
        return await self._raw(200, "text/html", b"<!doctype html><html><body><h1>Welcome</h1></body></html>")

    def _text(self) -> tuple[list[str], str]:
        """Return the pieces to send and the finish reason, with max_tokens, stop and a continued message applied."""
        script = self.script
        if script.fault == "empty":
            return [], "stop"
        text = script.text if isinstance(script.text, str) else script.text(self.body)
        if self.body.get("continue_final_message"):
            text = text.removeprefix(str(self.body["messages"][-1]["content"]))
        for stop in self.body.get("stop") or []:
            text = text.split(stop)[0]
        tokens = pieces(text)
        limit = self.body.get("max_completion_tokens") or self.body.get("max_tokens") or len(tokens)
        return (tokens[:limit], "length") if limit < len(tokens) else (tokens, script.finish)

    def _usage(self, sent: int) -> dict[str, int]:
        prompt = sum(len(pieces(str(m.get("content", "")))) + 4 for m in self.body.get("messages", []))
        return {"prompt_tokens": prompt, "completion_tokens": sent, "total_tokens": prompt + sent}

    def _with_model(self, chunk: dict[str, Any]) -> dict[str, Any]:
        name = self.body.get("model", "") if self.script.reply_model is None else self.script.reply_model
        return {"id": "chatcmpl-test", "created": 0, **({"model": name} if name else {}), **chunk}

    async def _unstreamed(self) -> bool:
        script = self.script
        if script.fault == "not_json":
            return await self._raw(200, "application/json", b'{"choices": [')
        if script.fault == "wrong_shape":
            return await self._plain(200, {"detail": "not a completion"})
        if script.fault == "truncated":
            self.writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{"choices')
            await self.writer.drain()
            return False
        if script.fault == "stall":
            return await self._fail()
        if script.fault == "endless":
            return await self._endless()
        sent, finish = self._text()
        await asyncio.sleep(script.first_delay + (len(sent) / script.rate if script.rate else 0))
        message: dict[str, Any] = {"role": "assistant", "content": "".join(sent)}
        if script.reasoning:
            message[script.reasoning_field] = script.reasoning
        choice = {"index": 0, "message": message, "finish_reason": finish}
        if self.body.get("logprobs") and script.choices is not None:
            most = self.body.get("top_logprobs", 0)
            choice["logprobs"] = {"content": [_token(text, likely, most) for text, likely in script.choices]}
        usage = {"usage": self._usage(len(sent))} if script.usage else {}
        return await self._plain(200, self._with_model({"object": "chat.completion", "choices": [choice], **usage}))

    async def _endless(self) -> bool:
        """Send a completion whose text does not end before the client leaves."""
        self.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        await self._write(b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "')
        while True:
            await self._write(b"and on " * 10_000)

    async def _stream(self) -> bool:
        script, writer = self.script, self.writer
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await writer.drain()
        started = time.monotonic() + script.first_delay
        sent, (text, finish) = 0, self._text()
        await asyncio.sleep(script.first_delay)
        for change in self._changes(text):
            if sent == script.fault_after and script.fault in _FAULTS_MIDWAY:
                return await self._fail()
            if script.rate:
                await asyncio.sleep(started + sent / script.rate - time.monotonic())
            await self._event(self._chunk(change))
            sent += 1
        await self._event(self._chunk({}, finish))
        if script.usage and (self.body.get("stream_options") or {}).get("include_usage"):
            await self._event(self._with_model({"object": "chat.completion.chunk", "choices": [], "usage": self._usage(sent)}))
        return await self._end(b"data: [DONE]\n\n")

    def _changes(self, text: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the `delta` of each event."""
        for piece in pieces(self.script.reasoning):
            yield {self.script.reasoning_field: piece}
        while True:
            for piece in text:
                yield {"content": piece}
            if self.script.fault != "endless":
                return

    def _chunk(self, change: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": change, "finish_reason": finish}
        return self._with_model({"object": "chat.completion.chunk", "choices": [choice]})

    async def _fail(self) -> bool:
        match self.script.fault:
            case "stall":
                await self.reader.read(1)  # returns when the client leaves
                raise ConnectionResetError("the client left")
            case "no_finish":
                return await self._end(b"")
            case "error_event":
                await self._event(_error(self.script.error))
                return await self._end(b"data: [DONE]\n\n")
            case "not_json":
                await self._write(b'data: {"choices": [\n\n')
                return await self._end(b"data: [DONE]\n\n")
            case "wrong_shape":
                await self._event({"detail": "not a chunk"})
                return await self._end(b"data: [DONE]\n\n")
        return False

    async def _event(self, event: dict[str, Any]) -> None:
        await self._write(b"data: " + json.dumps(event).encode() + b"\n\n")

    async def _write(self, block: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError("the client left")
        self.writer.write(b"%x\r\n%s\r\n" % (len(block), block))
        await self.writer.drain()
        if not self.script.rate:
            await asyncio.sleep(0)  # an endless stream without a rate must not block the event loop

    async def _end(self, last: bytes) -> bool:
        if last:
            await self._write(last)
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return True

    async def _plain(self, status: int, body: dict[str, Any], extra: str = "") -> bool:
        return await self._raw(status, "application/json", json.dumps(body).encode(), extra)

    async def _raw(self, status: int, kind: str, body: bytes, extra: str = "") -> bool:
        head = f"HTTP/1.1 {status} Answer\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()
        return True


def _token(text: str, likely: dict[str, float], most: int) -> dict[str, Any]:
    """Return one entry of `logprobs.content` as OpenAI's API describes it."""

    def entry(token: str) -> dict[str, Any]:
        return {"token": token, "logprob": math.log(likely.get(token, 1.0)), "bytes": list(token.encode())}

    return {**entry(text), "top_logprobs": [entry(token) for token in sorted(likely, key=lambda each: -likely[each])[:most]]}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "script", "code": None}}


def main() -> None:
    """Serve until interrupted; print the spec to use."""
    parser = argparse.ArgumentParser(description="an OpenAI-compatible server with prepared answers")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=50, help="tokens a second, 0 for all at once")
    parser.add_argument("--first-delay", type=float, default=0, help="seconds before the first token")
    parser.add_argument("--reasoning", default="", help="text of a native reasoning field")
    options = parser.parse_args()
    script = Script(rate=options.rate, first_delay=options.first_delay, reasoning=options.reasoning)
    server = ModelServer(script, options.port)
    print(f"openai:http://127.0.0.1:{options.port}/v1#{script.model}", flush=True)
    with suppress(KeyboardInterrupt):
        asyncio.run(server.serve())


if __name__ == "__main__":
    main()
