"""The steps of `python -m benchmarks.gpu`: each is a process of its own and prints one JSON object as its last line.

They need torch, transformers and numpy, and peft for `lora`; neither trl nor pydantic, datasets or any file of data. `smoke` runs
them on a CPU with a tiny shape, so that everything but the figures can be tried without a GPU.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from pipelines.models.prefix_tree import IGNORED, Encoded, TokenRow, build_row, grow_trees, pack

CHUNK = 1024
"""Targets whose logits are in memory together."""


class BenchmarkShape(NamedTuple):
    """Shape of a model of the Qwen3 family; `intermediate` is the size inside the MLP."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int


SHAPES = {
    "0.6B": BenchmarkShape(1024, 3072, 28, 16, 8, 128, 151_936),
    "4B": BenchmarkShape(2560, 9728, 36, 32, 8, 128, 151_936),
    "smoke": BenchmarkShape(32, 64, 2, 4, 2, 16, 600),
}


class Lengths(NamedTuple):
    """Tokens of a system prompt, a turn, a plan, a row; target turns of a conversation; prompt and answers of a group."""

    system: int
    turn: int
    plan: int
    row: int
    targets: tuple[int, ...]
    prompt: int
    answers: tuple[int, ...]
    repeats: int


COSER = Lengths(1200, 60, 580, 16384, (4, 20), 2600, (350, 450, 550, 650, 750, 850, 950, 1050), 3)
"""As in CoSER, with plans of 580 tokens."""
SMALL = Lengths(40, 6, 12, 512, (4,), 60, (6, 9, 12, 14), 1)


def device_of(smoke: bool) -> Any:
    """Return the device of a run."""
    import torch

    return torch.device("cpu" if smoke else "cuda")


# -- models and losses -----------------------------------------------------------------------------------------------------


