"""Compute attention over shared-prefix rows; registered with transformers as `shared_prefix`.

A row has `spans`, an integer tensor (spans, 4) of `pipelines.models.prefix_tree.Span`: a span is causal within itself and
attends to all of one range before it. Transformers 5 passes every keyword of a model's `forward` on to its attention, so
`spans` arrives as a keyword. Without `spans` this is PyTorch's scaled dot product attention, so that a model in training can
generate.

On a CPU each span takes one or two calls of PyTorch's flash attention: the range before it without a mask, the span itself
causal. Their outputs are combined by their log-sum-exp. In the backward pass each part is given the combined output and
log-sum-exp, as in ring attention (Liu, Zaharia and Abbeel 2023). No pair is computed and then masked; a dense mask over the row
gives the same numbers but was slower than one row per target. On other devices FlexAttention skips the blocks that no token
needs; which these are follows from the spans (block_tables.py).
"""

import logging
import math
from functools import cache
from typing import Any

from her.errors import HerError
from pipelines.models.block_tables import BLOCK, block_tables

log = logging.getLogger(__name__)
NAME = "shared_prefix"
Tensor = Any
Tables = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Fields of `BlockTables` as tensors on the device, where the collator made them."""
ROOMY = 160 * 1024
"""Bytes of shared memory for the default tiles of FlexAttention."""


def register_attention() -> str:
    """Register the attention with transformers and return its name, for `attn_implementation`. Idempotent."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, shared_prefix_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def shared_prefix_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    spans: Tensor | None = None,
    partial: Tensor | None = None,
    full: Tensor | None = None,
    bounds: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Compute attention with the signature of transformers' attention functions.

    Args:
        query: (1, heads, tokens, head size); `key` and `value` have kv_heads in place of heads, a divisor of it.
        scaling: factor of the scores; None is 1 / sqrt(head size).
        spans: (spans, 4) integers; None computes PyTorch's own attention.
        partial, full, bounds: `pipelines.models.block_tables.BlockTables` of the row, for FlexAttention; None computes them.

    Returns:
        Output (1, tokens, heads, head size), and None in place of attention weights, which are not computed.

    Raises:
        HerError: the model asks for dropout, a sliding window, soft capping or sinks, which are not supported with spans.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if spans is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return plain
    _refuse_unsupported(module, query, dropout, others)
    scale = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    if query.device.type != "cpu":
        return _on_gpu(module, [_autocast(tensor) for tensor in (query, key, value)], scale, spans, (partial, full, bounds))
    parts = [_autocast(tensor) for tensor in (query, key, value)]
    out, _ = _span_operator()(*parts, scale, spans)
    return out.transpose(1, 2), None


def dense_mask(spans: Tensor, tokens: int) -> Tensor:
    """Return `spans` as a boolean mask (tokens, tokens), True where a row attends to a column. For tests and debugging."""
    import torch

    start, first, last = torch.from_numpy(block_tables(spans.tolist(), tokens).bounds).to(spans.device)
    index = torch.arange(tokens, device=spans.device)
    return _attends(index[:, None], index[None, :], start[:, None], first[:, None], last[:, None])


