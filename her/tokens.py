"""Estimate token counts where no tokenizer is at hand, and correct the estimate by what a server reports.

Tokens of one character, about the most of Qwen3, Llama 3, Gemma 2 and 3, Mistral Nemo and DeepSeek V3 on prose of each script
with its blanks (English prose has .22, its tags .3). An estimate that is too high costs a little room, one too low ends a chat.
"""

import math
import re
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from her.types import Message

LATIN = "latin"
_ASCII = re.compile(r"[\x00-\x7f]+")
_PER_ASCII = 1 / 3.6
_BLOCKS: tuple[tuple[int, str, float], ...] = (
    (0x80, LATIN, 1.0),  # é, ü and punctuation of Latin-1
    (0x100, LATIN, 2.0),  # ł, ş and the like are often two tokens
    (0x370, "greek", 1.0),
    (0x400, "cyrillic", 0.53),
    (0x530, "armenian", 1.9),
    (0x590, "hebrew", 1.2),
    (0x600, "arabic", 0.7),
    (0x780, "other", 1.5),
    (0x900, "devanagari", 1.15),
    (0x980, "indic", 1.5),
    (0xE00, "thai", 0.57),
    (0xE80, "other", 1.6),
    (0x10A0, "georgian", 2.2),
    (0x1100, "other", 1.6),
    (0x1E00, LATIN, 1.0),
    (0x1F00, "greek", 1.5),
    (0x2000, LATIN, 1.0),  # dashes and quotes
    (0x2100, "other", 1.5),
    (0x3000, "han", 1.0),
    (0x3040, "kana", 0.78),
    (0x3100, "han", 1.0),
    (0xAC00, "hangul", 1.0),
    (0xD800, "other", 1.6),
    (0xF900, "han", 1.0),
    (0xFB00, "other", 1.5),
    (0xFE00, LATIN, 1.0),
    (0xFF00, "han", 1.0),
    (0x10000, "other", 4.0),  # emoji and what stands with them
    (0x20000, "han", 2.5),
)
"""First code point of a range, its script, and the tokens of one character."""
_STARTS = [start for start, _, _ in _BLOCKS]
_ROLE_MARKS = 4
"""Tokens around each message."""
_LEAST, _MOST = 0.2, 12.0
"""Limits of a correction; a tokenizer of bytes has 4 tokens where a good one has 1."""
_CHATS = 500
"""Chats whose own corrections are kept."""
Certainty = Literal["estimated", "corrected", "counted"]
"""How sure a count is: by the table alone, corrected by other chats at this server, or by this chat."""
_MARGIN: Mapping[Certainty, float] = {"estimated": 0.0, "corrected": 0.08, "counted": 0.02}
"""Share that is added to a count. The table is high already; corrections have no such room."""
_NEW_MARGIN = 0.25
"""Share that is added for what a chat has more than when it was counted last."""


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Return an estimate of the tokens of these messages: that of their texts, and 4 for the role marks of each."""
    return sum(_ROLE_MARKS + estimate_text_tokens(message.content) for message in messages)


def estimate_text_tokens(text: str) -> int:
    """Estimate the tokens of one text, by the same table without role marks."""
    return math.ceil(sum(_tokens_by_script(text).values()))


class TokenMeter:
    """Counter of tokens for one server: the estimate, corrected for each script by the counts that its replies report.

    A chat has corrections of its own, because characters, languages and instructions differ; a new chat begins with those of
    all. One report changes every script in proportion to its share of the prompt (Kaczmarz's method), so the same prompt is
    counted right afterwards, and a longer one is off by its new text only.
    """

    def __init__(self) -> None:
        self._server: dict[str, float] = {}
        self._chats: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._counted: dict[str, int] = {}

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages, rather too many than too few."""
        tokens = self._predicted(messages)
        last = self._counted.get(_chat_of(messages))
        new = max(0.0, tokens - last) if last is not None else 0.0
        return math.ceil(tokens * (1 + _MARGIN[self.certainty(messages)]) + new * _NEW_MARGIN)

    def certainty(self, messages: Sequence[Message]) -> Certainty:
        """Return how sure `count` is of these messages."""
        if _chat_of(messages) in self._chats:
            return "counted"
        return "corrected" if set(_scripts_of(messages)) <= self._server.keys() else "estimated"

    def learn(self, messages: Sequence[Message], tokens: int) -> None:
        """Take the number of tokens that the server counted for exactly these messages as a prompt."""
        if tokens <= 0 or not messages:
            return
        known = self._corrections(messages)
        scripts = _scripts_of(messages)
        missed = tokens - self._predicted(messages)
        square = sum(share * share for share in scripts.values())
        for script, share in scripts.items() if square else ():
            changed = known.get(script, 1.0) + missed * share / square
            known[script] = min(max(changed, _LEAST), _MOST)
        self._server.update({script: max(known[script], self._server.get(script, 0.0)) for script in scripts})
        self._chats[_chat_of(messages)], self._counted[_chat_of(messages)] = known, tokens
        self._chats.move_to_end(_chat_of(messages))
        while len(self._chats) > _CHATS:
            del self._counted[self._chats.popitem(last=False)[0]]

    def learn_least(self, messages: Sequence[Message], tokens: int) -> None:
        """Take a number that the server's count reaches or passes: it refused the messages for it."""
        if tokens > self._predicted(messages):
            self.learn(messages, tokens)

    def _corrections(self, messages: Sequence[Message]) -> dict[str, float]:
        return dict(self._chats.get(_chat_of(messages)) or self._server)

    def _predicted(self, messages: Sequence[Message]) -> float:
        known = self._corrections(messages)
        scripts = _scripts_of(messages)
        return _ROLE_MARKS * len(messages) + sum(share * known.get(script, 1.0) for script, share in scripts.items())


def _chat_of(messages: Sequence[Message]) -> str:
    """Return what names a chat: its system message, which persona and scene make."""
    return messages[0].content if messages else ""


def _scripts_of(messages: Sequence[Message]) -> dict[str, float]:
    """Return the estimated tokens of messages by script."""
    total: dict[str, float] = {}
    for message in messages:
        for script, tokens in _tokens_by_script(message.content).items():
            total[script] = total.get(script, 0.0) + tokens
    return total


@lru_cache(2048)
def _tokens_by_script(text: str) -> Mapping[str, float]:
    """Return the estimated tokens of a text by script; cached, because a history is counted again at every turn."""
    if text.isascii():
        return {LATIN: len(text) * _PER_ASCII} if text else {}
    wide = Counter(_ASCII.sub("", text))
    tokens = {LATIN: (len(text) - wide.total()) * _PER_ASCII}
    for char, count in wide.items():
        _, script, each = _BLOCKS[bisect_right(_STARTS, ord(char)) - 1]
        tokens[script] = tokens.get(script, 0.0) + count * each
    return tokens


def first_that_fits(total: int, fits: Callable[[int], bool]) -> int:
    """Return the smallest index such that the turns from it on fit; the last index when even the last turn does not.

    Assumes that fewer turns have no more tokens: if the turns from i on fit, those from i + 1 on do. This holds for counts
    that grow with the text. A tokenizer that merges over the joints of turns may break it by a token or two; then the
    answer may keep a turn less than possible, but never a turn too many, as every index that is returned was tested (but the
    last, which the caller counts).

    Most of a long chat does not fit, so the search gallops from the end: 32 turns, then 4 times as many each round, then
    bisection. It counts O(log n) prompts of about the budget's size, where bisection from the start would count the whole chat.
    """
    high, step = max(total - 1, 0), 32
    low = max(total - step, 0)
    while fits(low):
        if low == 0:
            return 0
        high, step = low, step * 4
        low = max(total - step, 0)
    while low < high:  # from `low` on it does not fit; from `high` on it does, or `high` is the last turn
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return high
