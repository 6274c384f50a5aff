"""Ask a model in this process as judges ask a server: calls that wait together are generated together."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from her.inference.call import Answer, Call, call_key
from her.store.ledger import Entry, Failure, StoredText
from pipelines.models.chat_template import ChatTemplate
from pipelines.models.sampled_turns import evaluation_mode, generate

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
            texts = answer_texts(self._model, self._template, [call for call, _ in calls], self._at_once, self._tokens)
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


def _chunks(places: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for first in range(0, len(places), size):
        yield places[first : first + size]