def _refuse_unsupported(module: Any, query: Tensor, dropout: float, others: dict[str, Any]) -> None:
    if query.shape[0] != 1:
        raise HerError(f"shared-prefix rows come as a batch of one, this batch has {query.shape[0]}; use the collator JoinRows")
    unsupported = [name for name in ("sliding_window", "softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if dropout:
        unsupported.append(f"dropout {dropout}")
    if unsupported:
        raise HerError(
            f"{type(module).__name__} asks for {', '.join(unsupported)}, which shared prefixes do not support; use layout=plain"
        )


def _autocast(tensor: Tensor) -> Tensor:
    """Cast to the precision that autocast would give PyTorch's own attention."""
    import torch

    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor


# -- on a CPU ------------------------------------------------------------------------------------------------------------------


@cache
def _span_operator() -> Any:
    """Return the operator `her::joined_spans` with its gradient; created at the first call, because torch is imported lazily.

    One operator, so that light checkpointing can keep its output (pipelines/models/activation_checkpointing.py).
    """
    import torch

    schema = "(Tensor query, Tensor key, Tensor value, float scale, Tensor spans) -> (Tensor, Tensor)"
    operator = torch.library.custom_op("her::joined_spans", _forward, mutates_args=(), schema=schema, device_types="cpu")
    operator.register_autograd(_backward, setup_context=_save_for_backward)
    return operator


def _forward(query: Tensor, key: Tensor, value: Tensor, scale: float, spans: Tensor) -> tuple[Tensor, Tensor]:
    """Return output (1, heads, tokens, head size) and log-sum-exp (1, heads, tokens) of all spans."""
    import torch

    # Memory order (1, tokens, heads, head size), as the next layer reads it: otherwise the transposed copy would be kept for the
    # backward pass beside this tensor.
    out = query.new_empty([query.shape[axis] for axis in (0, 2, 1, 3)]).transpose(1, 2)
    lse = torch.empty(query.shape[:-1], dtype=torch.float32)
    for start, stop, first, last in spans.tolist():
        span = slice(start, stop)
        span_out, span_lse = _flash(query, key, value, scale, span, span)
        if last > first:
            prefix_out, prefix_lse = _flash(query, key, value, scale, span, slice(first, last))
            # Softmax over both ranges: each output weighs by its share of the summed exponentials.
            both = torch.logaddexp(span_lse, prefix_lse)
            span_out = span_out * (span_lse - both).exp()[..., None] + prefix_out * (prefix_lse - both).exp()[..., None]
            span_lse = both
        out[:, :, span], lse[:, :, span] = span_out, span_lse
    return out, lse


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale, ctx.spans = inputs
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Any, ...]:
    import torch

    saved = ctx.saved_tensors
    sums = [torch.zeros_like(tensor, memory_format=torch.contiguous_format) for tensor in saved[:3]]
    for start, stop, first, last in ctx.spans.tolist():
        span = slice(start, stop)
        for keys in [span, slice(first, last)] if last > first else [span]:
            parts = _flash_backward(gradient, saved, ctx.scale, span, keys)
            # Gradients of the query go to the span, those of key and value to the keys it attended to.
            for total, part, where in zip(sums, parts, (span, keys, keys), strict=True):
                total[:, :, where] += part
    return *sums, None, None


def _flash(query: Tensor, key: Tensor, value: Tensor, scale: float, span: slice, keys: slice) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp of the queries at `span` over the keys at `keys`; causal when both are the same."""
    import torch

    tensors = (query[:, :, span], key[:, :, keys], value[:, :, keys])
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*tensors, 0.0, span == keys, scale=scale)
    return out, lse


def _flash_backward(gradient: Tensor, saved: Any, scale: float, span: slice, keys: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries at `span` and of keys and values at `keys`, given the combined output and log-sum-exp."""
    import torch

    query, key, value, out, lse = saved
    at_span = (gradient[:, :, span], query[:, :, span])
    at_keys = (key[:, :, keys], value[:, :, keys])
    tensors = (*at_span, *at_keys, out[:, :, span], lse[:, :, span])
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    parts: tuple[Tensor, Tensor, Tensor] = backward(*tensors, 0.0, span == keys, scale=scale)
    return parts


# -- on a GPU ------------------------------------------------------------------------------------------------------------------


def _on_gpu(module: Any, tensors: list[Tensor], scale: float, spans: Tensor, tables: Tables) -> tuple[Tensor, None]:
    """Compute FlexAttention with the block mask of the row, or over a dense mask where it cannot be compiled."""
    import torch

    state = _flex_state()
    if state.works is not False:
        try:
            out = _flex(module, tensors, scale, block_mask(spans, tensors[0].shape[2], tables))
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, NotImplementedError) as error:  # what torch.compile and Triton raise
            if state.works:
                raise
            log.warning("FlexAttention does not work here (%s); a dense mask is used, which is slower", _first_line(error))
            state.works = False
        else:
            state.works = True
            return out.transpose(1, 2).contiguous(), None
    return _masked(tensors, scale, spans).transpose(1, 2).contiguous(), None


def _flex(module: Any, tensors: list[Tensor], scale: float, mask: Any) -> Tensor:
    from transformers.integrations.flex_attention import compile_friendly_flex_attention

    query, key, _ = tensors
    return compile_friendly_flex_attention(
        *tensors,
        block_mask=mask,
        scale=scale,
        # The kernel reads shared heads where they are; repeated, they would be as large as the queries.
        enable_gqa=query.shape[1] != key.shape[1],
        kernel_options=kernel_options(query.device),
        training=module.training,
    )


def _masked(tensors: list[Tensor], scale: float, spans: Tensor) -> Tensor:
    """Compute PyTorch's attention over a dense mask: one byte a pair."""
    import torch

    query, key, _ = tensors
    mask = dense_mask(spans, query.shape[2])
    shared = query.shape[1] != key.shape[1]
    return torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=mask, scale=scale, enable_gqa=shared)


def kernel_options(device: Any) -> dict[str, int] | None:
    """Return smaller tiles for GPUs whose blocks have little shared memory (RTX 30 and 40: 99 KiB); None for the defaults.

    With the defaults Triton runs out of shared memory there (PyTorch issue 133254); heads of 128 need about 160 KiB.
    """
    import torch

    if device.type != "cuda" or torch.cuda.get_device_properties(device).shared_memory_per_block_optin >= ROOMY:
        return None
    return {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_M1": 32, "BLOCK_N1": 64, "BLOCK_M2": 64, "BLOCK_N2": 32}


def block_mask(spans: Tensor, tokens: int, tables: Tables = (None, None, None)) -> Any:
    """Return the block mask of a row, created once: all layers of a forward pass share one `spans` tensor."""
    import torch
    from torch.nn.attention.flex_attention import BlockMask

    masks = _mask_cache()
    if spans not in masks:
        partial, full, bounds = tables
        if partial is None or full is None or bounds is None:
            made = block_tables(spans.tolist(), tokens)
            partial, full, bounds = (torch.from_numpy(table).to(spans.device) for table in made)
        start, first, last = bounds

        def mask(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return _attends(query, key, start[query], first[query], last[query])

        lists = [table[None, None, :, columns].contiguous() for table in (partial, full) for columns in (0, slice(1, None))]
        masks[spans] = BlockMask.from_kv_blocks(*lists, BLOCK_SIZE=BLOCK, mask_mod=mask, seq_lengths=(tokens, tokens))
    return masks[spans]


class _FlexState:
    """State of FlexAttention on this machine; `works` is None until it was tried."""

    works: bool | None = None


@cache
def _flex_state() -> _FlexState:
    return _FlexState()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@cache
def _mask_cache() -> Any:
    """Return the cache of block masks; an entry lives as long as its `spans` tensor."""
    from torch.utils.weak import WeakTensorKeyDictionary

    return WeakTensorKeyDictionary()


def _attends(query: Tensor, key: Tensor, start: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Return whether token `query`, with these bounds, attends to token `key`."""
    return ((key >= start) & (key <= query)) | ((key >= first) & (key < last))
