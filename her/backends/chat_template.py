"""Messages -> token ids by a model's own tokenizer and chat template; a text stays a text.

Play (`local:`, `vllm:`) and training (pipelines/models/chat_template.py) both go through here, so what is true of one is true of
the other:

- Text that looks like a control token (`<|im_end|>` typed by a visitor or standing in a book) is encoded as text. A guard
  character is put inside it before the template renders it, and such a text is then encoded by a copy of the tokenizer that
  knows no control tokens.
- Where the template refuses or drops a system message, its text is folded into the first user message, always for that template.
- Every text that was given stands in the rendered prompt, in order, or the messages are refused.
- A begun answer follows the generation prompt byte for byte, which is where the model itself wrote it.

Nothing here imports torch.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

from her.backends.base import replace_surrogates
from her.backends.folding import fold_system, join_neighbours
from her.format.tags import NAMES
from her.types import Message

_GUARD, _ESCAPE, _NAME = "\ufdd0", "\ufdd1", "\ufdd2"
"""Three of Unicode's noncharacters, which no text should hold; those that one does hold are escaped."""
_ESCAPED = {_ESCAPE: f"{_ESCAPE}b", _GUARD: f"{_ESCAPE}a", _NAME: f"{_ESCAPE}c"}
"""The escape itself first; undone in the reverse order."""
_SYSTEM, _QUESTION, _ANSWER = "Ann keeps the inn.", "Bell: May I?", "Come in, the kettle is on."
_PROBES = (("system", "user"), ("system", "user", "assistant"), ("system", "user", "assistant", "user"))
"""Conversations that are rendered to see what a template does with a system message."""


class TemplateRefusal(ValueError):
    """The chat template does not take these messages, or loses some of their text; `str()` says which."""