def build(shape: BenchmarkShape, attention: str, device: Any, checkpointing: bool = True) -> Any:
    """Return a model with random weights, in bfloat16 on a GPU."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    from pipelines.models.attention import register_attention
    from pipelines.models.shared_rows import select_trained

    register_attention()
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        tie_word_embeddings=True,
        max_position_embeddings=40960,
    )
    torch.manual_seed(0)
    with device:
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    select_trained(model.base_model)
    return model


def loss_of(model: Any, batch: dict[str, Any]) -> Any:
    """Return the summed loss of the trained tokens; logits are computed in chunks, and again in the backward pass."""
    import torch
    from torch.utils.checkpoint import checkpoint

    inputs = {name: value for name, value in batch.items() if name != "labels"}
    hidden = model.model(**inputs, use_cache=False).last_hidden_state
    labels = batch["labels"]
    if "sources" in batch:  # one place more than targets, see JoinRows
        hidden, labels = hidden[:, :-1], labels[:, 1:]
    else:
        hidden, labels = hidden[:, :-1], labels[:, 1:]
        kept = labels != IGNORED
        hidden, labels = hidden[kept][None], labels[kept][None]
    head = model.lm_head

    def part(states: Any, wanted: Any) -> Any:
        return torch.nn.functional.cross_entropy(head(states).float(), wanted, reduction="sum")

    total = hidden.new_zeros((), dtype=torch.float32)
    for first in range(0, labels.shape[1], CHUNK):
        total = total + checkpoint(part, hidden[0, first : first + CHUNK], labels[0, first : first + CHUNK], use_reentrant=False)
    return total


def conversations(targets: int, lengths: Lengths, vocabulary: int, seed: int = 0) -> list[Encoded]:
    """Return conversations that fill about two rows: random token ids; each target's prompt is two turns longer than the last."""
    dice = np.random.default_rng(seed)
    low, high = min(1000, vocabulary // 2), min(100_000, vocabulary)
    samples = []
    for number in range(max(1, round(2 * lengths.row / (lengths.system + targets * (lengths.plan + 3 * lengths.turn))))):
        history = dice.integers(low, high, lengths.system + 2 * lengths.turn * targets).astype(np.int32)
        for turn in range(targets):
            target = dice.integers(low, high, lengths.plan + lengths.turn).astype(np.int32)
            samples.append(Encoded(f"{number}", history[: lengths.system + 2 * lengths.turn * turn + lengths.turn], target))
    return samples


def shared_and_packed(samples: Sequence[Encoded], most: int) -> dict[str, list[TokenRow]]:
    """Return the samples as trees and as rows of their own, both packed to the same most tokens of a row."""
    grown = list(grow_trees(samples, most))
    apart = [tree for sample in samples for tree in grow_trees([sample], most)]
    return {
        "shared": [build_row([grown[at] for at in indices]) for indices in pack([tree.tokens for tree in grown], most)],
        "packed": [build_row([apart[at] for at in indices]) for indices in pack([tree.tokens for tree in apart], most)],
    }


# -- steps -----------------------------------------------------------------------------------------------------------------


def equality(smoke: bool) -> dict[str, Any]:
    """Compare losses and gradients of FlexAttention with those of the CPU path, on the same small rows in float32."""
    import torch

    device = device_of(smoke)
    torch.backends.cuda.matmul.allow_tf32 = False
    small = BenchmarkShape(128, 256, 2, 4, 2, 64, 600)
    rows = shared_and_packed(conversations(4, SMALL, 600), SMALL.row)["shared"]
    sides = []
    for place in (torch.device("cpu"), device):
        model = build(small, "shared_prefix", torch.device("cpu"), checkpointing=False).to(place)
        loss = sum((loss_of(model, batch) for batch in batches(rows, place)), torch.zeros((), device=place))
        loss.backward()
        gradients = {name: weight.grad.cpu() for name, weight in model.named_parameters() if weight.grad is not None}
        sides.append((float(loss), gradients))
    (expected, first), (found, second) = sides
    return {
        "loss": abs(found - expected) / expected,
        "gradients": max(float((second[name] - first[name]).norm() / first[name].norm()) for name in first),
    }


def layout(name: str, smoke: bool) -> dict[str, Any]:
    """Time forward and backward with full checkpointing over shared rows and over rows packed to the same length."""
    device, lengths = device_of(smoke), SMALL if smoke else COSER
    shape = SHAPES["smoke" if smoke else name]
    rate = matrix_rate(device, 256 if smoke else 8192)
    figures: dict[str, Any] = {"matrix_tflops": round(rate / 1e12, 2)}
    for targets in lengths.targets:
        samples = conversations(targets, lengths, shape.vocabulary)
        sides = shared_and_packed(samples, lengths.row)
        found = {
            side: timed(shape, "shared_prefix", batches(rows, device), device, lengths.repeats) for side, rows in sides.items()
        }
        tokens = {side: sum(len(row.input_ids) for row in rows) for side, rows in sides.items()}
        figures[f"{targets} targets"] = {
            "speedup": round(found["packed"]["seconds"] / found["shared"]["seconds"], 2),
            "fewer_tokens": round(tokens["packed"] / tokens["shared"], 2),
            **{
                side: {
                    **each,
                    "targets_a_second": round(len(samples) / each["seconds"], 2),
                    "tokens_a_second": round(tokens[side] / each["seconds"]),
                    "share_of_matrix_rate": round(work(shape, sides[side]) / each["seconds"] / rate, 3),
                }
                for side, each in found.items()
            },
        }
    return figures


def group(name: str, smoke: bool) -> dict[str, Any]:
    """Time the policy update of a group of answers as one row, and as padded rows with PyTorch's flash attention."""
    import torch

    device, lengths = device_of(smoke), SMALL if smoke else COSER
    shape = SHAPES["smoke" if smoke else name]
    dice = np.random.default_rng(1)
    low, high = min(1000, shape.vocabulary // 2), min(100_000, shape.vocabulary)
    prompt = dice.integers(low, high, lengths.prompt).astype(np.int32)
    samples = [Encoded("g", prompt, dice.integers(low, high, size).astype(np.int32)) for size in lengths.answers]
    row = build_row(list(grow_trees(samples, 10**6)))
    figures = {"shared": timed(shape, "shared_prefix", batches([row], device), device, lengths.repeats)}
    for micro in (2, len(samples)):
        padded = [_padded(samples[first : first + micro], device) for first in range(0, len(samples), micro)]
        try:
            figures[f"padded {micro}"] = timed(shape, "sdpa", padded, device, lengths.repeats)
        except torch.cuda.OutOfMemoryError:
            figures[f"padded {micro}"] = {"seconds": float("inf"), "out_of_memory": True}
    fastest = min(each["seconds"] for side, each in figures.items() if side != "shared")
    return {"speedup": round(fastest / figures["shared"]["seconds"], 2), **figures}


def lora(smoke: bool) -> dict[str, Any]:
    """Time optimiser steps of LoRA over shared rows; the loss must fall."""
    import torch
    from peft import LoraConfig, get_peft_model

    device, lengths = device_of(smoke), SMALL if smoke else COSER
    shape = SHAPES["smoke" if smoke else "0.6B"]
    rows = shared_and_packed(conversations(lengths.targets[0], lengths, shape.vocabulary), lengths.row)["shared"]
    model = build(shape, "shared_prefix", device)
    model.enable_input_require_grads()
    adapted = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-3)
    losses, seconds = [], []
    for _ in range(4):
        began = time.perf_counter()
        loss = torch.zeros((), device=device)
        for batch in batches(rows, device):
            part = loss_of(model, batch)
            part.backward()
            loss = loss + part.detach()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(float(loss))
        seconds.append(time.perf_counter() - began)
    return {"seconds_a_step": round(statistics.median(seconds[1:]), 3), "losses": [round(each, 1) for each in losses]}


def sampling(smoke: bool) -> dict[str, Any]:
    """Time transformers' generation of eight answers, with the attention that rows without spans get."""
    import torch
    from transformers import GenerationConfig

    device, lengths = device_of(smoke), SMALL if smoke else COSER
    shape = SHAPES["smoke" if smoke else "0.6B"]
    model = build(shape, "shared_prefix", device, checkpointing=False).eval()
    tokens = 8 if smoke else 128
    ids = torch.randint(10, shape.vocabulary, (8, lengths.prompt), device=device)
    config = GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens, do_sample=True, pad_token_id=0, eos_token_id=1)
    times = []
    for _ in range(2):
        began = time.perf_counter()
        with torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
        _wait(device)
        times.append(time.perf_counter() - began)
    return {"tokens_a_second": round(8 * tokens / times[-1]), "seconds": round(times[-1], 2)}


