"""CraterNet: a residual trunk, pyramid pooling and a Transformer encoder over its map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import ResNet50_Weights, resnet50


@dataclass(frozen=True)
class CraterNetConfig:
    """The proportions of a CraterNet."""

    num_classes: int = 5
    dropout_prob: float = 0.3
    pretrained: bool = False
    width: int = 512
    depth: int = 4
    heads: int = 8
    rates: tuple[int, ...] = (6, 12, 18)


def initialise(parts: Iterable[nn.Module]) -> None:
    """Draw the weights of new layers from He's normal distribution; biases start at 0."""
    for layer in (layer for part in parts for layer in part.modules()):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.MultiheadAttention):
            # The projections of query, key and value are linear layers in one matrix.
            nn.init.kaiming_normal_(layer.in_proj_weight, nonlinearity="relu")
            nn.init.zeros_(layer.in_proj_bias)
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)


class ConvUnit(nn.Module):
    """A convolution that keeps the size of the map, batch normalisation, and perhaps ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, rate: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        padding = rate * (kernel - 1) // 2
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, padding=padding, dilation=rate, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return torch.relu(x) if self.active else x


class ImagePooling(nn.Module):
    """What the whole image looks like, told to every position."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        summary = self.conv(x.mean(dim=(2, 3), keepdim=True))
        # Spread before the normalisation, which needs more than one value in a batch of one.
        return torch.relu(self.norm(summary.expand(-1, -1, *x.shape[2:])))


class PyramidPooling(nn.Module):
    """Dilated convolutions side by side, and an image-level branch beside them."""

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = nn.ModuleList([ConvUnit(inputs, outputs, 3, rate) for rate in rates])
        self.levels.append(ImagePooling(inputs, outputs))
        self.fuse = ConvUnit(outputs * len(self.levels), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(torch.cat([level(x) for level in self.levels], dim=1))


class AdditiveGate(nn.Module):
    """Lets through of the earlier features what the deeper ones call relevant."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.of_earlier = ConvUnit(channels, hidden, 1, active=False)
        self.of_deeper = ConvUnit(channels, hidden, 1, active=False)
        self.to_mask = ConvUnit(hidden, 1, 1, active=False)

    def forward(self, earlier: Tensor, deeper: Tensor) -> Tensor:
        context = F.interpolate(self.of_deeper(deeper), size=earlier.shape[2:], mode="nearest")
        mask = torch.sigmoid(self.to_mask(torch.relu(self.of_earlier(earlier) + context)))
        return earlier * mask  # the mask is (B, 1, H/8, W/8)


class CraterNet(nn.Module):
    """The hybrid classifier: (B, 3, H, W) in, logits (B, num_classes) out."""

    def __init__(self, config: CraterNetConfig) -> None:
        super().__init__()
        self.config = config
        weights = ResNet50_Weights.IMAGENET1K_V1 if config.pretrained else None
        trunk = resnet50(weights=weights, replace_stride_with_dilation=[False, False, True])
        self.stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.stage1, self.stage2 = trunk.layer1, trunk.layer2
        self.stage3, self.stage4 = trunk.layer3, trunk.layer4
        self.pyramid = PyramidPooling(2048, config.width, config.rates)
        self.gate = AdditiveGate(config.width, config.width // 2)
        self.encoder = nn.ModuleList([self._encoder_layer() for _ in range(config.depth)])
        self.classifier = nn.Sequential(
            nn.Dropout(config.dropout_prob), nn.Linear(config.width, config.num_classes)
        )
        initialise([self.pyramid, self.gate, self.encoder, self.classifier])
        self._freeze()

    def _encoder_layer(self) -> nn.TransformerEncoderLayer:
        return nn.TransformerEncoderLayer(
            d_model=self.config.width,
            nhead=self.config.heads,
            dim_feedforward=4 * self.config.width,
            dropout=self.config.dropout_prob,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        return self.stem, self.stage1, self.stage2

    def _freeze(self) -> None:
        for part in self.frozen_parts:
            part.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> CraterNet:
        """Switch the mode of everything but the frozen parts, whose statistics must not move."""
        super().train(mode)
        for part in self.frozen_parts:
            part.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        early = self.stage2(self.stage1(self.stem(images)))
        deep = self.pyramid(self.stage4(self.stage3(early)))
        gated = self.gate(early, deep)
        joined = deep + F.adaptive_avg_pool2d(gated, deep.shape[2:])
        tokens = joined.flatten(start_dim=2).permute(0, 2, 1)  # (B, h*w, width)
        for layer in self.encoder:
            tokens = layer(tokens)
        return self.classifier(tokens.mean(dim=1))


class PebbleNet(nn.Module):
    """A small convolutional classifier, for tests and slow machines."""

    def __init__(self, num_classes: int, dropout_prob: float) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            ConvUnit(inputs, outputs, 3) for inputs, outputs in ((3, 32), (32, 64), (64, 128))
        )
        self.dropout = nn.Dropout(dropout_prob)
        self.classifier = nn.Linear(128, num_classes)
        initialise([self])

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for unit in (self.first, self.second, self.third):
            x = F.max_pool2d(unit(x), 2)
        return self.classifier(self.dropout(x.mean(dim=(2, 3))))


def create_model(
    model_type: str = "hybrid",
    num_classes: int = 5,
    dropout_prob: float = 0.3,
    pretrained: bool = False,
) -> nn.Module:
    """Build the model of that name; pretrained concerns the hybrid's trunk only."""
    match model_type:
        case "hybrid":
            return CraterNet(CraterNetConfig(num_classes, dropout_prob, pretrained))
        case "simple":
            return PebbleNet(num_classes, dropout_prob)
        case _:
            raise ValueError(f"model_type is {model_type!r}, expected 'hybrid' or 'simple'")
