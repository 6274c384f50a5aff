"""Messages -> token ids: the one place, as TRL makes them for prompt-completion rows.

The chat template is applied to the prompt with a generation prompt, and to all messages; what both begin with is the
prompt, the rest is trained. The messages of a conversation come back in every sample of it, so texts are encoded in
pieces, cut at the special tokens, and every piece once: the same ids, many times as fast.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from her.errors import InputError
from her.training_data.audit import Encoding, Stop
from her.types import Message, Sample

Ids = NDArray[np.int32]
AT_ONCE = 256
"""Samples whose texts are in memory together; at 30 kB each about 16 MB with their prompts."""
REMEMBERED = 16_000_000
"""Characters of pieces whose ids are kept: a few hundred conversations, about 100 MB with the texts."""


class ChatTemplate:
    """Encodes with a model's own tokenizer and chat template.

    Args:
        source: a folder or repository that holds a tokenizer with a chat template, or the tokenizer.

    Raises:
        InputError: there is none, or it has no chat template or no end-of-turn token.
    """

    exact = True

    def __init__(self, source: Any) -> None:
        self.tokenizer: Any = _loaded(source) if isinstance(source, str) else source
        named = source if isinstance(source, str) else str(getattr(source, "name_or_path", "")) or "the tokenizer"
        if not self.tokenizer.chat_template:
            raise InputError(f"the tokenizer in {named!r} has no chat template; give that of a chat model")
        if self.tokenizer.eos_token_id is None:
            raise InputError(f"the tokenizer in {named!r} has no end-of-sequence token; set the one that ends a turn")
        self.name = named.rstrip("/").rpartition("/")[2]
        self._pieces = _Pieces(self.tokenizer)

    def encode(self, sample: Sample) -> Encoding:
        """What there is of a sample, counted."""
        return next(self.encodings([sample]))

    def encodings(self, samples: Sequence[Sample]) -> Iterator[Encoding]:
        """What there is of every sample, counted; one after the other, since each holds its target's text."""
        return (self._counted(prompt, whole) for prompt, whole in self._encoded(samples))

    def ids(self, messages: Sequence[Message], ask: bool) -> list[int]:
        """The token ids of messages; with `ask` the generation prompt comes last."""
        return [int(each) for each in self._pieces.encode([self._text(messages, ask, "the messages")])[0]]

    def pairs(self, samples: Sequence[Sample]) -> list[tuple[Ids, Ids]]:
        """Token ids of prompt and target of every sample; together they are those of all its messages.

        The prompt ends where it and the whole go apart, as TRL has it; the audit refuses a template where that is earlier
        than the prompt's end.
        """
        cut = ((whole, _shared(prompt, whole)) for prompt, whole in self._encoded(samples))
        return [(whole[:end], whole[end:]) for whole, end in cut]

    def _encoded(self, samples: Sequence[Sample]) -> Iterable[tuple[Ids, Ids]]:
        """Token ids of the prompt, asking, and of all messages."""
        for first in range(0, len(samples), AT_ONCE):
            some = samples[first : first + AT_ONCE]
            named = [f"sample {sample.turn!r}" for sample in some]
            prompts = [self._text(one.messages[:-1], True, name) for one, name in zip(some, named, strict=True)]
            wholes = [self._text(one.messages, False, name) for one, name in zip(some, named, strict=True)]
            encoded = self._pieces.encode([*prompts, *wholes])
            yield from zip(encoded[: len(some)], encoded[len(some) :], strict=True)

    def _text(self, messages: Sequence[Message], ask: bool, named: str) -> str:
        from jinja2 import TemplateError

        rows = [{"role": message.role, "content": message.content} for message in messages]
        if not rows:
            raise InputError(f"{named}: there is no message before the target; a sample has a prompt")
        try:
            return str(self.tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=ask))
        except TemplateError as error:
            raise InputError(
                f"the chat template of {self.name!r} does not take {named}: {error}; use model.template=chatml"
            ) from error

    def _counted(self, prompt: Ids, whole: Ids) -> Encoding:
        end = _shared(prompt, whole)
        target = whole[end:]
        return Encoding(
            prompt=end,
            target=len(target),
            stop=self._stop(target),
            prefix=end == len(prompt),
            decoded=self.tokenizer.decode(target.tolist()),
        )

    def _stop(self, target: Ids) -> Stop:
        """A template may put white space after the stop token; that is trained as well and does no harm."""
        places = np.flatnonzero(target == self.tokenizer.eos_token_id)
        if not len(places):
            return "missing"
        return "inside" if self.tokenizer.decode(target[places[0] + 1 :].tolist()).strip() else "end"


class _Pieces:
    """Encodes texts as the tokenizer does, cutting them where it does itself first: at its special tokens.

    Where a piece may be read otherwise when it stands alone, whole texts are encoded.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._marks = _marks(tokenizer)
        ordered = sorted(self._marks, key=len, reverse=True)  # at one place the longest wins
        self._cut = re.compile(f"({'|'.join(map(re.escape, ordered))})") if ordered else None
        self._known: dict[str, Ids] = {}
        self._characters = 0

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of every text."""
        if self._cut is None:
            return self._tokenized(texts)
        if self._characters > REMEMBERED:
            self._known.clear()
            self._characters = 0
        cut = [[piece for piece in self._cut.split(text) if piece] for text in texts]
        fresh = list(dict.fromkeys(piece for pieces in cut for piece in pieces if piece not in self._known))
        self._characters += sum(map(len, fresh))
        self._known.update(zip(fresh, self._tokenized(fresh), strict=True))
        return [np.concatenate([self._known[piece] for piece in pieces] or [np.empty(0, np.int32)]) for pieces in cut]

    def _tokenized(self, texts: Sequence[str]) -> list[Ids]:
        if not texts:
            return []
        encoded = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
        return [np.asarray(row, dtype=np.int32) for row in encoded["input_ids"]]


def _loaded(source: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer in {source!r} ({str(error).splitlines()[0]}); give a model's folder") from error


def _marks(tokenizer: Any) -> set[str]:
    """The tokens at which a text may be cut without changing any id; none where nobody can say."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or getattr(tokenizer, "split_special_tokens", False) or not _alone(backend.pre_tokenizer):
        return set()
    first = [token for token in backend.get_added_tokens_decoder().values() if not token.normalized]
    if any(token.lstrip or token.rstrip or token.single_word for token in first):
        return set()
    return {token.content for token in first}


def _alone(pre_tokenizer: Any) -> bool:
    """Whether it reads every piece for itself: not those that treat the first piece of a text in another way."""
    if pre_tokenizer is None:
        return False

    def known(step: dict[str, Any]) -> bool:
        if step["type"] == "Sequence":
            return all(map(known, step["pretokenizers"]))
        return step["type"] in ("Split", "Digits") or (step["type"] == "ByteLevel" and not step["add_prefix_space"])

    return known(json.loads(pre_tokenizer.__getstate__()))


def _shared(prompt: Ids, whole: Ids) -> int:
    """How many ids both begin with."""
    shorter = min(len(prompt), len(whole))
    apart = np.flatnonzero(prompt[:shorter] != whole[:shorter])
    return int(apart[0]) if len(apart) else shorter
