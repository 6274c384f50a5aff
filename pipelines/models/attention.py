"""The attention of shared-prefix rows, registered with transformers as `shared_prefix`; only the pairs that are needed.

A row comes with `spans`, an integer tensor (spans, 4) of `pipelines.models.prefix_tree.Span`: each span is causal within
itself and sees all of one stretch before it. Models pass it to their attention as a keyword, as transformers 5 does with every
keyword of `forward`. Without `spans` this is PyTorch's scaled dot product attention, so that a model in training can generate.

On a CPU each span is one or two calls of PyTorch's flash attention, the stretch unmasked and the span itself causal, joined by
their log-sum-exp; in the backward pass each part gets the joined output and log-sum-exp, as ring attention does (Liu, Zaharia
and Abbeel 2023). Nothing is masked that was computed. A dense mask over the row would be as exact and slower than expanded
rows. Elsewhere FlexAttention skips the blocks that no token needs.
"""

import math
from functools import cache
from typing import Any

from her.errors import HerError

NAME = "shared_prefix"
Tensor = Any


def register() -> str:
    """Make the attention known to transformers; its name, for `attn_implementation`. Any number of times."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    spans: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """As transformers' attention functions: query (1, heads, tokens, head), keys and values with their own number of heads.

    Returns:
        (1, tokens, heads, head), and None for the weights that nobody computed.

    Raises:
        HerError: the model asks for something that only a whole row can have: dropout, a sliding window, a cap, sinks.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if spans is None:
        joined: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return joined
    _refuse(module, query, dropout, others)
    scale = 1 / math.sqrt(query.shape[-1]) if scaling is None else scaling
    if query.device.type != "cpu":
        return _flex(module, query, key, value, scale, spans)
    parts = [_autocast(each) for each in (query, key, value)]
    out, _ = _joined_spans()(*parts, scale, spans)
    return out.transpose(1, 2), None


def dense_mask(spans: Tensor, tokens: int) -> Tensor:
    """Boolean (tokens, tokens): what `spans` mean, written out; for tests and for looking at."""
    import torch

    own, first, last = _bounds(spans, tokens)
    place = torch.arange(tokens, device=spans.device)
    return _sees(place[:, None], place[None, :], own[:, None], first[:, None], last[:, None])


