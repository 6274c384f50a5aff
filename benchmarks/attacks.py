"""Attack a playground as strangers did, with its guards and with each of them taken out. Run: `python -m benchmarks.attacks`

Each attack is played against a playground of its own in a process, twice: as it is, where it must fail, and with the guard that
stops it taken out of the running code, where it must succeed, or it would show nothing. Raw requests to all of Gradio's doors
come on top.
"""

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from benchmarks.report import report
from tests.playground import Playground, Visitor
from tests.servers import ModelServer, Script

KEY = "sk-live-0123456789abcdef"
DEAD = "openai:http://127.0.0.1:9/v1#m"
API = "/gradio_api"
DOORS = (
    *(f"{API}/{door}" for door in ("deep_link", "call/run/0a", "dev/reload", "openapi.json", "queue/status", "info", "app_id")),
    *(
        f"{API}/{door}"
        for door in ("upload_progress?upload_id=1", "file=/etc/passwd", "proxy=http://127.0.0.1:9", "stream/0a/1/2/x")
    ),
    *("/docs", "/redoc", "/openapi.json", "/runs", "/token", "/user", "/monitoring", "/login_check", "/vibe-code", "/pwa_icon"),
    *("/file=/etc/passwd", "/her-static/../guard.py", "/static/../../../../etc/passwd", "/profiling/traces"),
)


class Attack(NamedTuple):
    """An attack, and the guard that stops it.

    Args:
        play: returns whether it succeeded against the playground.
        guard: `module:function` and a piece of its source, each of which is replaced to take the guard out.
        changed: what stands there then.
        backend: of the playground.
    """

    name: str
    play: Callable[[Playground], bool]
    guard: str
    piece: str
    changed: str
    backend: str = "scripted:?rate=0"


def tells_addresses(page: Playground) -> bool:
    """Return whether an error names the host of the model's server."""
    visitor, chat = _chat(page)
    *_, end = visitor.run("send", chat=chat, text="Hello.")
    return "127.0.0.1" in end["error"]


def takes_files(page: Playground) -> bool:
    """Return whether a posted form is taken."""
    answer = httpx.post(f"{page.url}{API}/component_server", files={"file": ("a.bin", b"0" * 1000)}, data={"data": "{}"})
    return answer.status_code != 415


def opens_doors(page: Playground) -> bool:
    """Return whether one of Gradio's other addresses answers."""
    return any(_answers(page.url + door) for door in DOORS)


def posts_from_elsewhere(page: Playground) -> bool:
    """Return whether a page of another site can start a chat."""
    visitor = Visitor(page.url)
    visitor.http.headers["origin"] = "https://evil.example"
    with contextlib.suppress(httpx.HTTPStatusError):
        return "chat" in visitor.act("start", persona="scheherazade")
    return False


def rebinds(page: Playground) -> bool:
    """Return whether a foreign host name is answered."""
    return httpx.get(page.url, headers={"host": "evil.example"}).status_code == 200


def calls_at_once(page: Playground) -> bool:
    """Return whether one visitor gets more replies at once than the limit, by sending in sixty chats together."""
    visitor = Visitor(page.url)
    chats = [visitor.act("start", persona="scheherazade")["chat"] for _ in range(60)]

    async def send() -> None:
        async with httpx.AsyncClient(base_url=page.url, timeout=60) as http:
            joins = [visitor.join(f"s{number}", "send", chat=chat, text="Hello.") for number, chat in enumerate(chats)]
            await asyncio.gather(*(http.post(f"{API}/queue/join", json=join) for join in joins))

    asyncio.run(send())
    live = sum(visitor.act("open", chat=chat)["view"]["live"] for chat in chats)
    return bool(live > 3)


def follows_without_end(page: Playground) -> bool:
    """Return whether one visitor holds 45 streams of a reply that is being written."""
    visitor, chat = _chat(page)
    reply = visitor.run("send", chat=chat, text="Hello.")
    next(reply)
    streams = [visitor.run("follow", chat=chat) for _ in range(45)]  # kept, so that none of them is closed
    return not any("error" in next(each) for each in streams)


def opens_chats_without_end(page: Playground) -> bool:
    """Return whether a visitor gets more chats than the list shows."""
    visitor = Visitor(page.url)
    return all("chat" in visitor.act("start", persona="scheherazade") for _ in range(201))


def breaks_in_the_open(page: Playground) -> bool:
    """Return whether a component that does not exist costs a bare 500."""
    body = {"component_id": 9999, "fn_name": "act", "session_hash": "s", "data": {}}
    return httpx.post(f"{page.url}{API}/component_server", json=body).status_code == 500


def fills_the_log(page: Playground) -> bool:
    """Return whether a rating 900 levels deep costs more than ten lines of the log."""
    deep: Any = 0
    for _ in range(900):
        deep = [deep]
    before = len(page.log.read_bytes().splitlines())
    visitor, chat = _chat(page)
    with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):
        visitor.act("rate", chat=chat, node=None, rating={"stars": deep})
    return len(page.log.read_bytes().splitlines()) - before > 10


def hides_a_message(page: Playground) -> bool:
    """Return whether a message that was taken is shown nowhere after a kill in mid-reply."""
    visitor, chat = _chat(page)
    patch = next(patch for patch in visitor.run("send", chat=chat, text="Are you there?") if patch.get("put"))
    page.kill()
    with _reopened(page) as again:
        return bool(Visitor(again.url, visitor.token).act("open", chat=chat)["order"][-1] != patch["put"][0]["id"])


def reads_files(page: Playground) -> bool:
    """Return whether other users of the machine may read the chats."""
    return any(path.stat().st_mode & 0o077 for path in page.log.parent.glob("her.sqlite3*"))