def qlora(smoke: bool) -> dict[str, Any]:
    """Time steps with a base in 4 bits, where bitsandbytes is installed."""
    if find_spec("bitsandbytes") is None or smoke:
        return {"skipped": "bitsandbytes is not installed" if find_spec("bitsandbytes") is None else "it needs a GPU"}
    import torch
    from bitsandbytes.nn import Linear4bit

    device = device_of(smoke)
    layer = Linear4bit(4096, 4096, compute_dtype=torch.bfloat16).to(device)
    out = layer(torch.randn(64, 4096, device=device, dtype=torch.bfloat16, requires_grad=True))
    out.sum().backward()
    return {"works": bool(torch.isfinite(out).all())}


def vllm(smoke: bool) -> dict[str, Any]:
    """Say whether vLLM is there; its own start takes longer than this benchmark has."""
    return {"skipped": "vllm is not installed"} if find_spec("vllm") is None else {"installed": True}


# -- measuring -------------------------------------------------------------------------------------------------------------


def batches(rows: Sequence[TokenRow], device: Any) -> list[dict[str, Any]]:
    """Return rows as the collator makes them, on the device."""
    from pipelines.models.shared_rows import JoinRows

    join = JoinRows(device.type != "cpu")
    return [{name: tensor.to(device) for name, tensor in join([row._asdict()]).items()} for row in rows]


