"""Lay out the answers of a group as one row: the prompt once as trunk, every answer as a branch of it.

TRL repeats the prompt for each of the G answers of a group and pads all of them to the longest. Here a micro-batch becomes one
row of the shared-prefix attention (pipelines/models/attention.py); the log-probabilities of its answers return to the places
where TRL expects them, so the loss stays TRL's own. Answers belong together when their prompts have the same token ids.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipelines.models.prefix_tree import Branch, Ids, Tree, build_row
from pipelines.models.shared_rows import JoinRows

if TYPE_CHECKING:
    import torch


class GroupRow(NamedTuple):
    """A row for a model, and where its targets belong.

    Args:
        row: as `JoinRows` takes it.
        places: indices into the flattened (answers, tokens) matrix of TRL, one for each target, in the order of the row.
    """

    row: dict[str, list[Any]]
    places: Ids


def group_row(ids: "torch.Tensor", mask: "torch.Tensor", tokens: int) -> GroupRow | None:
    """Return the row of a micro-batch; None when every answer is masked whole.

    Args:
        ids: prompts, padded on the left, and answers, padded on the right, (answers, prompt + tokens).
        mask: 1 where a token counts; an answer that is masked whole has no branch.
        tokens: width of the answers.
    """
    rows, kept = ids.cpu().numpy().astype(np.int32), mask.cpu().numpy().astype(bool)
    groups: dict[bytes, tuple[Ids, list[Branch]]] = {}
    for number, (row, counted) in enumerate(zip(rows, kept, strict=True)):
        prompt = row[:-tokens][counted[:-tokens]]
        answer = row[-tokens:][counted[-tokens:]]
        if len(answer):
            # The last token of the prompt is in every branch: its next token is the first that is trained.
            branch = Branch(len(prompt) - 1, np.concatenate((prompt[-1:], answer)), 1, number)
            groups.setdefault(prompt.tobytes(), (prompt, []))[1].append(branch)
    trees = [Tree(prompt[:-1], tuple(branches)) for prompt, branches in groups.values()]
    if not trees:
        return None
    # build_row puts the last branch behind the trunk, before the others.
    order = [branch for tree in trees for branch in (tree.branches[-1], *tree.branches[:-1])]
    places = [branch.sample * tokens + np.flatnonzero(kept[branch.sample, -tokens:]) for branch in order]
    return GroupRow(build_row(trees)._asdict(), np.concatenate(places))


def group_inputs(row: GroupRow, device: Any) -> dict[str, Any]:
    """Return the arguments of a model with TRL's fused head for one row."""
    batch = JoinRows(device.type != "cpu")([row.row])
    return {name: tensor.to(device) for name, tensor in batch.items()} | {"use_cache": False, "fused_lm_head": True}


def scatter(values: "torch.Tensor", places: Ids, answers: int, tokens: int) -> "torch.Tensor":
    """Return values of the targets as a matrix (answers, tokens), 0 elsewhere."""
    import torch

    flat = values.new_zeros(answers * tokens)
    where = torch.from_numpy(places.astype(np.int64)).to(values.device)
    return flat.index_put((where,), values.reshape(-1)).view(answers, tokens)


def whole_groups(batches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the micro-batches of a batch of answers such that each holds whole groups; `group` has the group of every answer.

    Args:
        batches: as TRL splits them after its shuffle; groups keep the order in which the shuffle shows them first.
    """
    import torch

    groups = torch.cat([batch["group"] for batch in batches])
    first: dict[int, int] = {}
    for group in groups.tolist():
        first.setdefault(group, len(first))
    order = torch.tensor([first[group] for group in groups.tolist()], device=groups.device).argsort(stable=True)
    size = len(groups) // len(batches)
    sorted_batches: list[dict[str, Any]] = [{} for _ in batches]
    for name, value in batches[0].items():
        rows = _in_order([batch[name] for batch in batches], value, order)
        for number, batch in enumerate(sorted_batches):
            batch[name] = rows if rows is value else rows[number * size : (number + 1) * size]
    return sorted_batches


def _in_order(values: Sequence[Any], first: Any, order: "torch.Tensor") -> Any:
    """Return the rows of all batches in this order; a value without rows as it is."""
    import torch

    if isinstance(first, torch.Tensor) and first.ndim:
        return torch.cat(list(values))[order]
    if isinstance(first, list):
        joined = [row for value in values for row in value]
        return [joined[place] for place in order.tolist()]
    return first
