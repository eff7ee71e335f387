"""The optimiser with which the convolutional network needs the fewest passes."""

from __future__ import annotations

import torch
from torch import nn

#: Fifth-order Newton-Schulz iteration: three numbers that bring all singular values near 1 in five rounds.
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(matrix: torch.Tensor, rounds: int = 5) -> torch.Tensor:
    """The matrix of equal directions whose singular values are all about 1 (0.7 to 1.2), shape kept."""
    a, b, c = _NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(torch.optim.AdamW):
    """Muon for the weights of all layers but the first and the last, AdamW for the rest.

    AdamW scales the step of each weight by itself. Muon takes a layer's weights as one matrix, a row for each filter or
    unit, and makes the step orthogonal: the weak directions of the gradient move the layer as much as the strong ones
    (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/). ``torch.optim.Muon`` takes matrices only, no
    convolutions. A step is as large as one of AdamW would be (Liu et al. 2025, https://arxiv.org/abs/2502.16982).

    Parameters
    ----------
    model : nn.Module
    lr : float
        Of Muon; AdamW's is a fifth of it.
    """

    def __init__(self, model: nn.Module, lr: float, weight_decay: float, momentum: float = 0.95):
        matrices = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim > 1][1:-1]
        inner = {id(weight) for weight in matrices}
        others = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in inner]
        groups = [{"params": matrices, "momentum": momentum}, {"params": others, "lr": lr / 5}]
        super().__init__(groups, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        muon, adamw = groups = self.param_groups
        try:
            self.param_groups = [adamw]
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for weight in muon["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:  # AdamW wants to find a "step" in every state that it loads
                state.update(step=torch.tensor(0.0), average=torch.zeros_like(weight))
            state["average"].lerp_(weight.grad, 1 - muon["momentum"])
            change = orthogonal(weight.grad.lerp(state["average"], muon["momentum"]).flatten(1)).view_as(weight)
            size = 0.2 * max(weight.shape[0], weight[0].numel()) ** 0.5
            weight.mul_(1 - muon["lr"] * muon["weight_decay"]).sub_(change, alpha=muon["lr"] * size)
        return loss