def timed(shape: BenchmarkShape, attention: str, inputs: Sequence[dict[str, Any]], device: Any, repeats: int) -> dict[str, Any]:
    """Return seconds of forward and backward over all inputs, and the peak of memory; the model is built and freed here."""
    import torch

    model = build(shape, attention, device)

    def run(model: Any) -> float:
        _wait(device)
        began = time.perf_counter()
        for batch in inputs:
            loss_of(model, batch).backward()
        _wait(device)
        return time.perf_counter() - began

    try:
        first = run(model)  # compiles
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = [run(model) for _ in range(repeats)]
        peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
    finally:
        del model
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return {"seconds": round(statistics.median(seconds), 4), "first_seconds": round(first, 2), "peak_gb": round(peak, 2)}


def matrix_rate(device: Any, size: int) -> float:
    """Return the FLOP/s of matrix products on this device, in bfloat16 on a GPU."""
    import torch

    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(10):
        _wait(device)
        began = time.perf_counter()
        left @ right
        _wait(device)
        times.append(time.perf_counter() - began)
    return float(2 * size**3 / statistics.median(times))


def work(shape: BenchmarkShape, rows: Sequence[TokenRow]) -> float:
    """Return the FLOP of forward and backward with every forward computed twice: four times that of a forward."""
    attention = shape.heads * shape.head
    layer = shape.hidden * (2 * attention + 2 * shape.kv_heads * shape.head + 3 * shape.intermediate)
    tokens = sum(len(row.input_ids) for row in rows)
    trained = sum(label != IGNORED for row in rows for label in row.labels)
    pairs = sum(sum(_pairs(row)) for row in rows)
    forward = 2 * tokens * layer * shape.layers + 4 * pairs * attention * shape.layers
    return 4.0 * (forward + 2 * trained * shape.hidden * shape.vocabulary)


def _pairs(row: TokenRow) -> Iterator[int]:
    """Yield (query, key) pairs of each span: causal inside it, plus all keys of its prefix."""
    for start, stop, first, last in row.spans:
        size = stop - start
        yield size * (size + 1) // 2 + size * (last - first)


def _padded(samples: Sequence[Encoded], device: Any) -> dict[str, Any]:
    """Return samples as rows that are padded on the right; under a causal mask no token sees the padding."""
    import torch

    width = max(len(sample.prompt) + len(sample.target) for sample in samples)
    ids, labels = torch.zeros(len(samples), width, dtype=torch.long), torch.full((len(samples), width), IGNORED)
    for at, sample in enumerate(samples):
        whole = torch.from_numpy(np.concatenate((sample.prompt, sample.target)).astype(np.int64))
        ids[at, : len(whole)], labels[at, len(sample.prompt) : len(whole)] = whole, whole[len(sample.prompt) :]
    return {"input_ids": ids.to(device), "labels": labels.to(device)}


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


Step = Callable[[bool], dict[str, Any]]
STEPS: dict[str, tuple[int, Step]] = {
    "equality": (70, equality),
    "layout 0.6B": (90, lambda smoke: layout("0.6B", smoke)),
    "layout 4B": (110, lambda smoke: layout("4B", smoke)),
    "group 0.6B": (50, lambda smoke: group("0.6B", smoke)),
    "group 4B": (70, lambda smoke: group("4B", smoke)),
    "lora": (40, lora),
    "sampling": (40, sampling),
    "qlora": (15, qlora),
    "vllm": (10, vllm),
}
"""Each step with its limit in seconds, the most worth knowing first; together at most 8 minutes and a little."""
