"""`local:` runs a model in this process with transformers: any causal LM with safetensors and a chat template.

One thread owns the model. Requests that wait at the same time (up to `batch_size`, gathered for 20 ms) are generated in one
left-padded batch; each row streams, stops and draws random numbers on its own. A request that comes while a batch runs waits
for its end. A seed gives the same answer only on the same type of machine and for the same batch shape: padding changes the last
bits of logits.

transformers and torch are imported when a backend is created, never before.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from her import paths
from her.backends import zero_gpu
from her.backends.base import Completion, Delta, Description, join_deltas
from her.backends.chat_template import PromptEncoder, TemplateRefusal
from her.backends.local_folder import model_files, model_folder
from her.backends.local_rows import BatchRow
from her.errors import BackendError
from her.files.atomic import sampled_hash
from her.types import Message, Sampling

log = logging.getLogger(__name__)
GATHER = 0.02
"""Seconds in which requests are gathered for one batch: short enough that nobody notices, long enough for parallel calls."""
UNKNOWN_CONTEXT = 4096
"""Assumed context in tokens where config.json does not say it."""
LOWEST_TEMPERATURE = 1e-4
"""Floor of the temperature in the softmax: below it float32 scores overflow. At temperature 0 the best token is taken."""
_TROUBLES = {
    "memory": "ran out of memory; shorten the chat or use a smaller model",
    "quota": "may not use the GPU any longer today; sign in to Hugging Face, or come back later",
}
"""Word in an error while generating -> what the person reads."""
_MISSING = "a local model needs torch and transformers, which are not installed; run: pip install -e '.[local]'"


class LocalBackend:
    """A `her.backends.base.Backend` in this process. The tokenizer is loaded at once, the weights in the model's thread.

    Args:
        path: folder or repository.
        revision: branch, tag or commit of a repository.
        batch_size: most requests in one batch.

    Raises:
        BackendError: `missing_extra`, `not_found` (no such folder or repository), `bad_request` (not a model of this kind).
    """

    def __init__(self, path: str, revision: str = "", batch_size: int = 8) -> None:
        self._path, self._requested_revision, self._batch_size = path, revision, batch_size
        folder = model_folder(path)
        self._source = folder or path
        # A folder that is trained again has the same path: recorded answers of the old weights must not count for the new ones.
        self._folder_revision = sampled_hash(model_files(Path(folder)))[:12] if folder else ""
        self._config, self._tokenizer = self._load_config()
        self._encoder = PromptEncoder(self._tokenizer)
        self._ends: frozenset[int] = frozenset()
        text = self._config.get_text_config()
        self._context = int(getattr(text, "max_position_embeddings", None) or UNKNOWN_CONTEXT)
        self._model: Any = None
        self._failure: BackendError | None = None
        self._loaded = threading.Event()
        self._waiting: queue.Queue[BatchRow | None] = queue.Queue()
        self._steps: zero_gpu.Steps | None = None
        if paths.zero_gpu():  # see her/backends/zero_gpu.py: loaded in this thread, one visitor a call
            self._batch_size = 1
            self._steps = zero_gpu.register(path, self._generate)
            self._load_weights()
            self._loaded.set()
        self._thread = threading.Thread(target=self._run, name=f"local {path}", daemon=True)
        self._thread.start()

    def describe(self) -> Description:
        """Describe this backend; `revision` is the commit of a repository, or a hash of a folder's files."""
        spec = f"local:{self._path}" + (f"#{self._requested_revision}" if self._requested_revision else "")
        revision = self._folder_revision or getattr(self._config, "_commit_hash", None) or self._requested_revision
        return Description(spec=spec, model=self._path, revision=revision, context=self._context, counts_exactly=True)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the exact number, by the model's own tokenizer and chat template."""
        return len(self._prompt(messages))

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the deltas of `stream`, joined."""
        return await join_deltas(self.stream(messages, sampling))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Stream the next assistant message; closing the iterator stops the row at its next token."""
        row = self._row(messages, sampling)
        self._waiting.put(row)
        begun = False
        try:
            while True:
                item = await row.deltas.get()
                if isinstance(item, BackendError):
                    raise item
                begun = begun or bool(item.text)
                if item.finish and not begun:
                    raise BackendError.with_advice(f"{self._path} said nothing", "empty")
                yield item
                if item.finish:
                    return
        finally:
            row.cancelled.set()

    async def check(self) -> str:
        """Wait until the weights are loaded; return device and size."""
        await asyncio.to_thread(self._loaded.wait)
        if self._failure:
            raise self._failure
        millions = sum(weights.numel() for weights in self._model.parameters()) / 1e6
        return f"{self._path} is loaded on {self._model.device} ({millions:,.1f} million weights, context {self._context})."

    async def close(self) -> None:
        """End the thread and free the weights; requests in flight get an error."""
        self._failure = self._failure or BackendError(f"{self._path} was closed; open it again.", "unreachable")
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        self._model = None

    # -- loading -------------------------------------------------------------------------------------------------------

    def _load_config(self) -> tuple[Any, Any]:
        """Return config and tokenizer."""
        try:
            import torch  # noqa: F401  # transformers imports without it and fails much later
            from transformers import AutoConfig, AutoTokenizer
        except ImportError:
            raise BackendError(_MISSING, "missing_extra") from None
        options = {"revision": self._requested_revision or "main", "trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(self._source, **options)
            tokenizer = AutoTokenizer.from_pretrained(self._source, **options)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise self._load_error(error) from error
        if not tokenizer.chat_template:
            raise BackendError(
                f"local model '{self._path}' has no chat template, so it was not trained on conversations; "
                "choose an instruct model or one trained here.",
                "bad_request",
            )
        return config, tokenizer

    def _load_weights(self) -> None:
        """Load the weights in this thread; a failure is kept and raised for every request."""
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, GenerationConfig

        cuda = torch.cuda.is_available()
        half = torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else torch.float16
        # PyTorch's own attention would leave out a cap of the scores, without an error.
        capped = getattr(self._config.get_text_config(), "attn_logit_softcapping", None)
        started = time.monotonic()
        try:
            self._model = AutoModelForCausalLM.from_pretrained(
                self._source,
                revision=self._requested_revision or "main",
                trust_remote_code=False,
                use_safetensors=True,
                dtype=half if cuda else torch.float32,
                **({"device_map": "auto"} if cuda and self._steps is None else {}),
                **({"attn_implementation": "eager"} if capped else {}),
            ).eval()
            if cuda and self._steps is not None:
                self._model.to("cuda")
        except (OSError, SafetensorError) as error:  # absent or truncated files: the sentence is enough, no traceback
            self._failure = self._failure or self._load_error(error)
            return
        except Exception as error:  # transformers' model code may raise anything; every request gets it as one sentence
            log.exception("cannot load %s", self._path)
            self._failure = self._failure or self._load_error(error)
            return
        self._ends = self._end_tokens()
        # Beams, stop strings, bans of n-grams and forced tokens of the model's own settings would fill whatever is left out of
        # ours and change or break replies; only its end tokens count.
        self._model.generation_config = GenerationConfig()
        log.info("loaded %s on %s in %.1f s", self._path, self._model.device, time.monotonic() - started)

    def _load_error(self, error: Exception) -> BackendError:
        message = " ".join(str(error).split())
        message = message if len(message) <= 240 else message[:239] + "…"
        return BackendError(
            f"local model '{self._path}' cannot be read as a causal language model with safetensors: {message}",
            "not_found" if isinstance(error, OSError) else "bad_request",
        )

    # -- requests ------------------------------------------------------------------------------------------------------

    def _row(self, messages: Sequence[Message], sampling: Sampling) -> BatchRow:
        """Return the request as a row; raise BackendError when the prompt leaves no room for an answer."""
        prompt = self._prompt(messages)
        room = self._context - len(prompt)
        if room < 1:
            raise BackendError(
                f"the prompt has {len(prompt)} tokens and {self._path} takes {self._context}; "
                "shorten the chat or connect a model with a longer context.",
                "bad_request",
            )
        return BatchRow(prompt, sampling, min(sampling.max_tokens, room), self._tokenizer)

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of the messages by the model's chat template."""
        if messages and messages[-1].role == "assistant" and not messages[-1].content:
            messages = messages[:-1]  # nothing was begun
        try:
            return self._encoder.ids(messages, ask=True)
        except TemplateRefusal as error:
            raise BackendError(
                f"the chat template of {self._path} does not take these messages: {error}.", "bad_request"
            ) from error

    # -- the model's thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Load, then generate batch after batch until closed."""
        if not self._loaded.is_set():
            self._load_weights()
            self._loaded.set()
        self._encoder.prepare()
        held: list[BatchRow] = []
        while (rows := self._gather(held)) is not None:
            batch, held = self._split_by_context([row for row in rows if not row.cancelled.is_set()])
            if self._failure:
                for row in batch + held:
                    row.fail(self._failure)
                held = []
            elif batch:
                self._answer(batch)
        for row in held + self._remaining():
            row.fail(self._failure or BackendError(f"{self._path} was closed; open it again.", "unreachable"))

    def _gather(self, held: list[BatchRow]) -> list[BatchRow] | None:
        """Return the rows that wait now, the held ones first; None when the backend is closed.

        Blocks without limit for the first row, then for at most GATHER seconds for more.
        """
        rows = list(held)
        end = time.monotonic() + GATHER
        while len(rows) < self._batch_size:
            try:
                row = self._waiting.get(timeout=max(0.0, end - time.monotonic()) if rows else None)
            except queue.Empty:
                break
            if row is None:
                # Closed. The rows and the sign go back, so that `_remaining` fails every row.
                self._waiting.put(None)
                for gathered in rows:
                    self._waiting.put(gathered)
                return None
            if not rows:
                end = time.monotonic() + GATHER
            rows.append(row)
        return rows

    def _remaining(self) -> list[BatchRow]:
        """Return the rows that still wait when the thread ends."""
        rows = []
        while not self._waiting.empty():
            if row := self._waiting.get_nowait():
                rows.append(row)
        return rows

    def _split_by_context(self, rows: list[BatchRow]) -> tuple[list[BatchRow], list[BatchRow]]:
        """Return the rows that fit into the context together, and the others for the next batch.

        In a left-padded batch every row is as long as the longest prompt plus the largest limit.
        """
        batch: list[BatchRow] = []
        for row in rows:
            larger = [*batch, row]
            if max(len(each.prompt) for each in larger) + max(each.limit for each in larger) <= self._context:
                batch = larger
        return batch, [row for row in rows if row not in batch]

    def _answer(self, rows: list[BatchRow]) -> None:
        """Generate for all rows; a failure is reported to each of them."""
        try:
            if self._steps is None:
                self._generate(rows)
            else:
                # The visitor's request, whose time on the GPU this is, is in the context of the call.
                rows[0].context.run(zero_gpu.generate_remotely, self._steps, self._path, rows, self._ends)
        except Exception as error:  # out of memory, a broken model: the thread must survive for the next request
            log.exception("%s failed to generate", self._path)
            said = next(
                (words for key, words in _TROUBLES.items() if key in f"{getattr(error, 'title', '')} {error}".lower()), ""
            )
            what = said or f"failed while generating ({type(error).__name__}); look at the log"
            for row in rows:
                row.fail(BackendError(f"{self._path} {what}.", "server_error"))

    def _generate(self, rows: list[BatchRow]) -> None:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        ends = self._ends
        pad = self._tokenizer.pad_token_id
        pad = pad if pad is not None else min(ends, default=0)  # masked out, so any token serves
        width = max(len(row.prompt) for row in rows)
        ids = torch.tensor([[pad] * (width - len(row.prompt)) + row.prompt for row in rows], device=self._model.device)
        mask = torch.tensor([[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows], device=self._model.device)
        steps = max(row.limit for row in rows)
        config = GenerationConfig(max_new_tokens=steps, do_sample=False, pad_token_id=pad, eos_token_id=sorted(ends) or None)
        with torch.inference_mode():
            self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=LogitsProcessorList([_RowSampler(rows, ends)]),
                stopping_criteria=StoppingCriteriaList([_RowStops(rows)]),
            )
        for row in rows:
            row.finish("length")

    def _end_tokens(self) -> frozenset[int]:
        """Return the token ids that end an answer: those of the generation config and the tokenizer's."""
        configured = self._model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(token for token in (*ids, self._tokenizer.eos_token_id) if token is not None)


class _RowSampler:
    """Logits processor that draws the token of each row itself and leaves `generate` only that one.

    `generate` has one temperature, top_p and random generator for a batch; here each row has its own.
    """

    def __init__(self, rows: list[BatchRow], ends: frozenset[int]) -> None:
        self._rows, self._ends = rows, ends

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        tokens = _draw(scores, self._rows)
        for row, token in zip(self._rows, tokens.tolist(), strict=True):
            row.take(token, self._ends)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


class _RowStops:
    """Stopping criterion: rows that are done or whose reader has left."""

    def __init__(self, rows: list[BatchRow]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        return torch.tensor([row.done or row.cancelled.is_set() for row in self._rows], device=input_ids.device)


def _draw(scores: Any, rows: list[BatchRow]) -> Any:
    """Draw one token id per row by temperature and top_p with the row's own dice; at temperature 0 take the best token.

    Nucleus sampling: Holtzman et al., arXiv 1904.09751.

    Args:
        scores: logits, shape (rows, vocabulary).

    Returns:
        Token ids, shape (rows,).
    """
    best = scores.argmax(dim=-1)
    drawing = [index for index, row in enumerate(rows) if row.sampling.temperature > 0]
    if drawing:  # only these rows pay for sorting the vocabulary
        best[drawing] = _sample(scores[drawing], [rows[index] for index in drawing])
    return best


def _sample(scores: Any, rows: list[BatchRow]) -> Any:
    import torch

    def column(values: list[float]) -> Any:
        return torch.tensor(values, dtype=torch.float32, device=scores.device)[:, None]

    temperature = column([max(row.sampling.temperature, LOWEST_TEMPERATURE) for row in rows])
    chances, order = torch.softmax(scores.float() / temperature, dim=-1).sort(dim=-1, descending=True)
    # A token is kept while the tokens before it hold less than top_p, so the best one always is.
    before = chances.cumsum(dim=-1) - chances
    kept = chances * (before < column([row.sampling.top_p for row in rows]))
    reached = kept.cumsum(dim=-1)
    # Inverse transform sampling: the first token whose cumulative sum is above a uniform number times the kept mass.
    wanted = column([row.draw() for row in rows]) * reached[:, -1:]
    last = (kept > 0).sum(dim=-1, keepdim=True) - 1  # rounding may lead past the last kept token
    place = torch.minimum((reached <= wanted).sum(dim=-1, keepdim=True), last)
    return order.gather(1, place)[:, 0]
