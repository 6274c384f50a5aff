"""`vllm:` runs vLLM in this process, for pipelines on a GPU: parallel calls share its batches and nothing goes over a network.

Needs the extra `vllm`. The engine is loaded at the first call, which takes minutes for a large model. It follows a JSON schema by
guided decoding. Written for vLLM 0.31 (`AsyncLLM` of the v1 engine).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from her.backends.base import (
    CHOICES_KEPT,
    LEAST_LOGPROB,
    Completion,
    Delta,
    Description,
    FinishReason,
    TokenChoice,
    Usage,
)
from her.backends.chat_template import PromptEncoder, TemplateRefusal
from her.errors import BackendError
from her.tokens import estimate_tokens
from her.types import Message, Sampling, new_id

log = logging.getLogger(__name__)
UNKNOWN_CONTEXT = 8192
"""Context in tokens that is assumed until the engine is loaded."""


class VLLMBackend:
    """A `her.backends.base.Backend` and `WholeAnswerBackend` in this process.

    Args:
        model: folder or repository.
        revision: commit of a repository; empty for the newest.
    """

    def __init__(self, model: str, revision: str = "") -> None:
        self._model, self._revision = model, revision
        self._engine: Any = None
        self._encoder: PromptEncoder | None = None
        self._context = UNKNOWN_CONTEXT
        self._loading = asyncio.Lock()  # parallel first calls must not load the model twice

    def describe(self) -> Description:
        """Describe this backend; `context` is UNKNOWN_CONTEXT until the engine is loaded."""
        spec = f"vllm:{self._model}" + (f"#{self._revision}" if self._revision else "")
        return Description(
            spec=spec,
            model=self._model,
            revision=self._revision,
            context=self._context,
            counts_exactly=self._encoder is not None,
        )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the exact number once the engine is loaded, an estimate before."""
        return estimate_tokens(messages) if self._encoder is None else len(self._prompt(messages))

    async def check(self) -> str:
        """Load the engine."""
        await self._load()
        return f"{self._model} is loaded in this process."

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Return the answer of `ask` without a schema."""
        return await self.ask(messages, sampling)

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncIterator[Delta]:
        """Yield the whole answer as one delta: no person watches a pipeline."""
        answer = await self.ask(messages, sampling)
        yield Delta(text=answer.text, finish=answer.finish, usage=answer.usage)

    async def ask(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        schema: Mapping[str, Any] | None = None,
        seconds: float = 600,
        choices: int = 0,
    ) -> Completion:
        """Return the next assistant message; arguments as in the Protocol.

        Raises:
            BackendError: `missing_extra`, `not_found`, `timeout`, `bad_request` (such as a prompt that is too long), `empty` or
                `server_error`.
        """
        await self._load()
        ids = self._prompt(messages)
        if len(ids) >= self._context:
            raise BackendError(
                f"the prompt has {len(ids)} tokens, {self._model} takes {self._context}; shorten it.", "bad_request"
            )
        request = new_id()
        try:
            async with asyncio.timeout(seconds):
                last = await self._generate(ids, _params(sampling, schema, choices), request)
        except TimeoutError:
            await self._engine.abort(request)  # else it would go on using its share of the batch
            raise BackendError(f"{self._model} gave no whole answer within {seconds:g} s.", "timeout") from None
        except ValueError as error:
            raise BackendError(f"{self._model} did not accept the request ({error}).", "bad_request") from error
        except RuntimeError as error:  # vLLM's own errors derive from it
            raise BackendError(f"{self._model} failed ({error}).", "server_error") from error
        return _completion(last, len(ids), self._model)

    async def close(self) -> None:
        """Shut the engine down and free the GPU."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()

    async def _generate(self, ids: list[int], params: Any, request: str) -> Any:
        """Return the last output of the engine; with FINAL_ONLY there is one."""
        last = None
        async for last in self._engine.generate({"prompt_token_ids": ids}, params, request):  # noqa: B007
            continue
        return last

    async def _load(self) -> None:
        """Load engine and tokenizer, once."""
        async with self._loading:
            if self._engine is not None:
                return
            try:
                from vllm import AsyncEngineArgs
                from vllm.v1.engine.async_llm import AsyncLLM
            except ImportError as error:
                raise BackendError("'vllm:' needs the package vllm; run pip install -e '.[vllm]'.", "missing_extra") from error
            try:
                self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=self._model, revision=self._revision or None))
                self._encoder = PromptEncoder(await _tokenizer(self._engine))
            except (OSError, ValueError, RuntimeError) as error:
                raise BackendError(f"vLLM cannot load {self._model!r}: {error}", "not_found") from error
            self._context = int(self._engine.model_config.max_model_len)
            log.info("vLLM has loaded %s, context %d", self._model, self._context)

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of the messages by the model's chat template."""
        try:
            return self._encoder.ids(messages, ask=True) if self._encoder else []
        except TemplateRefusal as error:
            raise BackendError(
                f"the chat template of {self._model} does not take these messages: {error}.", "bad_request"
            ) from error


async def _tokenizer(engine: Any) -> Any:
    """Return the tokenizer of an engine; some releases of vLLM return it from a coroutine."""
    tokenizer = engine.get_tokenizer()
    return await tokenizer if asyncio.iscoroutine(tokenizer) else tokenizer


def _params(sampling: Sampling, schema: Mapping[str, Any] | None, choices: int) -> Any:
    """Return vLLM's SamplingParams."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
        stop=list(sampling.stop) or None,
        logprobs=choices or None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(json=dict(schema)) if schema is not None else None,
    )


def _completion(last: Any, prompt_tokens: int, model: str) -> Completion:
    output = last.outputs[0] if last is not None and last.outputs else None
    if output is None or not output.text:
        raise BackendError.with_advice(f"{model} said nothing", "empty")
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=len(output.token_ids))
    finish: FinishReason = "length" if output.finish_reason == "length" else "stop"
    return Completion(text=output.text, finish=finish, usage=usage, choices=_choices(output))


def _choices(output: Any) -> tuple[TokenChoice, ...]:
    """Return the last tokens with their alternatives; none where none were asked for."""
    listed = list(zip(output.token_ids, output.logprobs or (), strict=False))[-CHOICES_KEPT:]
    return tuple(
        TokenChoice(
            text=places[token].decoded_token or "",
            logprobs=tuple((each.decoded_token or "", max(LEAST_LOGPROB, float(each.logprob))) for each in places.values()),
        )
        for token, places in listed
    )
