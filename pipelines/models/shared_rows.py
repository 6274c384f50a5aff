"""Shared rows on their way through a model: batches of them, logits where something is trained, and a check before the start."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from her.errors import HerError
from pipelines.models.prefix_tree import IGNORED

log = logging.getLogger("sft")


class Join:
    """Puts shared rows one behind the other: a batch is one long row, and no token of it is padding but on a GPU.

    There the length is raised to a multiple of `BLOCK`, so that FlexAttention is compiled for few lengths.
    """

    BLOCK = 512

    def __init__(self, blocks: bool) -> None:
        self._blocks = blocks

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Tensors (1, tokens) of ids, positions and ones; `spans` (spans, 4); what is trained, for `only_trained`.

        `sources` (targets + 1) are the places whose next token is trained, and one more; `labels` (1, targets + 1) those tokens
        behind one that is ignored: a loss that shifts labels by one puts both side by side.
        """
        import torch

        ids: list[int] = []
        labels: list[int] = []
        positions: list[int] = []
        spans: list[list[int]] = []
        for row in rows:
            spans += [[edge + len(ids) for edge in span] for span in row["spans"]]
            ids += row["input_ids"]
            labels += row["labels"]
            positions += row["position_ids"]
        if self._blocks and (missing := -len(ids) % self.BLOCK):
            ids, positions = ids + [0] * missing, positions + [0] * missing
        sources = [place - 1 for place, label in enumerate(labels) if label != IGNORED]
        trained = [IGNORED, *(labels[place + 1] for place in sources)]
        tensors = {"input_ids": ids, "labels": trained, "position_ids": positions, "attention_mask": [1] * len(ids)}
        made = {name: torch.tensor([each]) for name, each in tensors.items()}
        return {**made, "spans": torch.tensor(spans), "sources": torch.tensor([*sources, 0])}


def only_trained(backbone: Any) -> None:
    """Let a backbone hand on the hidden states at `sources` alone, where it is given these.

    The trunk is not trained, so its tokens need no logits; computing them is the larger part of a small model's work.
    """

    def select(module: Any, positional: Any, named: dict[str, Any], output: Any) -> Any:
        if (sources := named.get("sources")) is not None:
            output.last_hidden_state = output.last_hidden_state[:, sources]
        return output

    backbone.register_forward_hook(select, with_kwargs=True)


def honours_spans(trainer: Any, tolerance: float = 1e-4) -> None:
    """Compare one small tree with its expanded rows on the very model that will be trained.

    Architectures that do not hand their keywords on, or have no softmax attention, would train on the wrong context without a
    word. Every process takes part, as sharded weights need.

    Raises:
        HerError: the losses differ by more than `tolerance`; in half precision, whose rounding may be large, by more than a
            hundred times that and a quarter of what a model that knows nothing of spans is off by.
    """
    import torch

    made = smallest_shared(trainer.train_dataset)
    if made is None:
        return
    model, device = trainer.model, trainer.args.device
    training = model.training
    model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        blind = {**made, "spans": [[0, len(made["input_ids"]), 0, 0]]}
        ours, theirs, wrong = (_losses(model, rows, device) for rows in ([made], expanded(made), [blind]))
    model.train(training)
    exact = next(model.parameters()).dtype == torch.float32 and not trainer.args.bf16
    apart, ignored = (float((each - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6)) for each in (ours, wrong))
    if not math.isfinite(apart) or apart > (tolerance if exact else max(100 * tolerance, ignored / 4)):
        raise HerError(
            f"{type(model).__name__} does not honour shared prefixes: its losses differ by {apart:.1e} from those of expanded "
            "rows; use layout=plain"
        )
    log.info("shared prefixes agree with expanded rows to %.1e", apart)


def smallest_shared(rows: Any, looked_at: int = 64) -> dict[str, list[Any]] | None:
    """Of the first rows, the smallest trunk that has a branch, alone with it: a row of two spans."""
    best: dict[str, list[Any]] | None = None
    for row in (rows[place] for place in range(min(len(rows), looked_at))):
        starts = {span[0]: span for span in row["spans"] if span[2] == span[3]}
        for start, stop, first, last in row["spans"]:
            if last <= first:
                continue
            trunk = starts[first]
            size = trunk[1] - trunk[0] + stop - start
            if best is not None and size >= len(best["input_ids"]):
                continue
            cut = {
                name: row[name][trunk[0] : trunk[1]] + row[name][start:stop] for name in ("input_ids", "labels", "position_ids")
            }
            wide = trunk[1] - trunk[0]
            best = {**cut, "spans": [[0, wide, 0, 0], [wide, size, 0, last - first]]}
    return best


def expanded(row: Mapping[str, list[Any]]) -> list[dict[str, list[Any]]]:
    """Each span of a row as a row of its own, with all that it sees before it."""
    rows = []
    for start, stop, first, last in row["spans"]:
        seen = {name: row[name][first:last] + row[name][start:stop] for name in ("input_ids", "position_ids")}
        labels = [IGNORED] * (last - first) + row["labels"][start:stop]
        rows.append({**seen, "labels": labels, "spans": [[0, len(labels), 0, 0]]})
    return rows


def _losses(model: Any, rows: Sequence[Mapping[str, Any]], device: Any) -> Any:
    """Of every trained token, in order."""
    import torch

    found = []
    for row in rows:
        inputs = {name: tensor.to(device) for name, tensor in Join(device.type != "cpu")([row]).items()}
        out = model(**inputs, use_cache=False, fused_lm_head=True)
        found.append(-out.log_probs[out.label_mask].float())
    return torch.cat(found)
