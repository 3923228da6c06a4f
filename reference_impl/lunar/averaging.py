"""Two means that steady a model trained on few images: over its steps, and over mirrored views."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
"""Dimensions of B×3×H×W to turn around, for an image and its three mirrorings."""


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a running mean of a model's weights and statistics (Polyak and Juditsky 1992).

    Early on the mean is over fewer steps than `decay` says, for the first weights are random.

    Args:
        model: what is trained; call `update_parameters` with it after each step.
        decay: in (0, 1); the mean is over about 1 / (1 − decay) steps.

    Raises:
        ValueError: `decay` is out of range.
    """
    if not 0 < decay < 1:
        raise ValueError(f"the decay of the average is {decay}; it must be between 0 and 1")

    def mix(means: Sequence[Tensor], values: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - kept)
            else:
                mean.copy_(value)

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(mix), use_buffers=True)


class Mirrored(nn.Module):
    """A classifier that sees an image and its three mirrorings, and says what they mean together.

    Training draws from the same four views, so none of them is new to the model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Map B×3×H×W to the logarithm of the mean probabilities, B×classes."""
        views = [self.model(images.flip(flip)).float().log_softmax(1) for flip in FLIPS]
        return torch.stack(views).logsumexp(0) - torch.log(torch.tensor(float(len(FLIPS))))