class PromptEncoder:
    """Encoder of messages for one tokenizer.

    Args:
        tokenizer: a tokenizer of transformers with a chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def ids(self, messages: Sequence[Message], ask: bool) -> list[int]:
        """Return the token ids of messages.

        Args:
            ask: append what comes before an answer; when the last message is the assistant's, continue that one.

        Raises:
            TemplateRefusal: the template does not take them, or text of them would be lost.
        """
        continues = ask and bool(messages) and messages[-1].role == "assistant"
        return self.encode([self.begun(messages) if continues else self.render(messages, ask)])[0]

    def render(self, messages: Sequence[Message], ask: bool) -> str:
        """Return the messages as one text for `encode`: with guards, so it is for nothing else. Raises as `ids`."""
        rows = self._guarded(self._shaped(messages))
        text = self._apply(rows, ask)
        _require_all(rows, text)
        return text

    def begun(self, messages: Sequence[Message]) -> str:
        """Return the text up to the end of the last message, an assistant's, for `encode`; raises as `ids`.

        It is the generation prompt and then the message byte for byte, so a template that trims or adds changes nothing.
        """
        asked = self.render(messages[:-1], True)
        content = self._guarded(messages[-1:])[0]["content"]
        if content[:1].isspace() or not content.strip():
            return asked + content
        # Some templates write a space before an answer instead of a generation prompt; that belongs to it.
        after = self._apply(self._guarded(self._shaped(messages)), False).removeprefix(asked)
        before = after[: max(after.find(content.strip()), 0)]
        return asked + ("" if before.strip() else before) + content

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of texts that `render` or `begun` returned, or of pieces of them."""
        plain = [text for text in texts if not _is_guarded(text)]
        encoded = iter(self._tokenizer(plain, add_special_tokens=False)["input_ids"] if plain else ())
        return [self._copy.encode(text) if _is_guarded(text) else list(next(encoded)) for text in texts]

    def prepare(self) -> None:
        """Build what texts with control tokens need: seconds for a large vocabulary, for which the first such text would wait."""
        if self._control[1] and getattr(self._tokenizer, "backend_tokenizer", None):
            self._copy  # noqa: B018

    def changed_by_date(self) -> bool:
        """Return whether the template writes today's date into every prompt."""
        return "strftime_now" in str(self._tokenizer.chat_template)

    # -- what the template does ----------------------------------------------------------------------------------------

    @cached_property
    def folds(self) -> bool:
        """Return whether system texts are folded into the first user message, because the template refuses or drops them."""
        texts = {"system": _SYSTEM, "user": _QUESTION, "assistant": _ANSWER}
        probes = [[Message(role=role, content=texts[role]) for role in roles] for roles in _PROBES]  # type: ignore[arg-type]
        return not all(map(self._keeps, probes)) and all(self._keeps(fold_system(probe)) for probe in probes)

    @cached_property
    def _joins(self) -> bool:
        """Return whether neighbours of one role are joined, because the template wants roles to alternate."""
        twice = [Message(role="user", content=text) for text in (_QUESTION, _ANSWER)]
        return not self._keeps(twice) and self._keeps(join_neighbours(twice))

    def _keeps(self, messages: Sequence[Message]) -> bool:
        try:
            rows = self._guarded(messages)
            _require_all(rows, self._apply(rows, messages[-1].role != "assistant"))
        except TemplateRefusal:
            return False
        return True

    def _shaped(self, messages: Sequence[Message]) -> Sequence[Message]:
        if any(message.role == "system" for message in messages) and self.folds:
            return fold_system(messages)
        repeats = any(first.role == second.role for first, second in zip(messages, messages[1:], strict=False))
        return join_neighbours(messages) if repeats and self._joins else messages

    def _apply(self, rows: Sequence[dict[str, str]], ask: bool) -> str:
        from jinja2 import TemplateError

        try:
            return str(self._tokenizer.apply_chat_template(list(rows), tokenize=False, add_generation_prompt=ask))
        except (TemplateError, ValueError, TypeError, IndexError, KeyError) as error:
            raise TemplateRefusal(" ".join(str(error).split())[:240]) from error

    # -- texts that look like control tokens ---------------------------------------------------------------------------

    @cached_property
    def _control(self) -> "tuple[re.Pattern[str] | None, re.Pattern[str] | None]":
        """Patterns of the control tokens, in an assistant's texts and in all others.

        The marks around a model's own reasoning are control tokens for others only: a reply that is continued has real ones.
        """
        names = control_tokens(self._tokenizer)
        return _any_of({name for name in names if name.strip("</>").lower() not in NAMES}), _any_of(names)

    def _guarded(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        patterns = self._control
        return [
            {
                "role": message.role,
                "content": _guard(replace_surrogates(message.content), patterns[message.role != "assistant"]),
            }
            for message in messages
        ]

    @cached_property
    def _copy(self) -> "_TextTokenizer":
        return _TextTokenizer(self._tokenizer, self._control[1])


class _TextTokenizer:
    """Copy of a tokenizer for texts with guards: what has a guard in it is text, every other control token is itself.

    In the copy each control token has a name that no text holds. Their ids may move, so they are mapped back.
    """

    def __init__(self, tokenizer: Any, control: "re.Pattern[str] | None") -> None:
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None or control is None:
            raise TemplateRefusal("a text holds a control token, and this tokenizer cannot encode it as text; take it out")
        saved = json.loads(backend.to_str())
        saved["post_processor"] = None  # it would look for the old names, and adds only what templates write
        self._names: dict[str, str] = {}
        olds = {}
        for token in saved["added_tokens"]:
            name = token["content"]
            if control.fullmatch(name):
                self._names[name] = token["content"] = f"{_NAME}{token['id']}{_NAME}"
            olds[token["content"]] = token["id"]
        self._control = control
        self._tokenizer = Tokenizer.from_str(json.dumps(saved))
        self._ids = {self._tokenizer.token_to_id(name): old for name, old in olds.items()}

    def encode(self, text: str) -> list[int]:
        named = self._control.sub(lambda match: self._names.get(match[0], match[0]), text)
        ids = self._tokenizer.encode(_unguard(named), add_special_tokens=False).ids
        return [self._ids.get(each, each) for each in ids]


def control_tokens(tokenizer: Any) -> frozenset[str]:
    """Return the tokens that are no text: the special ones, and those added ones that the chat template writes."""
    template = str(tokenizer.chat_template)
    # Some families mark their role tokens as ordinary ones. A token of blanks is part of the template's layout, not a mark.
    return frozenset(
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.content.strip() and (token.special or (len(token.content) > 2 and token.content in template))
    )


def _any_of(names: "set[str] | frozenset[str]") -> "re.Pattern[str] | None":
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True)))) if names else None


def _guard(text: str, control: "re.Pattern[str] | None") -> str:
    """Return the text with a guard after the first character of everything that looks like a control token."""
    if not text.isascii():
        for char, escaped in _ESCAPED.items():
            text = text.replace(char, escaped)
    while control and control.search(text):
        text = control.sub(lambda match: f"{match[0][0]}{_GUARD}{match[0][1:]}", text)
    return text


def _unguard(text: str) -> str:
    text = text.replace(_GUARD, "")
    for char, escaped in reversed(_ESCAPED.items()):
        text = text.replace(escaped, char)
    return text


def _is_guarded(text: str) -> bool:
    return not text.isascii() and (_GUARD in text or _ESCAPE in text)


def _require_all(rows: Sequence[dict[str, str]], text: str) -> None:
    """Raise TemplateRefusal unless all contents stand in the text in order; blanks around them do not count."""
    contents = [row["content"].strip() for row in rows]

    def after(place: int, content: str) -> int:
        found = text.find(content, max(place, 0)) if place >= 0 else -1
        return found + len(content) if found >= 0 else -1

    places = list(accumulate(contents, after, initial=0))[1:]
    if lost := [row for row, place in zip(rows, places, strict=True) if place < 0]:
        shown = " ".join(_unguard(lost[0]["content"]).split())[:60]
        raise TemplateRefusal(f"it leaves out or changes text of the {lost[0]['role']} message {shown!r}")
