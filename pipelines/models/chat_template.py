"""Encode messages as token ids; the only place that does, with the same result as TRL for prompt-completion rows.

The chat template renders the prompt with a generation prompt, and all messages. The common prefix of both is the prompt, the
rest is trained. Messages of a conversation come back in each of its samples, so texts are split at the special tokens and each
piece is encoded once: the same ids, many times as fast.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from her.backends.chat_template import PromptEncoder, TemplateRefusal
from her.errors import InputError
from her.training_data.audit import Change, Encoding, Stop
from her.types import Message, Sample
from pipelines.models.prefix_tree import Ids, common_prefix

AT_ONCE = 256
"""Samples whose texts are in memory together: at 30 kB each, about 16 MB with their prompts."""
BEFORE = 8
"""Tokens of the prompt behind which a target is decoded."""
_EMPTY_BLOCK = re.compile(r"<(\w+)>\s*</\1>")
CACHED_CHARACTERS = 16_000_000
"""Characters of pieces whose ids are cached: a few hundred conversations, about 100 MB with the texts."""


class ChatTemplate:
    """Encoder of samples with a model's own tokenizer and chat template.

    Args:
        source: a tokenizer, or a folder or repository with a tokenizer that has a chat template.

    Raises:
        InputError: no tokenizer there, or it has no chat template or no end-of-sequence token.
    """

    exact = True

    def __init__(self, source: Any) -> None:
        self.tokenizer: Any = _load(source) if isinstance(source, str) else source
        name = source if isinstance(source, str) else str(getattr(source, "name_or_path", "")) or "the tokenizer"
        if not self.tokenizer.chat_template:
            raise InputError(f"the tokenizer in {name!r} has no chat template; give that of a chat model")
        if self.tokenizer.eos_token_id is None:
            raise InputError(f"the tokenizer in {name!r} has no end-of-sequence token; set the one that ends a turn")
        self.name = name.rstrip("/").rpartition("/")[2]
        self._encoder = PromptEncoder(self.tokenizer)
        self._pieces = _PieceEncoder(self.tokenizer, self._encoder)

    def encode(self, sample: Sample) -> Encoding:
        """Return the token counts of one sample."""
        return next(self.encodings([sample]))

    def encodings(self, samples: Sequence[Sample]) -> Iterator[Encoding]:
        """Yield the token counts of every sample; lazily, because each holds its target's text."""
        encoded = zip(samples, self._encoded(samples), strict=True)
        return (self._encoding(prompt, whole, sample.messages[-1].content) for sample, (prompt, whole) in encoded)

    def ids(self, messages: Sequence[Message], ask: bool) -> list[int]:
        """Return the token ids of messages; `ask` appends the generation prompt."""
        return [int(token) for token in self._pieces.encode([self._render(messages, ask, "the messages")])[0]]

    def pairs(self, samples: Sequence[Sample]) -> list[tuple[Ids, Ids]]:
        """Return the token ids of prompt and target of every sample; concatenated they are the ids of all its messages.

        The prompt ends where it and the whole sample differ, as in TRL. The audit refuses a template for which that is before
        the prompt's end.
        """
        split = ((whole, common_prefix(prompt, whole)) for prompt, whole in self._encoded(samples))
        return [(whole[:end], whole[end:]) for whole, end in split]

    def _encoded(self, samples: Sequence[Sample]) -> Iterable[tuple[Ids, Ids]]:
        """Yield the ids of the prompt, with generation prompt, and of all messages."""
        for first in range(0, len(samples), AT_ONCE):
            chunk = samples[first : first + AT_ONCE]
            prompts = [self._render(sample.messages[:-1], True, f"sample {sample.turn!r}") for sample in chunk]
            wholes = [self._render(sample.messages, False, f"sample {sample.turn!r}") for sample in chunk]
            encoded = self._pieces.encode([*prompts, *wholes])
            yield from zip(encoded[: len(chunk)], encoded[len(chunk) :], strict=True)

    def _render(self, messages: Sequence[Message], ask: bool, name: str) -> str:
        if not messages:
            raise InputError(f"{name}: there is no message before the target; a sample has a prompt")
        try:
            return self._encoder.render(messages, ask)
        except TemplateRefusal as error:
            raise InputError(
                f"the chat template of {self.name!r} does not accept {name}: {error}; use model.template=auto"
            ) from error

    def _encoding(self, prompt: Ids, whole: Ids, content: str) -> Encoding:
        end = common_prefix(prompt, whole)
        target = whole[end:]
        decoded = self._decode_after(whole[max(end - BEFORE, 0) : end].tolist(), target.tolist())
        return Encoding(
            prompt=end,
            target=len(target),
            stop=self._stop(target),
            prefix=end == len(prompt),
            decoded=decoded,
            changed="" if decoded.startswith(content + self.tokenizer.eos_token) else self._change(decoded, content),
        )

    def _decode_after(self, before: list[int], target: list[int]) -> str:
        """Return the text of the target; it is decoded behind other tokens, because some tokenizers drop a first blank."""
        known, whole = (
            str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
            for ids in (before, before + target)
        )
        return whole[len(known) :]

    def _change(self, decoded: str, content: str) -> Change:
        """Return how the decoded target differs from the message that should be trained."""
        body, found, _ = decoded.rpartition(self.tokenizer.eos_token)
        body = body if found else decoded
        if body == content:
            return ""
        if body == unicodedata.normalize("NFC", content):
            return "nfc"
        if body.strip() == content.strip():
            return "trimmed"
        added, there, after = body.rpartition(content.strip())
        return "think_block" if there and not after.strip() and not _EMPTY_BLOCK.sub("", added).strip() else "text"

    def _stop(self, target: Ids) -> Stop:
        """Return where the stop token is. White space after it is allowed: many templates write a line end there."""
        places = np.flatnonzero(target == self.tokenizer.eos_token_id)
        if not len(places):
            return "missing"
        return "inside" if self.tokenizer.decode(target[places[0] + 1 :].tolist()).strip() else "end"


