"""her/backends/vllm_engine.py with a double of the package vllm: what is passed on, and every failure."""

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from her.backends.base import Backend, WholeAnswerBackend
from her.backends.open import open_backend
from her.backends.vllm_engine import VLLMBackend
from her.errors import BackendError, InputError
from her.types import Message, Sampling

HELLO = [Message(role="system", content="You are Ann."), Message(role="user", content="Hello.")]


class Engine:
    """The used part of vllm.v1.engine.async_llm.AsyncLLM."""

    model_config = SimpleNamespace(max_model_len=64)
    answer: Any = SimpleNamespace(text="Here.", token_ids=[1, 2], finish_reason="stop", logprobs=None)
    fails: Exception | None = None

    def __init__(self, args: dict[str, Any]) -> None:
        self.args, self.calls, self.aborted, self.down = args, [], [], False

    @classmethod
    def from_engine_args(cls, args: dict[str, Any]) -> "Engine":
        if args["model"] == "nowhere":
            raise OSError("no such folder")
        return cls(args)

    def get_tokenizer(self) -> Any:
        return self

    chat_template, added_tokens_decoder = "", {}  # type: ignore[var-annotated]

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        self.template = options
        return "".join(message["content"] for message in messages)

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(char) for char in text] for text in texts]}

    async def generate(self, prompt: Any, params: Any, request: str) -> AsyncIterator[Any]:
        self.calls.append((prompt, params, request))
        if self.fails is not None:
            raise self.fails
        if self.answer is None:
            await asyncio.Event().wait()
        yield SimpleNamespace(outputs=[self.answer])

    async def abort(self, request: str) -> None:
        self.aborted.append(request)

    def shutdown(self) -> None:
        self.down = True


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    class Fresh(Engine):
        pass

    parts = {
        "vllm": {"AsyncEngineArgs": dict, "SamplingParams": dict},
        "vllm.sampling_params": {"RequestOutputKind": SimpleNamespace(FINAL_ONLY="last"), "StructuredOutputsParams": dict},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": Fresh},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return Fresh


async def test_asks_with_the_template_and_keeps_to_a_schema(engine: type[Engine]) -> None:
    backend = VLLMBackend("folder", "abc")
    assert isinstance(backend, Backend) and isinstance(backend, WholeAnswerBackend)
    answer = await backend.ask(HELLO, Sampling(seed=3, max_tokens=9), schema={"type": "object"})
    assert (answer.text, answer.finish) == ("Here.", "stop")
    assert answer.usage is not None and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (18, 2)
    loaded = backend._engine
    assert loaded.args == {"model": "folder", "revision": "abc"}
    assert loaded.template["add_generation_prompt"] is True
    prompt, params, _ = loaded.calls[0]
    assert len(prompt["prompt_token_ids"]) == 18
    assert (params["seed"], params["max_tokens"], params["structured_outputs"]) == (3, 9, {"json": {"type": "object"}})
    assert backend.describe().context == 64 and backend.count_tokens(HELLO) == 18
    await backend.close()
    assert loaded.down


async def test_gives_the_log_probabilities_of_the_last_tokens(engine: type[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    def place(**likely: float) -> dict[int, Any]:
        return {ord(text): SimpleNamespace(decoded_token=text, logprob=value) for text, value in likely.items()}

    answer = SimpleNamespace(
        text="xA", token_ids=[ord("x"), ord("A")], finish_reason="stop", logprobs=[place(x=0.0), place(A=-0.5, B=-math.inf)]
    )
    monkeypatch.setattr(Engine, "answer", answer)
    backend = VLLMBackend("model")
    completion = await backend.ask(HELLO, Sampling(), choices=2)
    assert [(choice.text, dict(choice.logprobs)) for choice in completion.choices] == [
        ("x", {"x": 0.0}),
        ("A", {"A": -0.5, "B": -1e4}),
    ]
    assert backend._engine.calls[0][1]["logprobs"] == 2


async def test_continues_what_was_begun(engine: type[Engine]) -> None:
    backend = VLLMBackend("folder")
    await backend.complete([*HELLO, Message(role="assistant", content="I ")], Sampling())
    assert "".join(map(chr, backend._engine.calls[0][0]["prompt_token_ids"])).endswith("I ")


async def test_one_engine_for_many_calls(engine: type[Engine]) -> None:
    backend = VLLMBackend("folder")
    await asyncio.gather(*(backend.complete(HELLO, Sampling()) for _ in range(5)))
    assert len(backend._engine.calls) == 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answer": SimpleNamespace(text="", token_ids=[], finish_reason="stop")}, "empty"),
        ({"fails": ValueError("bad grammar")}, "bad_request"),
        ({"fails": RuntimeError("engine dead")}, "server_error"),
        ({"answer": None}, "timeout"),
        ({"model_config": SimpleNamespace(max_model_len=10)}, "bad_request"),
    ],
)
async def test_failures(engine: type[Engine], changes: dict[str, Any], reason: str) -> None:
    for name, value in changes.items():
        setattr(engine, name, value)
    backend = VLLMBackend("folder")
    with pytest.raises(BackendError) as caught:
        await backend.ask(HELLO, Sampling(), seconds=0.05)
    assert caught.value.reason == reason
    assert len(backend._engine.aborted) == (reason == "timeout")


async def test_a_model_that_cannot_be_loaded(engine: type[Engine]) -> None:
    with pytest.raises(BackendError, match="cannot load 'nowhere': no such folder"):
        await VLLMBackend("nowhere").check()


async def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(BackendError) as caught:
        await VLLMBackend("folder").check()
    assert caught.value.reason == "missing_extra" and "-e '.[vllm]'" in str(caught.value)


def test_pipelines_may_open_it_and_the_playground_may_not() -> None:
    assert isinstance(open_backend("vllm:folder", pipeline=True), VLLMBackend)
    with pytest.raises(InputError, match="her serve folder"):
        open_backend("vllm:folder")
