"""Define what a ledger keeps: answers, failures and sums, and the packed form of a text."""

import json
import zlib
from dataclasses import dataclass

_COMPRESSED, _TEXT_ONLY = 1, 2
"""Flags in the first byte of a packed text."""


class StoredText:
    """Text of an answer. It is unpacked when it is used: a resumed run uses little of what it finds.

    Args:
        text: of the model, byte for byte.
        reasoning: of an API-native reasoning field.
        fixed: valid JSON made of `text`; empty if `text` itself is that.
        choices: JSON of the last tokens with their log-probabilities; empty where none were asked for.
        packed: the four as bytes, instead of them.
    """

    __slots__ = ("_packed", "_texts")

    def __init__(self, text: str = "", reasoning: str = "", fixed: str = "", choices: str = "", *, packed: bytes = b"") -> None:
        self._packed = packed
        self._texts = None if packed else (text, reasoning, fixed, choices)  # packed bytes are never empty: they have flags

    @property
    def text(self) -> str:
        """Return the text of the model."""
        return self._all()[0]

    @property
    def reasoning(self) -> str:
        """Return the reasoning."""
        return self._all()[1]

    @property
    def fixed(self) -> str:
        """Return the corrected JSON."""
        return self._all()[2]

    @property
    def choices(self) -> str:
        """Return the JSON of the last tokens."""
        return self._all()[3]

    @property
    def packed(self) -> bytes:
        """Return the bytes that are stored."""
        return self._packed or pack(*self._all())

    def _all(self) -> tuple[str, str, str, str]:
        if self._texts is None:
            self._texts = unpack(self._packed)
        return self._texts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredText) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"StoredText{self._all()!r}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered call.

    Args:
        key: SHA-256 of all that determines the answer, 32 bytes.
        stage: of the pipeline.
        model: that answered.
        content: the answer.
        tier: how its structure was found (her/inference/structured.py); empty for free text.
        finish: `stop` or `length` (truncated).
        error: why the answer is not usable; it is recorded as well, since asking again gives the same.
        prompt_tokens: of all requests of the call together, failed ones included; `completion_tokens` likewise.
        requests: their number.
        seconds: from the first request to the answer.
    """

    key: bytes
    stage: str
    model: str
    content: StoredText
    tier: str = ""
    finish: str = "stop"
    error: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One call without an answer; asked again when the run is resumed.

    Args:
        key: as of an `Entry`.
        stage: of the pipeline.
        name: `Call.id`.
        reason: one of `her.errors.Reason`, or `budget`.
        error: one sentence.
        prompt_tokens: estimate for all its requests; `completion_tokens` likewise.
    """

    key: bytes
    stage: str
    name: str
    reason: str
    error: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Sums:
    """Number of calls and their tokens, of one stage and tier."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


def pack(text: str, reasoning: str = "", fixed: str = "", choices: str = "") -> bytes:
    """Return four texts as bytes, compressed if that is shorter. Without the last one the bytes are those of earlier versions.

    The first byte has two flags: `_COMPRESSED`, and `_TEXT_ONLY` for the usual case that only the first text is not empty;
    then it is stored without JSON around it.
    """
    if not reasoning and not fixed and not choices:
        # A model's text may hold half a character, and is kept byte for byte.
        flags, plain = _TEXT_ONLY, text.encode("utf-8", "surrogatepass")
    else:
        flags, plain = (
            0,
            json.dumps((text, reasoning, fixed, *filter(None, [choices])), ensure_ascii=False).encode("utf-8", "surrogatepass"),
        )
    # The default level: 1,200 characters of prose become 645 bytes in 0.1 ms; level 9 gave the same size.
    compressed = zlib.compress(plain)
    if len(compressed) < len(plain):
        return bytes((flags | _COMPRESSED,)) + compressed
    return bytes((flags,)) + plain


def unpack(packed: bytes) -> tuple[str, str, str, str]:
    """Return the four texts that `pack` was given."""
    flags, plain = packed[0], packed[1:]
    text = (zlib.decompress(plain) if flags & _COMPRESSED else plain).decode("utf-8", "surrogatepass")
    if flags & _TEXT_ONLY:
        return text, "", "", ""
    first, second, third, *rest = json.loads(text)
    return first, second, third, rest[0] if rest else ""
