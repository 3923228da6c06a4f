"""The part of the model that is torchvision's: a ResNet-50 whose first stages stay as they are."""

from __future__ import annotations

import logging
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50

log = logging.getLogger(__name__)

FROZEN_STAGES = 3
"""Stem, layer1 and layer2: three of the five units that torchvision freezes by."""


class Backbone(nn.Module):
    """ResNet-50 up to layer4, its first stages frozen: no gradient, and statistics that stay."""

    def __init__(
        self, *, pretrained: bool, frozen_stages: int, output_stride: Literal[16, 32]
    ) -> None:
        super().__init__()
        weights = ResNet50_Weights.IMAGENET1K_V2 if pretrained else None
        net = resnet50(
            weights=weights, replace_stride_with_dilation=[False, False, output_stride == 16]
        )
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)  # B×64×H/4×W/4
        self.layer1, self.layer2 = net.layer1, net.layer2  # B×256×H/4×W/4, B×512×H/8×W/8
        self.layer3, self.layer4 = net.layer3, net.layer4
        if not 0 <= frozen_stages <= 5:
            raise ValueError(f"frozen_stages is {frozen_stages}; there are 0 to 5")
        self.frozen = list(self.stages())[:frozen_stages]
        for stage in self.frozen:
            stage.requires_grad_(False).eval()
        self._random = not pretrained
        self.register_load_state_dict_post_hook(_note_weights)  # type: ignore[no-untyped-call]

    def stages(self) -> tuple[nn.Module, ...]:
        """Return the five units in the order of the data."""
        return (self.stem, self.layer1, self.layer2, self.layer3, self.layer4)

    @staticmethod
    def centred(images: Tensor) -> Tensor:
        """Bring 0–1 to about what ImageNet's normalisation gives."""
        return (images - 0.5) / 0.25

    def train(self, mode: bool = True) -> Self:
        """Change the mode; frozen stages stay in eval mode, or their statistics would move.

        A training that begins with frozen random weights is warned of.
        """
        if mode and self.frozen and self._random:
            self._random = False  # to say so once is enough
            log.warning(
                "the first %d stages of the backbone are frozen and hold random weights; "
                "load a trained trunk, or use pretrained weights, for a better result",
                len(self.frozen),
            )
        super().train(mode)
        for stage in self.frozen:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs of layer2, layer3 and layer4."""
        features, outputs = self.centred(images), []
        for number, stage in enumerate(self.stages()):
            if number < len(self.frozen):
                with torch.no_grad():  # nothing behind it needs a gradient
                    features = stage(features)
            else:
                features = stage(features)
            outputs.append(features)
        return outputs[2], outputs[3], outputs[4]


def _note_weights(backbone: Backbone, _keys: object) -> None:
    backbone._random = False
