"""Atrous spatial pyramid pooling."""

import torch
from torch import nn


class ASPP(nn.Module):
    """Looks at several distances side by side."""

    def __init__(self, in_channels, out_channels, rates=(6, 12, 18)):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(),
            )
            for rate in rates
        )
        self.project = nn.Sequential(
            nn.Conv2d(len(rates) * out_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x):
        """Join all branches."""
        return self.project(torch.cat([branch(x) for branch in self.branches], dim=1))
