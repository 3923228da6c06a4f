"""Focal loss."""

import torch
from torch import nn
from torch.nn import functional as F


class FocalLoss(nn.Module):
    """Weighs what is hard."""

    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, targets):
        """Return the mean over the batch."""
        ce = F.cross_entropy(logits, targets, reduction="none")
        return ((1 - torch.exp(-ce)) ** self.gamma * ce).mean()
