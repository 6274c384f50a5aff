"""her/ui/build.py: the playground as it is built and started, seen over HTTP: the two endpoints, and what a stranger gets.

The tests marked `whole` start `app.py` as a process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from her.ui.build import claim_gpu
from tests.playground import ROOT, Playground, Visitor

whole = pytest.mark.whole


def test_a_zero_gpu_space_names_a_function_and_nothing_else_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[Any] = []
    monkeypatch.setitem(sys.modules, "spaces", None)  # an import of it fails now, as on a laptop
    claim_gpu()
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=claimed.append))
    claim_gpu()
    assert [one() for one in claimed] == ["warm"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    with Playground(tmp_path_factory.mktemp("app")) as playground:
        yield playground


@whole
def test_a_chat_over_http(app: Playground) -> None:
    visitor = Visitor(app.url)
    chat = visitor.act("start", persona="scheherazade", name="Mara")
    assert chat["view"]["speaker"] == "Scheherazade"
    steps = list(visitor.run("send", chat=chat["chat"], text="Who are you?"))
    assert steps[-1]["end"] is True and not steps[-1]["error"]
    node = steps[-1]["order"][-1]
    rating = {"rubric": visitor.act("boot")["rubric"]["id"], "thumb": 1, "stars": {"voice": 5}}
    assert visitor.act("rate", chat=chat["chat"], node=node, rating=rating)["saved"] > 0
    mine = steps[-1]["order"][-2]
    assert "only turns of the persona" in visitor.act("rate", chat=chat["chat"], node=mine, rating=rating)["error"]
    assert "star" in visitor.act("rate", chat=chat["chat"], node=node, rating={**rating, "stars": {"voice": 6}})["error"]


@whole
def test_no_endpoint_serves_another_visitors_chat(app: Playground) -> None:
    owner, thief = Visitor(app.url), Visitor(app.url)
    chat = owner.act("start", persona="scheherazade", name="Mara")["chat"]
    node = list(owner.run("send", chat=chat, text="My secret is heliotrope."))[-1]["order"][-1]
    wishes: dict[str, dict[str, Any]] = {
        **dict.fromkeys(("open", "stop", "delete_chat"), {}),
        "export": {"format": "jsonl"},
        **dict.fromkeys(("older", "keep", "source", "branch", "delete"), {"node": node}),
        "swipe": {"node": node, "step": 1},
        "replay": {"count": 1},
        "edit": {"node": node, "text": "Mine now."},
        "rename": {"text": "Mine now."},
        "rate": {"node": node, "rating": {"thumb": -1}},
    }
    for act, wish in wishes.items():
        answer = thief.act(act, chat=chat, **wish)
        assert set(answer) == {"error", "again"} and not answer["error"].startswith("request:"), (act, answer)
        assert "heliotrope" not in json.dumps(answer)
    runs: dict[str, dict[str, Any]] = {
        **dict.fromkeys(("answer", "continue", "follow"), {}),
        "send": {"text": "Tell me."},
        "regenerate": {"node": node},
        "edit": {"node": node, "text": "Tell me."},
    }
    for act, wish in runs.items():
        steps = list(thief.run(act, chat=chat, **wish))
        assert len(steps) == 1 and steps[0]["error"] and not steps[0]["error"].startswith("request:"), (act, steps)
        assert "heliotrope" not in json.dumps(steps)
    assert thief.act("chats") == {"chats": []}
    assert owner.act("open", chat=chat)["order"][-1] == node


@whole
def test_no_endpoint_answers_without_a_token(app: Playground) -> None:
    visitor = Visitor(app.url)
    visitor.token = ""
    assert "token" in visitor.act("boot")["error"]
    assert "token" in next(visitor.run("send", chat="c", text="x"))["error"]


@whole
def test_an_act_that_does_not_exist_is_named(app: Playground) -> None:
    assert "'fly' does not exist" in Visitor(app.url).act("fly")["error"]


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@whole
def test_hostile_json_costs_one_short_line_in_the_log(app: Playground) -> None:
    visitor, before = Visitor(app.url), app.log.stat().st_size
    assert "nested deeper" in visitor.act("rate", chat="c", node=None, rating={"stars": nested(900)})["error"]
    [end] = visitor.run("send", chat="c", text=nested(900))
    assert "nested deeper" in end["error"] and end["give_back"] == ""
    assert app.log.read_bytes()[before:].decode() == "a request nested deeper than 8 levels was refused\n" * 2


@whole
def test_nothing_can_be_left_on_the_servers_disk(app: Playground) -> None:
    for door, status in (("upload", 403), ("component_server", 415), ("queue/join", 415)):
        answer = httpx.post(f"{app.url}/gradio_api/{door}", files={"files": ("big.bin", b"0" * 1000)})
        assert answer.status_code == status, door


@whole
def test_what_the_page_never_sends_is_a_sentence(app: Playground) -> None:
    """A component that does not exist, a function that does not, half a body: each was a bare 500 with a long trace."""
    before = app.log.stat().st_size
    for door, body in (
        ("component_server", {"component_id": 9999, "fn_name": "act", "session_hash": "s", "data": {}}),
        ("queue/join", {"data": [], "fn_index": 9999, "session_hash": "s"}),
    ):
        answer = httpx.post(f"{app.url}/gradio_api/{door}", json=body)
        assert answer.status_code == 400 and "cannot be read" in answer.text
    assert httpx.post(
        f"{app.url}/gradio_api/queue/join", content=b"{", headers={"content-type": "application/json"}
    ).is_client_error
    assert len(app.log.read_bytes()[before:].splitlines()) < 40


@whole
def test_a_message_without_a_reply_is_shown_after_a_kill(tmp_path: Path) -> None:
    """In an environment that broke the start as well: variables of Spaces on another machine, and an IPv6 address."""
    spaces = {"SYSTEM": "spaces", "GRADIO_SERVER_NAME": "::1"}
    with Playground(tmp_path, backend="scripted:?rate=1") as playground:
        visitor = Visitor(playground.url)
        chat = visitor.act("start", persona="scheherazade", name="Mara")["chat"]
        written = visitor.run("send", chat=chat, text="Are you still there?")
        asked = next(patch for patch in written if patch.get("put"))["put"][0]["id"]
        playground.kill()
    with Playground(tmp_path, **spaces) as playground:
        again = Visitor(playground.url, visitor.token)
        shown = again.act("open", chat=chat)
        assert shown["order"][-1] == asked and shown["view"]["can_answer"]
        *_, end = again.run("answer", chat=chat)
        assert end["end"] and end["order"][-2] == asked and len(end["order"]) == len(shown["order"]) + 1


@whole
@pytest.mark.parametrize(("text", "sentence"), [(" \n", "empty"), ("x" * 100_000, "100,000 characters; at most 20,000")])
def test_a_message_that_cannot_be_sent_is_given_back(app: Playground, text: str, sentence: str) -> None:
    visitor = Visitor(app.url)
    chat = visitor.act("start", persona="scheherazade", name="Mara")
    [end] = visitor.run("send", chat=chat["chat"], text=text)
    assert end["end"] is True and sentence in end["error"] and end["give_back"] == text
    assert visitor.act("open", chat=chat["chat"])["order"] == chat["order"]


@whole
def test_the_server_tells_little_and_answers_only_its_address(app: Playground) -> None:
    answer = httpx.get(app.url)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert httpx.get(app.url, headers={"host": "evil.example"}).status_code == 421
    for path in ("/monitoring", "/gradio_api/runs", "/gradio_api/file=/etc/passwd", "/her-static/../stage.py"):
        assert httpx.get(app.url + path).status_code in (401, 403, 404), path


@whole
def test_a_second_playground_on_a_broken_database_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "her.sqlite3").write_bytes(b"this is no database" * 100)
    with pytest.raises(RuntimeError, match="database"):
        Playground(tmp_path)
    assert (tmp_path / "her.sqlite3").read_bytes() == b"this is no database" * 100


@whole
def test_a_taken_port_is_one_sentence(app: Playground, tmp_path: Path) -> None:
    variables = {**os.environ, "HER_HOME": str(tmp_path), "GRADIO_SERVER_PORT": str(app.port)}
    second = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120, check=False
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"her: port {app.port} of 127.0.0.1 cannot be opened")
    assert second.stderr.count("\n") == 1


@whole
def test_it_says_where_it_is_open_and_offers_no_public_link(app: Playground) -> None:
    assert f"HER is open on {app.url}" in app.log.read_text("utf-8")
    assert "share" not in app.log.read_text("utf-8")
