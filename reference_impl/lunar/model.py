"""The hybrid: a ResNet-50 sees texture, a transformer sees the whole window, gates join the two.

    image B×3×H×W, 0–1
      └ stem, layer1, layer2   frozen                     B×512×H/8×W/8  ────────┐
          └ layer3             trained                    B×1024×H/16×W/16 ──┐   │
              └ layer4         trained                    B×2048×h×w         │   │
                  └ ASPP       dilations 6, 12, 18        B×512×h×w          │   │
                      └ 4 transformer blocks, dim 512     B×512×h×w          │   │
                          └ gate and fuse                 B×512×H/16×W/16 ◄──┘   │
                              └ gate and fuse             B×512×H/8×W/8   ◄──────┘
                                  └ 4×4 means, head       B×classes (logits)

h×w is H/16×W/16 at output stride 16 (the default) and H/32×W/32 at 32.

Sources: ResNet (He et al. 2016, arXiv:1512.03385), ASPP (Chen et al. 2017, arXiv:1706.05587),
transformer (Dosovitskiy et al. 2021, arXiv:2010.11929), attention gates (Oktay et al. 2018,
arXiv:1804.03999), He initialisation (He et al. 2015, arXiv:1502.01852).
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from reference_impl.lunar.backbone import FROZEN_STAGES, Backbone

DIM = 512
"""Width of everything behind the backbone."""
ASPP_RATES = (6, 12, 18)
BLOCKS = 4
HEADS = 8
PLACES = 4
"""Rows and columns of the means that the head sees: a crater is one by where its rim is."""


def create_model(
    model_type: Literal["hybrid", "simple"] = "hybrid",
    num_classes: int = 5,
    dropout_prob: float = 0.3,
    pretrained: bool = False,
    *,
    frozen_stages: int = FROZEN_STAGES,
    output_stride: Literal[16, 32] = 16,
    use_gates: bool = True,
    use_transformer: bool = True,
    use_high_pass: bool = True,
) -> nn.Module:
    """Return an untrained classifier that maps B×3×H×W in 0–1 to logits B×num_classes.

    Args:
        model_type: `hybrid`, or `simple`: a small CNN that trains in minutes on a CPU.
        num_classes: at least 2.
        dropout_prob: 0 to 1; of the hybrid also within transformer and ASPP.
        pretrained: load torchvision's ImageNet weights into the backbone (downloads 98 MB).
        frozen_stages: how many of stem, layer1 … layer4 are frozen.
        output_stride: pixels per cell of the transformer's map.
        use_gates: gate the skip connections; False adds them as they are (for ablations).
        use_transformer: False leaves the blocks out (for ablations).
        use_high_pass: False shows the plain image in all three channels (for ablations).

    Raises:
        ValueError: an argument is out of range.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2")
    if not 0 <= dropout_prob < 1:
        raise ValueError(f"dropout_prob is {dropout_prob}; it must be in [0, 1)")
    if model_type not in ("hybrid", "simple"):
        raise ValueError(f"there is no model_type {model_type!r}; there is hybrid and simple")
    model = (
        SimpleCNN(num_classes, dropout_prob)
        if model_type == "simple"
        else Hybrid(
            num_classes,
            dropout_prob,
            pretrained=pretrained,
            frozen_stages=frozen_stages,
            output_stride=output_stride,
            use_gates=use_gates,
            use_transformer=use_transformer,
        )
    )
    if not use_high_pass:
        model.register_forward_pre_hook(_plain_thrice)
    return model