class _PieceEncoder:
    """Encoder that splits texts at special tokens, where the tokenizer itself splits first, and caches the ids of each piece.

    Tokenizers that may encode a piece differently when it stands alone encode whole texts.
    """

    def __init__(self, tokenizer: Any, encoder: PromptEncoder) -> None:
        self._encoder = encoder
        ordered = sorted(_split_tokens(tokenizer), key=len, reverse=True)  # of two tokens at one place the longer one wins
        self._split = re.compile(f"({'|'.join(map(re.escape, ordered))})") if ordered else None
        self._cache: dict[str, Ids] = {}
        self._characters = 0

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the token ids of every text."""
        if self._split is None:
            return self._tokenize(texts)
        if self._characters > CACHED_CHARACTERS:
            self._cache.clear()
            self._characters = 0
        texts_pieces = [[piece for piece in self._split.split(text) if piece] for text in texts]
        fresh = list(dict.fromkeys(piece for pieces in texts_pieces for piece in pieces if piece not in self._cache))
        self._characters += sum(map(len, fresh))
        self._cache.update(zip(fresh, self._tokenize(fresh), strict=True))
        return [np.concatenate([self._cache[piece] for piece in pieces] or [np.empty(0, np.int32)]) for pieces in texts_pieces]

    def _tokenize(self, texts: Sequence[str]) -> list[Ids]:
        return [np.asarray(row, dtype=np.int32) for row in self._encoder.encode(texts)]


def _load(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer in {source!r} ({str(error).splitlines()[0]}); give a model's folder") from error


def _split_tokens(tokenizer: Any) -> set[str]:
    """Return the tokens at which a text may be split without changing any id; none when that cannot be decided."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or getattr(tokenizer, "split_special_tokens", False) or not _is_local(backend.pre_tokenizer):
        return set()
    # The tokenizer splits at tokens without `normalized` before everything else. A token that takes the space beside it
    # (lstrip, rstrip) or needs a word boundary (single_word) depends on the text around it, so nothing is split then.
    first = [token for token in backend.get_added_tokens_decoder().values() if not token.normalized]
    if any(token.lstrip or token.rstrip or token.single_word for token in first):
        return set()
    return {token.content for token in first}


def _is_local(pre_tokenizer: Any) -> bool:
    """Return whether a pre-tokenizer treats every piece alike; Metaspace treats the first piece of a text differently."""
    if pre_tokenizer is None:
        return False

    def is_known(step: dict[str, Any]) -> bool:
        if step["type"] == "Sequence":
            return all(map(is_known, step["pretokenizers"]))
        return step["type"] in ("Split", "Digits") or (step["type"] == "ByteLevel" and not step["add_prefix_space"])

    return is_known(json.loads(pre_tokenizer.__getstate__()))
