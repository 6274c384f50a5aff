"""her/ui/connect_tab: who may connect a model, for whom, and what becomes of one that does not answer."""

import pytest

from her.backends.base import Backend
from her.store import Store
from her.ui.connect_tab import ConnectTab, _plain
from her.ui.requests import visitor_id
from tests.players import Actor, service
from tests.servers import ModelServer, Script

ANNES, BERTS = "aa" * 32, "bb" * 32


async def test_no_visitor_sets_an_address_unless_the_server_allows_it(store: Store) -> None:
    chats = service(store, Actor())
    with ModelServer() as server:
        answer = await ConnectTab(chats, allow_urls=False).use(f"openai:{server.url}", ANNES)
        assert "allow" in answer and server.requests == []
    assert chats.backend_for(visitor_id(ANNES)) is chats.backend


async def test_a_connected_model_serves_one_visitor_and_gets_no_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HER_OPENAI_API_KEY", "sk-operators-own")
    chats = service(store, Actor())
    tab = ConnectTab(chats, allow_urls=True)
    with ModelServer() as server:
        assert "test\\-her" in await tab.use(f"openai:{server.url}", ANNES)
        assert chats.backend_for(visitor_id(ANNES)).describe().model == "test-her"
        assert chats.backend_for(visitor_id(BERTS)) is chats.backend
        assert all("authorization" not in request.headers for request in server.requests)
        await tab.use("", ANNES)
        assert chats.backend_for(visitor_id(ANNES)) is chats.backend


@pytest.mark.parametrize(
    ("spec", "token", "sentence"),
    [
        ("local:checkpoints/her", ANNES, "visitors may connect to servers only"),
        ("vllm:checkpoints/her", ANNES, "visitors may connect to servers only"),
        ("nonsense", ANNES, "is not a spec"),
        ("scripted:", "", "no visitor token"),
        ("openai:http://127.0.0.1:9/v1#m", ANNES, "connection refused"),
    ],
)
async def test_what_cannot_be_connected_changes_nothing(store: Store, spec: str, token: str, sentence: str) -> None:
    chats = service(store, Actor())
    answer = await ConnectTab(chats, allow_urls=True).use(spec, token)
    assert answer.startswith("⚠") and sentence in answer
    assert chats.backend_for(visitor_id(ANNES)) is chats.backend


async def test_a_model_that_does_not_answer_is_closed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Backend] = []

    async def close(backend: Backend) -> None:
        closed.append(backend)

    monkeypatch.setattr("her.backends.openai_http.OpenAIBackend.close", close)
    with ModelServer(Script(status=500, models_status=500)) as server:
        assert "⚠" in await ConnectTab(service(store, Actor()), allow_urls=True).use(f"openai:{server.url}#m", ANNES)
    assert len(closed) == 1


def test_server_words_are_no_markdown() -> None:
    assert _plain("[x](http://example.org) <b>*y*</b>") == r"\[x\]\(http://example\.org\) &lt;b\>\*y\*&lt;/b\>"