def echoes_a_key(page: Playground) -> bool:
    """Return whether a key that was given as a spec is repeated."""
    command = [sys.executable, "-m", "benchmarks.attacks", "spec", KEY]
    environment = {**os.environ, "HER_HOME": str(page.log.parent), "ATTACKED": os.environ.get("ATTACKED", "")}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return KEY in found.stdout + found.stderr


ATTACKS = (
    Attack(
        "addresses in errors",
        tells_addresses,
        "her.chat.generations:RunningGenerations._undo",
        "visitor_sentence(error, generation.job.backend.describe().spec)",
        "str(error)",
        DEAD,
    ),
    Attack("multipart", takes_files, "her.ui.guard:Guard._refusal", "return 415, _NOT_JSON", "pass"),
    Attack(
        "other doors", opens_doors, "her.ui.guard:Guard._refusal", "return None if known else (404, NOTHING_HERE)", "return None"
    ),
    Attack("another site", posts_from_elsewhere, "her.ui.guard:Guard._refusal", "return 403, _FOREIGN", "pass"),
    Attack("another host", rebinds, "her.ui.guard:Guard._refusal", "return 421, _OTHER_HOST", "pass"),
    Attack(
        "sixty at once", calls_at_once, "her.chat.ceilings:Places.take", "raise InputError(sentence)", "pass", "scripted:?rate=1"
    ),
    Attack(
        "streams without end",
        follows_without_end,
        "her.ui.stage:Stage.run",
        "with self.service.stream_place(request.visitor):",
        "if True:",
        "scripted:?rate=1",
    ),
    Attack("chats without end", opens_chats_without_end, "her.store.chats:_require_room", "if not most:", "if True:"),
    Attack("bare errors", breaks_in_the_open, "her.ui.guard:Guard._pass", "if began:", "if True:"),
    Attack("deep nesting", fills_the_log, "her.ui.requests:_readable", "if level > DEEPEST:", "if False:"),
    Attack(
        "lost message",
        hides_a_message,
        "her.store.chats:Chats.show_unanswered",
        "for row in found:",
        "for row in ():",
        "scripted:?rate=1",
    ),
    Attack(
        "open files",
        reads_files,
        "her.store.opening:_keep_private",
        "if path.stat().st_mode & 0o077:",
        "if path.chmod(0o644) is not None:",
    ),
    Attack("a key as spec", echoes_a_key, "her.backends.addresses:hidden", 'return _KEY.sub("***", bare)', "return bare"),
)
"""Every attack with the guard that stops it."""


def _answers(address: str) -> bool:
    """Return whether an address answers, or keeps a stream open."""
    try:
        with httpx.stream("GET", address, timeout=3) as answer:  # the body may be endless, or break off
            return answer.status_code < 400
    except httpx.ReadTimeout:
        return True


def _chat(page: Playground) -> tuple[Visitor, str]:
    visitor = Visitor(page.url)
    return visitor, visitor.act("start", persona="scheherazade", name="Mara")["chat"]


@contextlib.contextmanager
def _reopened(page: Playground) -> Iterator[Playground]:
    with Attacked(page.log.parent, "scripted:?rate=0") as again:
        yield again


class Attacked(Playground):
    """A playground whose guard may be taken out, by the variable ATTACKED."""

    command = (sys.executable, "-m", "benchmarks.attacks", "serve")


def guard_of(attack: Attack) -> tuple[Any, str]:
    """Return the function that holds an attack's guard, and its source without the guard.

    Raises:
        LookupError: its source has changed, so the benchmark would test nothing.
    """
    place, _, path = attack.guard.partition(":")
    found: Any = importlib.import_module(place)
    for name in path.split("."):
        if not hasattr(found, name):
            raise LookupError(f"there is no {attack.guard}; bring benchmarks/attacks.py up to date")
        found = getattr(found, name)
    source = textwrap.dedent(inspect.getsource(found))
    if attack.piece not in source:
        raise LookupError(f"{attack.guard} has no '{attack.piece}'; bring benchmarks/attacks.py up to date")
    return found, source.replace(attack.piece, attack.changed)


def take_out(name: str) -> None:
    """Take the guard of an attack out of the code of this process."""
    function, source = guard_of(next(each for each in ATTACKS if each.name == name))
    made: dict[str, Any] = {}
    exec(compile(source, function.__module__, "exec"), function.__globals__, made)  # noqa: S102
    function.__code__ = made[function.__name__].__code__  # in the function itself, which other modules have imported by name


def succeeded(attack: Attack, taken_out: bool) -> bool:
    """Play one attack against a playground of its own."""
    os.environ["ATTACKED"] = attack.name if taken_out else ""
    with tempfile.TemporaryDirectory() as folder, ModelServer(Script()), Attacked(Path(folder), attack.backend) as page:
        return attack.play(page)


def main(words: list[str]) -> None:
    """Play every attack twice and print the JSON object; or serve, or parse a spec, as the attacked process."""
    if words:
        from her import paths

        if name := os.environ.get("ATTACKED"):
            take_out(name)
        if words[0] == "spec":
            from her.cli import app as command

            sys.argv = ["her", "backends", "check", words[1]]
            command()
        paths.prepare_for_gradio()
        import app

        app.main()
        return
    with_guard = {attack.name: succeeded(attack, False) for attack in ATTACKS}
    without = {attack.name: succeeded(attack, True) for attack in ATTACKS}
    measured = {
        "attacks": len(ATTACKS),
        "succeeded": [name for name, won in with_guard.items() if won],
        "guards_without_effect": [name for name, won in without.items() if not won],
        "doors": len(DOORS),
    }
    bar = {"succeeded": 0, "guards_without_effect": 0}
    report("attacks", bar, measured, not measured["succeeded"] and not measured["guards_without_effect"])


if __name__ == "__main__":
    main(sys.argv[1:])
