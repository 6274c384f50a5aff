"""Compare shared-prefix rows with expanded rows on a GPU. Run: `python -m benchmarks.gpu`

Models of the shapes of Qwen3-0.6B and Qwen3-4B with random weights in bfloat16 are trained on random conversations with the
lengths of CoSER's (system prompt of 1,200 tokens, turns of 60, plans of 580, 4 and 20 target turns): as shared-prefix rows with
FlexAttention, and as expanded rows, one at a time with a causal mask, for which PyTorch uses flash attention. One pass is
forward and backward with gradient checkpointing and no optimiser; the loss over the targets uses TRL's fused head. The share of
the GPU's rate of bfloat16 matrix products, measured in the same run, is reported as well. Without a GPU `ok` is false. Prints
one JSON object.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.report import report
from her.capacity.recipe import Recipe
from her.capacity.shapes import SHAPES
from her.capacity.training_cost import count_flops
from her.capacity.work import Work
from pipelines.models.prefix_tree import Encoded, TokenRow, build_row, grow_trees, pack

SYSTEM, TURN, PLAN, BUDGET, TARGETS, REPEATS = 1200, 60, 580, 16384, (4, 20), 5
MODELS = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B")
BAR = {"speedup_4_targets": 1.7, "speedup_20_targets": 2.3}


def main() -> None:
    """Measure every model with every number of targets, and report."""
    import torch

    if not torch.cuda.is_available():
        report("gpu", BAR, {"gpu": None, "why": "there is no GPU on this machine; nothing was measured"}, False)
        return
    rate = matrix_rate()
    measured: dict[str, Any] = {"gpu": torch.cuda.get_device_name(), "matrix_tflops": round(rate / 1e12, 1)}
    for name in MODELS:
        for targets in TARGETS:
            measured[f"{name.split('/')[-1]} {targets}"] = compare(name, targets, rate)
    ok = all(
        measured[f"{name.split('/')[-1]} {targets}"]["speedup"] >= BAR[f"speedup_{targets}_targets"]
        for name in MODELS
        for targets in TARGETS
    )
    report("gpu", BAR, measured, ok)


def conversations(targets: int, seed: int = 0) -> list[Encoded]:
    """Return conversations that fill about two rows: random token ids; each target's prompt is two turns longer than the last."""
    dice = np.random.default_rng(seed)
    samples = []
    for number in range(max(1, round(2 * BUDGET / (SYSTEM + targets * (PLAN + 3 * TURN))))):
        history = dice.integers(1000, 100_000, SYSTEM + 2 * TURN * targets).astype(np.int32)
        for turn in range(targets):
            target = dice.integers(1000, 100_000, PLAN + TURN).astype(np.int32)
            samples.append(Encoded(f"{number}", history[: SYSTEM + 2 * TURN * turn + TURN], target))
    return samples


def compare(name: str, targets: int, rate: float) -> dict[str, Any]:
    """Time both sides in turn; return medians of targets a second and their ratio."""
    import torch

    samples = conversations(targets)
    grown = list(grow_trees(samples, BUDGET))
    shared = [build_row([grown[index] for index in indices]) for indices in pack([tree.tokens for tree in grown], BUDGET)]
    expanded = [build_row(list(grow_trees([sample], BUDGET))) for sample in samples]
    sides = {"shared": _side(name, "shared_prefix", shared), "expanded": _side(name, "sdpa", expanded)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(REPEATS + 1):
        for side, run in sides.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            run()
            torch.cuda.synchronize()
            if repeat:  # the first time compiles
                seconds[side].append(time.perf_counter() - began)
    medians = {side: statistics.median(each) for side, each in seconds.items()}
    return {
        "speedup": round(medians["expanded"] / medians["shared"], 2),
        "targets_a_second": {side: round(len(samples) / median, 2) for side, median in medians.items()},
        "fewer_tokens": round(sum(map(_tokens, expanded)) / sum(map(_tokens, shared)), 2),
        "share_of_matrix_rate": {
            "shared": round(_work(name, shared) / medians["shared"] / rate, 3),
            "expanded": round(_work(name, expanded) / medians["expanded"] / rate, 3),
        },
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
    }


def _side(name: str, attention: str, rows: Sequence[TokenRow]) -> Callable[[], None]:
    """Build a model and return a function that runs forward and backward over all rows."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config
    from trl.trainer.utils import add_fused_lm_head

    from pipelines.models.attention import register_attention
    from pipelines.models.shared_rows import JoinRows, select_trained

    register_attention()
    shape = SHAPES[name]
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=40960,
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation=attention)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    select_trained(model.base_model)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    join = JoinRows(attention != "sdpa")
    batches = [join([row._asdict()]) for row in rows]

    def run() -> None:
        for batch in batches:
            inputs = {key: tensor.cuda() for key, tensor in batch.items() if key != "spans" or attention != "sdpa"}
            if attention == "sdpa":
                del inputs["attention_mask"]
            out = model(**inputs, use_cache=False, fused_lm_head=True)
            out.loss.backward()
        model.zero_grad(set_to_none=True)

    return run


def matrix_rate(size: int = 8192) -> float:
    """Return the FLOP/s of bfloat16 matrix products on this GPU."""
    import torch

    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        began = time.perf_counter()
        left @ right
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / statistics.median(times)


def _work(name: str, rows: Sequence[TokenRow]) -> float:
    """Return the FLOP of forward and backward over rows with full checkpointing, by the formulas of `her estimate`."""
    tokens = sum(map(_tokens, rows))
    trained = sum(sum(label != -100 for label in row.labels) for row in rows)
    pairs = sum(sum(_pairs(row)) for row in rows)
    return count_flops(SHAPES[name], Work(tokens=tokens, trained=trained, pairs=pairs), Recipe(checkpointing="full"))


def _tokens(row: TokenRow) -> int:
    return len(row.input_ids)


def _pairs(row: TokenRow) -> Iterator[int]:
    """Yield (query, key) pairs of each span: causal inside it, plus all keys of its prefix."""
    for start, stop, first, last in row.spans:
        size = stop - start
        yield size * (size + 1) // 2 + size * (last - first)


if __name__ == "__main__":
    main()
