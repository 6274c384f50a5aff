"""Feed shared-prefix rows to a model: batches, logits of trained tokens only, and a check before the first step."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from her.errors import HerError
from pipelines.models.block_tables import BLOCK, block_tables
from pipelines.models.prefix_tree import IGNORED

log = logging.getLogger("sft")


class JoinRows:
    """Collator that joins shared rows into one long row without padding.

    Args:
        pad: raise the length to a multiple of `BLOCK` and add the tables of FlexAttention's blocks (on a GPU), so that nothing of
            a row's mask is computed there.
    """

    BLOCK = BLOCK

    def __init__(self, pad: bool) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the batch as tensors.

        Returns:
            `input_ids`, `position_ids` and `attention_mask` (1, tokens); `spans` (spans, 4); `sources` (targets + 1), the places
            whose next token is trained and one place more; `labels` (1, targets + 1), those next tokens behind one ignored
            label. A loss that shifts labels by one then compares the logits at `sources` with the right tokens. With `pad` also
            the fields of `BlockTables`.
        """
        import torch

        ids: list[int] = []
        labels: list[int] = []
        positions: list[int] = []
        spans: list[list[int]] = []
        for row in rows:
            spans += [[bound + len(ids) for bound in span] for span in row["spans"]]
            ids += row["input_ids"]
            labels += row["labels"]
            positions += row["position_ids"]
        if self._pad and (missing := -len(ids) % self.BLOCK):
            ids, positions = ids + [0] * missing, positions + [0] * missing
        # The first token of a row is never trained (a prompt has at least one token), so place - 1 stays inside the row.
        sources = [place - 1 for place, label in enumerate(labels) if label != IGNORED]
        trained = [IGNORED, *(labels[place + 1] for place in sources)]
        columns = {"input_ids": ids, "labels": trained, "position_ids": positions, "attention_mask": [1] * len(ids)}
        batch = {name: torch.tensor([column]) for name, column in columns.items()}
        # One place more than targets: the loss drops the last hidden state when it shifts labels.
        batch |= {"spans": torch.tensor(spans), "sources": torch.tensor([*sources, 0])}
        if self._pad:
            tables = block_tables(spans, len(ids))._asdict()
            batch |= {name: torch.from_numpy(table) for name, table in tables.items()}
        return batch


def select_trained(backbone: Any) -> None:
    """Make a backbone return hidden states only at `sources`, when that keyword is given.

    The trunk is not trained, so its tokens need no logits. The head is the larger part of a small model's work.
    """

    def select(module: Any, positional: Any, named: dict[str, Any], output: Any) -> Any:
        if (sources := named.get("sources")) is not None:
            output.last_hidden_state = output.last_hidden_state[:, sources]
        return output

    backbone.register_forward_hook(select, with_kwargs=True)


def require_spans_honoured(trainer: Any, tolerance: float = 1e-4) -> None:
    """Compare the losses of one small tree with those of its expanded rows, on the model that will be trained.

    An architecture that does not pass keywords on to its attention, or has no softmax attention, would train on a wrong context
    without any error. All processes must call this, because sharded weights are gathered.

    Raises:
        HerError: the relative difference is above `tolerance` in float32. Rounding in half precision can be large, so there the
            limit is the larger of 100 x tolerance and a quarter of the difference of a model that ignores spans.
    """
    import torch

    row = smallest_shared(trainer.train_dataset)
    if row is None:
        return
    model, device = trainer.model, trainer.args.device
    training = model.training
    model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        causal = {**row, "spans": [[0, len(row["input_ids"]), 0, 0]]}
        ours = target_losses(model, [row], device)
        expected = target_losses(model, expand(row), device)
        ignoring = target_losses(model, [causal], device)
    model.train(training)
    exact = next(model.parameters()).dtype == torch.float32 and not trainer.args.bf16
    difference, worst = (
        float((losses - expected).abs().max() / expected.abs().max().clamp(min=1e-6)) for losses in (ours, ignoring)
    )
    if not math.isfinite(difference) or difference > (tolerance if exact else max(100 * tolerance, worst / 4)):
        raise HerError(
            f"{type(model).__name__} does not honour shared prefixes: its losses differ by {difference:.1e} from those of "
            "expanded rows; use layout=plain"
        )
    log.info("shared prefixes agree with expanded rows to %.1e", difference)


def smallest_shared(rows: Any, most_rows: int = 64) -> dict[str, list[Any]] | None:
    """Return the smallest pair of trunk and branch in the first rows, as a row of two spans; None when nothing is shared."""
    best: dict[str, list[Any]] | None = None
    for row in (rows[index] for index in range(min(len(rows), most_rows))):
        # A span without a range before it is a trunk; a branch names its trunk by where its range begins.
        trunks = {span[0]: span for span in row["spans"] if span[2] == span[3]}
        for start, stop, first, last in row["spans"]:
            if last <= first:
                continue
            trunk = trunks[first]
            trunk_size = trunk[1] - trunk[0]
            size = trunk_size + stop - start
            if best is not None and size >= len(best["input_ids"]):
                continue
            columns = ("input_ids", "labels", "position_ids")
            cut = {name: row[name][trunk[0] : trunk[1]] + row[name][start:stop] for name in columns}
            best = {**cut, "spans": [[0, trunk_size, 0, 0], [trunk_size, size, 0, last - first]]}
    return best


def expand(row: Mapping[str, list[Any]]) -> list[dict[str, list[Any]]]:
    """Return each span of a row as a row of its own, with the range before it that it attends to."""
    rows = []
    for start, stop, first, last in row["spans"]:
        tokens = {name: row[name][first:last] + row[name][start:stop] for name in ("input_ids", "position_ids")}
        labels = [IGNORED] * (last - first) + row["labels"][start:stop]
        rows.append({**tokens, "labels": labels, "spans": [[0, len(labels), 0, 0]]})
    return rows


def target_losses(model: Any, rows: Sequence[Mapping[str, Any]], device: Any) -> Any:
    """Return the loss of every trained token, in order, float32 (targets,)."""
    import torch

    losses = []
    for row in rows:
        inputs = {name: tensor.to(device) for name, tensor in JoinRows(device.type != "cpu")([row]).items()}
        output = model(**inputs, use_cache=False, fused_lm_head=True)
        losses.append(-output.log_probs[output.label_mask].float())
    return torch.cat(losses)
