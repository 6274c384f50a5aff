"""her/backends/vllm_reasoning.py with a double of the package as in vllm 0.31: what becomes reasoning and what content.

`python -m tests.backends.vllm_check` tests the same in a real server.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

PLUGIN = Path(__file__).resolve().parents[2] / "her" / "backends" / "vllm_reasoning.py"
PLAN = "<system_thinking>I plan.</system_thinking>"
CHAT = "<|im_start|>user\nSay <think>x</think>.<|im_end|>\n<|im_start|>assistant\n"


class Tokenizer:
    """Each character is a token; the special tokens are one each."""

    all_special_tokens = ["<|im_start|>", "<|im_end|>"]
    all_special_ids = [1, 2]

    def encode(self, text: str) -> list[int]:
        for number, token in enumerate(self.all_special_tokens, 1):
            text = text.replace(token, chr(number))
        return [ord(char) for char in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.all_special_tokens[each - 1] if each in (1, 2) else chr(each) for each in ids)


class ReasoningParser:
    """The used part of vllm.reasoning.ReasoningParser."""

    def __init__(self, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        self.model_tokenizer = tokenizer


class Manager:
    """The used part of vllm.reasoning.ReasoningParserManager."""

    registered: dict[str, type]

    @classmethod
    def register_module(cls, name: str) -> Callable[[type], type]:
        def keep(parser: type) -> type:
            cls.registered[name] = parser
            return parser

        return keep


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of vLLM that the plugin imports."""
    monkeypatch.setattr(Manager, "registered", {}, raising=False)
    contents = {
        "vllm": {},
        "vllm.reasoning": {"ReasoningParser": ReasoningParser, "ReasoningParserManager": Manager},
        "vllm.entrypoints": {},
        "vllm.entrypoints.generate": {},
        "vllm.entrypoints.generate.base": {},
        "vllm.entrypoints.generate.base.protocol": {"DeltaMessage": dict[str, str]},
    }
    for name, members in contents.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)


def load() -> None:
    """Load the plugin as vLLM does: from the path of its file."""
    spec = importlib.util.spec_from_file_location("vllm_reasoning", PLUGIN)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.fixture
def parser(package: None) -> Any:
    load()
    return Manager.registered["her"](Tokenizer(), model_config=None)


def request_with(**fields: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"messages": [], "continue_final_message": False, "skip_special_tokens": True, **fields})


def streamed(parser: Any, text: str, prompt: str = CHAT) -> tuple[str, str]:
    """Return reasoning and content as vLLM's DelegatingParser collects them, character by character."""
    ids, sent = Tokenizer().encode(prompt), []
    if parser.is_reasoning_end(ids):
        return "", text
    parser.adjust_initial_state_from_prompt(ids)
    for place, char in enumerate(text):
        sent.append(parser.extract_reasoning_streaming(text[:place], text[: place + 1], char, [], [], [ord(char)]))
        assert not parser.has_engine_confirmed_reasoning_end()
    sent.append(parser.finish_streaming())
    deltas = [delta for delta in sent if delta]
    assert all(all(delta.values()) for delta in deltas), "an empty field is not sent"
    return "".join(delta.get("reasoning", "") for delta in deltas), "".join(delta.get("content", "") for delta in deltas)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        (PLAN + "Ann: <role_thinking>So.</role_thinking>Hi.", "I plan.", "Ann: <role_thinking>So.</role_thinking>Hi."),
        ("Ann: Hi.", "", "Ann: Hi."),
        ("<system_thinking>I plan and the tokens end", "I plan and the tokens end", ""),
        ("I plan.</think>Ann: Hi.", "I plan.", "Ann: Hi."),
        ("", "", ""),
    ],
)
def test_unstreamed_and_streamed_answers_agree(parser: Any, text: str, reasoning: str, content: str) -> None:
    assert parser.extract_reasoning(text, request_with()) == (reasoning or None, content or None)
    assert streamed(parser, text) == (reasoning, content)


@pytest.mark.parametrize(
    ("held", "text", "reasoning", "content"),
    [
        ("<think>\n", "I plan and the tokens end", "I plan and the tokens end", ""),
        ("<think>\n\n</think>\n\n", "Ann: Hi.", "", "Ann: Hi."),
        ("Ann: Well", ", hi.", "", ", hi."),
        (PLAN + "Ann: Well", ", hi.", "", ", hi."),
    ],
)
def test_a_message_that_the_prompt_began_is_continued(parser: Any, held: str, text: str, reasoning: str, content: str) -> None:
    assert streamed(parser, text, CHAT + held) == (reasoning, content)
    assert parser.extract_reasoning(text, request_with()) == (reasoning or None, content or None)


def test_a_continued_message_is_known_from_the_request_alone(parser: Any) -> None:
    request = request_with(messages=[{"role": "assistant", "content": "<system_thinking>I"}], continue_final_message=True)
    assert parser.extract_reasoning(" plan.", request) == (" plan.", None)
    assert parser.extract_reasoning(" plan.", request_with(messages=request.messages)) == (None, " plan.")


def test_tags_of_system_prompt_and_visitors_are_not_a_plan(parser: Any) -> None:
    ids = Tokenizer().encode("<|im_start|>system\nWrite <system_thinking>a</system_thinking>.<|im_end|>\n" + CHAT)
    assert not parser.is_reasoning_end(ids)
    assert not parser.is_reasoning_end_streaming(ids + Tokenizer().encode("I p"), Tokenizer().encode("I p"))


def test_a_json_schema_applies_from_the_end_of_the_plan(parser: Any) -> None:
    ids = Tokenizer().encode(CHAT + "<think>I plan.</think>")
    assert not parser.is_reasoning_end_streaming(ids[:-1], ids[-2:-1])
    assert parser.is_reasoning_end_streaming(ids, ids[-1:])


def test_tokens_of_the_plan_are_counted(parser: Any) -> None:
    ids = Tokenizer().encode(PLAN + "Ann: Hi.")
    assert parser.count_reasoning_tokens(ids) == len(PLAN)
    assert Tokenizer().decode(parser.extract_content_ids(ids)) == "Ann: Hi."
    assert parser.count_reasoning_tokens(Tokenizer().encode("Ann: Hi.")) == 0
    assert parser.count_reasoning_tokens(Tokenizer().encode("<think>I plan")) == len("<think>I plan")
    assert parser.count_reasoning_tokens([]) == 0


def test_tags_that_are_special_tokens_stay_in_the_text(parser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parser.adjust_request(request_with()).skip_special_tokens
    monkeypatch.setattr(Tokenizer, "all_special_tokens", ["<system_thinking>", "</system_thinking>"])
    assert not parser.adjust_request(request_with()).skip_special_tokens


def test_budgets_for_thinking_know_the_tags(parser: Any) -> None:
    assert parser.reasoning_start_str + "I plan." + parser.reasoning_end_str == PLAN


@pytest.fixture
def without_her(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "her.format.plan_splitter", None)
    yield


def test_a_server_without_her_is_told_what_to_install(package: None, without_her: None) -> None:
    with pytest.raises(ImportError, match="needs the package her in the environment that vLLM runs in"):
        load()
