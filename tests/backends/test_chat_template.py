"""her/backends/chat_template.py: what real chat templates do to messages, and that no text is lost or becomes a control token."""

from typing import Any

import pytest

from her.backends.chat_template import PromptEncoder, TemplateRefusal
from her.backends.folding import fold_system
from her.types import Message

ALTERNATE = "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
TEMPLATES = {
    "plain": TURNS,
    "refuses": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TURNS,
    "drops": TURNS.replace("messages %}", "messages if m.role != 'system' %}", 1),
    "last": "{% if messages[0].role == 'system' and messages[-1].role == 'user' %}{{ messages[0].content }}{% endif %}"
    + TURNS.replace("messages %}", "messages if m.role != 'system' %}", 1),
    "alternates": TURNS.replace("messages %}", "messages if m.role != 'system' %}" + ALTERNATE, 1),
    "trims": TURNS.replace("m.content", "m.content | trim"),
    "spaced": "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content + '</s>' }}"
    "{% else %}[{{ m.content }}]{% endif %}{% endfor %}",
}


class Characters:
    """A tokenizer of characters with one control token, `</s>`, as the part of transformers that is used."""

    backend_tokenizer = None
    added_tokens_decoder: dict[int, Any] = {}

    def __init__(self, template: str) -> None:
        self.chat_template = template

    def apply_chat_template(self, rows: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise TemplateError(message)

        template = ImmutableSandboxedEnvironment().from_string(self.chat_template)
        return template.render(messages=rows, add_generation_prompt=add_generation_prompt, raise_exception=refuse)

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [list(map(ord, text)) for text in texts]}


def said(name: str, *messages: tuple[str, str], ask: bool = True) -> str:
    """Return what a model with this template reads."""
    chat = [Message(role=role, content=content) for role, content in messages]  # type: ignore[arg-type]
    return "".join(map(chr, PromptEncoder(Characters(TEMPLATES[name])).ids(chat, ask)))


CHAT = (("system", "You are Ann."), ("user", "Bea: Hi."))
FOLDED = "<user>You are Ann.\n\nBea: Hi.</s>"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "<system>You are Ann.</s><user>Bea: Hi.</s><assistant>"),
        ("refuses", FOLDED + "<assistant>"),
        ("drops", FOLDED + "<assistant>"),
        ("last", FOLDED + "<assistant>"),
        ("alternates", FOLDED + "<assistant>"),
        ("spaced", "[You are Ann.][Bea: Hi.]"),
    ],
)
def test_a_system_text_is_never_lost(name: str, expected: str) -> None:
    assert said(name, *CHAT) == expected
    continued = said(name, *CHAT, ("assistant", "Ann: Co"))
    assert continued == expected + (" " if name == "spaced" else "") + "Ann: Co"


def test_neighbours_of_one_role_are_joined_where_roles_must_alternate() -> None:
    twice = (("user", "a"), ("user", "b"))
    assert said("alternates", *twice) == "<user>a\n\nb</s><assistant>"
    assert said("plain", *twice) == "<user>a</s><user>b</s><assistant>"


@pytest.mark.parametrize("begun", ["  Ann: Well", "Ann: Well \n", "\n", " "])
def test_a_begun_answer_is_continued_byte_for_byte(begun: str) -> None:
    assert said("trims", *CHAT, ("assistant", begun)).endswith("<assistant>" + begun)
    assert said("spaced", *CHAT, ("assistant", begun)).endswith(begun)


def test_text_that_a_template_drops_or_changes_is_named() -> None:
    loses = TURNS.replace("m.content", "m.content.split('</think>')[-1]")
    chat = [
        Message(role="user", content="a"),
        Message(role="assistant", content="Ann: x</think>y"),
        Message(role="user", content="b"),
    ]
    with pytest.raises(TemplateRefusal, match="leaves out or changes text of the assistant message 'Ann: x</think>y'"):
        PromptEncoder(Characters(loses)).ids(chat, ask=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([("user", "a"), ("user", "b")], [("user", "a\n\nb")]),
        ([("system", "s"), ("assistant", "x"), ("system", "t")], [("user", "s\n\nt"), ("assistant", "x")]),
        ([("system", "s")], [("user", "s")]),
        ([], []),
    ],
)
def test_folding(given: list[tuple[str, str]], expected: list[tuple[str, str]]) -> None:
    chat = [Message(role=role, content=content) for role, content in given]  # type: ignore[arg-type]
    assert [(message.role, message.content) for message in fold_system(chat)] == expected