def _refuse(module: Any, query: Tensor, dropout: float, others: dict[str, Any]) -> None:
    if query.shape[0] != 1:
        raise HerError(f"shared-prefix rows come one at a time, this batch has {query.shape[0]}; let the collator join them")
    asked = [name for name in ("sliding_window", "softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if dropout:
        asked.append(f"dropout {dropout}")
    if asked:
        raise HerError(
            f"{type(module).__name__} asks for {', '.join(asked)}, which shared prefixes do not have; use layout=plain"
        )


def _autocast(tensor: Tensor) -> Tensor:
    """In the precision that autocast would give PyTorch's own attention."""
    import torch

    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor


# -- on a CPU ------------------------------------------------------------------------------------------------------------------


@cache
def _joined_spans() -> Any:
    """The operator `her::joined_spans` with its gradient; made at the first call, since torch is imported in functions only.

    One operator, so that checkpointing can keep what it returns (pipelines/models/checkpointing.py).
    """
    import torch

    schema = "(Tensor query, Tensor key, Tensor value, float scale, Tensor spans) -> (Tensor, Tensor)"
    made = torch.library.custom_op("her::joined_spans", _forward, mutates_args=(), schema=schema, device_types="cpu")
    made.register_autograd(_backward, setup_context=_kept)
    return made


def _forward(query: Tensor, key: Tensor, value: Tensor, scale: float, spans: Tensor) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp of query (1, heads, tokens, head); keys and values have as many heads, or a divisor of that."""
    import torch

    # laid out as the model goes on with it, so that what is kept for the backward pass is not kept twice
    out = query.new_empty([query.shape[place] for place in (0, 2, 1, 3)]).transpose(1, 2)
    lse = torch.empty(query.shape[:-1], dtype=torch.float32)
    for start, stop, first, last in spans.tolist():
        near = slice(start, stop)
        part, sums = _flash(query, key, value, scale, near, near)
        if last > first:
            seen, before = _flash(query, key, value, scale, near, slice(first, last))
            joined = torch.logaddexp(sums, before)
            part = part * (sums - joined).exp()[..., None] + seen * (before - joined).exp()[..., None]
            sums = joined
        out[:, :, near], lse[:, :, near] = part, sums
    return out, lse


def _kept(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale, ctx.spans = inputs
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Any, ...]:
    import torch

    saved = ctx.saved_tensors
    sums = [torch.zeros_like(each, memory_format=torch.contiguous_format) for each in saved[:3]]
    for start, stop, first, last in ctx.spans.tolist():
        near = slice(start, stop)
        for far in [near, slice(first, last)] if last > first else [near]:
            parts = _flash_backward(gradient, saved, ctx.scale, near, far)
            for total, part, place in zip(sums, parts, (near, far, far), strict=True):
                total[:, :, place] += part
    return *sums, None, None


def _flash(query: Tensor, key: Tensor, value: Tensor, scale: float, near: slice, far: slice) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp of the queries at `near` over the keys at `far`; causal when these are the same."""
    import torch

    at = (query[:, :, near], key[:, :, far], value[:, :, far])
    out, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*at, 0.0, near == far, scale=scale)
    return out, sums


def _flash_backward(gradient: Tensor, saved: Any, scale: float, near: slice, far: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries at `near`, keys and values at `far`, given the joined output and log-sum-exp."""
    import torch

    query, key, value, out, lse = saved
    at = (gradient[:, :, near], query[:, :, near], key[:, :, far], value[:, :, far], out[:, :, near], lse[:, :, near])
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    parts: tuple[Tensor, Tensor, Tensor] = backward(*at, 0.0, near == far, scale=scale)
    return parts


# -- on a GPU ------------------------------------------------------------------------------------------------------------------


def _flex(module: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, spans: Tensor) -> tuple[Tensor, None]:
    """FlexAttention with the block mask of the row."""
    from transformers.integrations.flex_attention import flex_attention_forward

    parts = [_autocast(each) for each in (query, key, value)]
    out, _ = flex_attention_forward(module, *parts, attention_mask=_block_mask(spans, query.shape[2]), scaling=scale)
    return out, None


def _block_mask(spans: Tensor, tokens: int) -> Any:
    """The block mask of a row, made once: every layer asks with the same tensor."""
    from torch.nn.attention.flex_attention import create_block_mask

    masks = _masks()
    if spans not in masks:
        bounds = _bounds(spans, tokens)

        def mask(batch: Tensor, head: Tensor, asks: Tensor, asked: Tensor) -> Tensor:
            return _sees(asks, asked, *(bound[asks] for bound in bounds))

        masks[spans] = create_block_mask(mask, None, None, tokens, tokens, device=str(spans.device))
    return masks[spans]


@cache
def _masks() -> Any:
    """Block masks by the tensor of spans, as long as that lives."""
    from torch.utils.weak import WeakTensorKeyDictionary

    return WeakTensorKeyDictionary()


def _bounds(spans: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each token the begin of its span, and from where to where it sees all; tokens behind the last span see themselves."""
    import torch

    own = torch.arange(tokens, device=spans.device)
    first, last = torch.zeros_like(own), torch.zeros_like(own)
    lengths = spans[:, 1] - spans[:, 0]
    where = torch.repeat_interleave(torch.arange(len(spans), device=spans.device), lengths)
    covered = len(where)
    own[:covered], first[:covered], last[:covered] = spans[where, 0], spans[where, 2], spans[where, 3]
    return own, first, last


def _sees(asks: Tensor, asked: Tensor, own: Tensor, first: Tensor, last: Tensor) -> Tensor:
    return ((asked >= own) & (asked <= asks)) | ((asked >= first) & (asked < last))
