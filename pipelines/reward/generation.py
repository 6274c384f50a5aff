"""Ask a model in this process as judges ask a server: calls that wait together are generated together."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from her.inference.call import Answer, Call, call_key
from her.store.ledger import Entry, Failure, StoredText
from her.types import Message
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.sampled_turns import evaluation_mode, generate

T = TypeVar("T")
VERDICTS = ("A", "B", "tie")
ONCE = "a reward model is asked once: its training holds no second question"


class BatchAsk:
    """An `her.judging.judge.Ask` over a model in memory, greedy.

    A second question after an unreadable answer is refused, so that the missing rate is that of first answers.

    Args:
        model: a causal language model of transformers.
        at_once: answers that are generated together.
        tokens: most tokens of an answer, whatever the call's sampling says.
    """

    def __init__(self, model: Any, template: ChatTemplate, *, at_once: int, tokens: int) -> None:
        self._model, self._template = model, template
        self._at_once, self._tokens = at_once, tokens
        self._waiting: list[tuple[Call, asyncio.Future[Answer]]] = []
        self._flush: asyncio.Task[None] | None = None
        self._probabilities: dict[str, float] = {}

    def probability(self, answer: Answer) -> float | None:
        """Return the probability of A at the verdict of an answer, a `her.judging.judge.Soft`; None without a verdict."""
        return self._probabilities.get(answer.call.id)

    async def __call__(self, call: Call) -> Answer:
        """Return the answer; it is generated once no further call arrives."""
        key = call_key(call, "local")
        if len(call.messages) > 2:
            return Answer(call, None, Failure(key, call.stage, call.id, "bad_request", ONCE))
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, future))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._generate_waiting())
        return await future

    async def _generate_waiting(self) -> None:
        while self._waiting:
            count = -1
            while count != len(self._waiting):  # until a turn of the loop brings no further call
                count = len(self._waiting)
                await asyncio.sleep(0)
            calls, self._waiting = self._waiting, []
            asked = [call for call, _ in calls]
            texts = answer_texts(self._model, self._template, asked, self._at_once, self._tokens)
            self._probabilities.update(verdict_probabilities(self._model, self._template, asked, texts, self._at_once))
            for (call, future), (text, finished) in zip(calls, texts, strict=True):
                entry = Entry(
                    call_key(call, "local"), call.stage, "local", StoredText(text), finish="stop" if finished else "length"
                )
                if not future.done():
                    future.set_result(Answer(call, entry))


def answer_texts(model: Any, template: ChatTemplate, calls: Sequence[Call], at_once: int, tokens: int) -> list[tuple[str, bool]]:
    """Return the greedy answer to each call, and whether it ended by itself."""
    rows = [template.ids(call.messages, ask=True) for call in calls]
    texts = [("", False)] * len(rows)
    with evaluation_mode(model, seed=0):
        for places in _chunks(sorted(range(len(rows)), key=lambda place: len(rows[place])), at_once):
            generated = generate(model, template.tokenizer, [rows[place] for place in places], 0, tokens)
            for place, turn in zip(places, generated, strict=True):
                texts[place] = (turn.text, turn.finished)
    return texts


def verdict_probabilities(
    model: Any, template: ChatTemplate, calls: Sequence[Call], answers: Sequence[tuple[str, bool]], at_once: int
) -> dict[str, float]:
    """Return by call id the probability of A at the verdict: that of a tie is divided between both candidates.

    The tokens of the three verdicts follow the same prefix, and the first one in which they differ is looked at. Answers without
    a verdict line have none.
    """
    prefixes: dict[str, tuple[list[int], list[int]]] = {}
    for call, (text, _) in zip(calls, answers, strict=True):
        if (found := _before_verdict(template, call, text)) is not None:
            prefixes[call.id] = found
    names = sorted(prefixes, key=lambda name: len(prefixes[name][0]))
    given: dict[str, float] = {}
    with evaluation_mode(model, seed=0):
        for chunk in _chunks(names, at_once):
            rows = _last_logits(model, template, [prefixes[name][0] for name in chunk])
            for name, row in zip(chunk, rows, strict=True):
                a, _, tie = row[prefixes[name][1]].softmax(-1).tolist()
                given[name] = a + tie / 2
    return given


def _before_verdict(template: ChatTemplate, call: Call, text: str) -> tuple[list[int], list[int]] | None:
    """Return the tokens before the verdict, and the next token of each of `VERDICTS`; None when there is none or they agree."""
    head, colon, _ = text.rpartition(": ")
    if not colon or "\n" in text[len(head) :]:
        return None
    variants = [
        template.ids((*call.messages, Message(role="assistant", content=f"{head}{colon}{verdict}")), ask=False)
        for verdict in VERDICTS
    ]
    same = next((at for at, tokens in enumerate(zip(*variants, strict=False)) if len(set(tokens)) == 3), 0)
    if not same or any(variant[:same] != variants[0][:same] for variant in variants):
        return None
    return variants[0][:same], [variant[same] for variant in variants]


def _last_logits(model: Any, template: ChatTemplate, rows: Sequence[list[int]]) -> Any:
    """Return the logits after each row, shape (rows, vocabulary)."""
    import torch

    # Padded on the right: a causal model's logits at the last own token do not depend on what follows.
    pad, width = template.tokenizer.pad_token_id, max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits[torch.arange(len(rows)), [len(row) - 1 for row in rows]].float()


def _chunks(places: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(places), size):
        yield places[first : first + size]
