"""The gate of the skip connection."""

from torch import nn


class SkipAttention(nn.Module):
    """Multiplies by a learned mask."""

    def __init__(self, channels):
        super().__init__()
        self.mask = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.Sigmoid())

    def forward(self, x):
        """Let through what the mask lets through."""
        return x * self.mask(x)
