"""Focal loss: easy examples count less, so that rare and hard ones are learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def focal_loss(
    logits: Tensor, labels: Tensor, gamma: float = 2.0, weight: Tensor | None = None
) -> Tensor:
    """Return the mean of (1 − p)^γ · (−log p), p being the true class's probability.

    Lin et al. 2017 (arXiv:1708.02002), for several classes. Finite for extreme logits; γ = 0
    is cross-entropy. Computed in float32, whatever the autocast.

    Args:
        logits: B×C.
        labels: B, int64.
        gamma: at least 0.
        weight: C, a factor per class; the mean is over the batch, not over the weights.
    """
    log_p = functional.log_softmax(logits.float(), dim=1)  # B×C
    log_true = log_p.gather(1, labels[:, None]).squeeze(1)  # B×C → B
    missing = -torch.expm1(log_true)  # 1 − p without losing digits near p = 1
    # The gradient of x^γ at 0 is infinite for γ < 1.
    focus = missing.clamp(min=torch.finfo(torch.float32).tiny) ** gamma
    losses = focus * -log_true
    if weight is not None:
        losses = losses * weight.to(losses)[labels]
    return losses.mean()


class FocalLoss(nn.Module):
    """`focal_loss` as a module."""

    def __init__(self, gamma: float = 2.0, weight: Tensor | None = None) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}; it must be at least 0")
        self.gamma = gamma
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits B×C and labels B, a scalar."""
        weight = self.weight if isinstance(self.weight, Tensor) else None
        return focal_loss(logits, labels, self.gamma, weight)