def _plain_thrice(_model: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Put the image, B×3×H×W's first channel, in the place of its high-pass views."""
    return (inputs[0][:, :1].expand_as(inputs[0]),)


class Hybrid(nn.Module):
    """The classifier of the head of this file.

    Any H and W that are multiples of 32 will do, and in eval mode any batch from 1 on.
    """

    def __init__(
        self,
        num_classes: int,
        dropout_prob: float,
        *,
        pretrained: bool = False,
        frozen_stages: int = FROZEN_STAGES,
        output_stride: Literal[16, 32] = 16,
        use_gates: bool = True,
        use_transformer: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(
            pretrained=pretrained, frozen_stages=frozen_stages, output_stride=output_stride
        )
        self.aspp = ASPP(2048, DIM, ASPP_RATES, dropout_prob)
        self.transformer = Transformer(BLOCKS if use_transformer else 0, dropout_prob)
        self.join3 = Join(1024, gated=use_gates)
        self.join2 = Join(512, gated=use_gates)
        self.places = nn.Sequential(nn.AdaptiveAvgPool2d(PLACES), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(dropout_prob), nn.Linear(DIM * PLACES**2, num_classes))
        for new in (self.aspp, self.transformer, self.join3, self.join2, self.head):
            init_he(new)

    def forward(self, images: Tensor) -> Tensor:
        """Map B×3×H×W in 0–1 to logits B×classes."""
        half, quarter, deep = self.backbone(images)  # layer2, layer3, layer4
        tokens = self.transformer(self.aspp(deep))  # B×512×h×w
        joined = self.join3(quarter, tokens)  # B×512×H/16×W/16
        joined = self.join2(half, joined)  # B×512×H/8×W/8
        return self.head(self.places(joined))  # type: ignore[no-any-return]  # B×8192 → B×classes


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: one look at five reaches, from a point to the whole map.

    On a map smaller than a dilation a 3×3 kernel sees little but padding: at 256 px and stride
    32 (8×8 cells), the rates 12 and 18 act as 1×1 convolutions. Stride 16 helps.
    """

    def __init__(self, inputs: int, outputs: int, rates: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        width = outputs // 2
        self.point = conv_bn(inputs, width, kernel=1)
        self.dilated = nn.ModuleList(
            conv_bn(inputs, width, kernel=3, dilation=rate) for rate in rates
        )
        # No batch norm here: the pooled map has one value per channel, too few for statistics.
        self.pooled = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, width, kernel_size=1), nn.ReLU()
        )
        self.project = nn.Sequential(
            conv_bn(width * (len(rates) + 2), outputs, kernel=1), nn.Dropout(dropout)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map B×inputs×h×w to B×outputs×h×w."""
        size = features.shape[-2:]
        pooled = self.pooled(features).expand(-1, -1, *size)  # B×width×1×1 → B×width×h×w
        views = [self.point(features), *(look(features) for look in self.dilated), pooled]
        return self.project(torch.cat(views, dim=1))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Pre-norm encoder blocks over the cells of a map, which know where they are."""

    def __init__(self, blocks: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                DIM, HEADS, 4 * DIM, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(DIM)
        self.saves_memory = False
        """Recompute each block in the backward pass instead of keeping what is inside it."""

    def forward(self, features: Tensor) -> Tensor:
        """Map B×512×h×w to the same shape."""
        height, width = features.shape[-2:]
        tokens = features.flatten(2).transpose(1, 2)  # B×512×h×w → B×hw×512
        tokens = tokens + positions(height, width, DIM).to(tokens)
        for block in self.blocks:
            if self.saves_memory and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed.transpose(1, 2).reshape(-1, DIM, height, width)  # B×hw×512 → B×512×h×w


class Join(nn.Module):
    """A skip connection with attention: earlier features pass a learned mask before they join."""

    def __init__(self, channels: int, *, gated: bool) -> None:
        super().__init__()
        self.skip = conv_bn(channels, DIM, kernel=1)
        self.gate = AttentionGate(DIM) if gated else None
        self.fuse = conv_bn(DIM, DIM, kernel=1)  # both sides have looked around already

    def forward(self, earlier: Tensor, deeper: Tensor) -> Tensor:
        """Map B×channels×H×W and B×512×h×w to B×512×H×W."""
        size = earlier.shape[-2:]
        deeper = functional.interpolate(deeper, size=size, mode="bilinear", align_corners=False)
        earlier = self.skip(earlier)  # B×channels×H×W → B×512×H×W
        if self.gate is not None:
            earlier = self.gate(earlier, deeper)
        return self.fuse(earlier + deeper)  # type: ignore[no-any-return]


class AttentionGate(nn.Module):
    """Weighs each place of a map by what the deeper map makes of it (Oktay et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.of_skip = nn.Conv2d(channels, inner, kernel_size=1)
        self.of_deeper = nn.Conv2d(channels, inner, kernel_size=1)
        self.mask = nn.Conv2d(inner, 1, kernel_size=1)

    def forward(self, skip: Tensor, deeper: Tensor) -> Tensor:
        """Return `skip` (B×C×H×W) times a mask B×1×H×W in 0–1; `deeper` has its shape."""
        agreed = torch.relu(self.of_skip(skip) + self.of_deeper(deeper))
        return skip * torch.sigmoid(self.mask(agreed))


class SimpleCNN(nn.Module):
    """Five blocks of convolutions: the small model to compare with (1.3 M parameters)."""

    def __init__(self, num_classes: int, dropout_prob: float) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256, 384)
        blocks: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            blocks += [conv_bn(inputs, outputs, kernel=3), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Dropout(dropout_prob), nn.Linear(widths[-1], num_classes))
        init_he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map B×3×H×W in 0–1 to logits B×classes."""
        features = self.features((images - 0.5) / 0.25)  # B×384×H/32×W/32
        return self.head(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def conv_bn(inputs: int, outputs: int, *, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size, batch norm with learnable parameters, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def positions(height: int, width: int, dim: int) -> Tensor:
    """Return sines and cosines of row and column as 1×(height·width)×dim, for any map size."""
    count = dim // 4
    rates = torch.exp(torch.arange(count) * (-math.log(10_000) / count))
    rows = torch.arange(height)[:, None] * rates  # height×count
    columns = torch.arange(width)[:, None] * rates  # width×count
    rows = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(-1, width, -1)
    columns = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)[None]  # 1×hw×dim


def init_he(module: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers from He's normal distribution."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.MultiheadAttention):
            assert part.in_proj_weight is not None
            nn.init.kaiming_normal_(part.in_proj_weight, mode="fan_in", nonlinearity="relu")
