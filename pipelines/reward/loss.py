"""Bradley-Terry loss with margins, weights, soft labels and centring (Bradley and Terry 1952)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def bradley_terry_loss(
    chosen: "torch.Tensor",
    rejected: "torch.Tensor",
    *,
    margin: "torch.Tensor",
    weight: "torch.Tensor",
    label: "torch.Tensor",
    centring: float = 0.0,
) -> "torch.Tensor":
    """Return the mean loss of a batch; all tensors have shape (pairs,).

    With label p the loss of a pair is -p log sigma(d - m) - (1 - p) log sigma(-d - m), where d is the difference of scores: the
    same when candidates are swapped and p becomes 1 - p. With p = 1 and weight 1 it is that of TRL 1.16's RewardTrainer, which
    has neither weights nor soft labels.

    Args:
        chosen: scores of the chosen candidates; `rejected` of the rejected ones.
        margin: difference of scores that is wanted, at least 0.
        weight: factor of each pair's loss, with mean 1 over all training pairs.
        label: probability that the chosen candidate is the better one.
        centring: coefficient of the mean squared sum of both scores.
    """
    from torch.nn.functional import logsigmoid

    difference = chosen - rejected
    losses = -label * logsigmoid(difference - margin) - (1 - label) * logsigmoid(-difference - margin)
    return (weight * losses).mean() + centring * ((chosen + rejected) ** 2).mean()
