"""Гибридная модель: ResNet50, затем ASPP, затем Transformer."""

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import ResNet50_Weights, resnet50


def init_weights(module):
    """Задать веса новых слоёв нормальным распределением по Хе, смещения — нулями."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class ASPP(nn.Module):
    """Параллельные свёртки 3×3 с разным шагом расширения."""

    def __init__(self, in_channels, out_channels, rates=(6, 12, 18)):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            )
            for rate in rates
        )
        self.project = nn.Sequential(
            nn.Conv2d(out_channels * len(rates), out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.project(torch.cat([branch(x) for branch in self.branches], dim=1))


class SkipAttention(nn.Module):
    """Умножает признаки на обучаемую маску от 0 до 1."""

    def __init__(self, channels):
        super().__init__()
        self.mask = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.mask(x)


class TransformerBlock(nn.Module):
    """Блок Vision Transformer: внимание и MLP, перед каждым LayerNorm."""

    def __init__(self, dim=512, num_heads=8, dropout_prob=0.3):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(
            dim, num_heads, dropout=dropout_prob, batch_first=True
        )
        self.dropout = nn.Dropout(dropout_prob)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, dim * 4),
            nn.GELU(),
            nn.Dropout(dropout_prob),
            nn.Linear(dim * 4, dim),
            nn.Dropout(dropout_prob),
        )

    def forward(self, x):
        y = self.norm1(x)
        attended, _ = self.attention(y, y, y, need_weights=False)
        x = x + self.dropout(attended)
        return x + self.mlp(self.norm2(x))


class HybridModel(nn.Module):
    """ResNet50 с замороженными первыми слоями, ASPP, внимание в обходе и Transformer."""

    def __init__(self, num_classes=5, dropout_prob=0.3, pretrained=False):
        super().__init__()
        weights = ResNet50_Weights.IMAGENET1K_V2 if pretrained else None
        self.backbone = resnet50(
            weights=weights, replace_stride_with_dilation=[False, False, True]
        )
        # Классификатор ImageNet не нужен.
        self.backbone.fc = nn.Identity()
        self.aspp = ASPP(2048, 512)
        self.skip = SkipAttention(512)
        self.blocks = nn.ModuleList(
            TransformerBlock(512, 8, dropout_prob) for _ in range(4)
        )
        self.dropout = nn.Dropout(dropout_prob)
        self.head = nn.Linear(512, num_classes)

        # Веса backbone остаются как есть.
        for part in (self.aspp, self.skip, self.blocks, self.head):
            part.apply(init_weights)
        for layer in self._frozen_layers():
            for parameter in layer.parameters():
                parameter.requires_grad = False
        self.train()

    def _frozen_layers(self):
        """Первые три слоя backbone."""
        net = self.backbone
        return [net.conv1, net.bn1, net.layer1, net.layer2]

    def train(self, mode=True):
        """Включить режим обучения; замороженные слои остаются в eval."""
        super().train(mode)
        for layer in self._frozen_layers():
            layer.eval()
        return self

    def forward(self, x):
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        f2 = net.layer2(net.layer1(x))  # (B, 512, H/8, W/8)
        f4 = net.layer4(net.layer3(f2))  # (B, 2048, H/16, W/16)

        features = self.aspp(f4)
        skipped = F.adaptive_avg_pool2d(self.skip(f2), features.shape[-2:])
        features = features + skipped  # (B, 512, h, w)

        sequence = features.flatten(2).transpose(1, 2)  # (B, h·w, 512)
        for block in self.blocks:
            sequence = block(sequence)
        pooled = sequence.mean(dim=1)  # (B, 512)
        return self.head(self.dropout(pooled))


class SimpleModel(nn.Module):
    """Небольшая свёрточная сеть для быстрых опытов."""

    def __init__(self, num_classes=5, dropout_prob=0.3):
        super().__init__()
        layers = []
        channels = 3
        for width in (32, 64, 128):
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
            channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout_prob)
        self.head = nn.Linear(channels, num_classes)
        self.apply(init_weights)

    def forward(self, x):
        x = self.pool(self.features(x)).flatten(1)
        return self.head(self.dropout(x))


def create_model(model_type="hybrid", num_classes=5, dropout_prob=0.3, pretrained=False):
    """Создать модель по её имени."""
    if model_type == "hybrid":
        return HybridModel(num_classes, dropout_prob, pretrained)
    if model_type == "simple":
        return SimpleModel(num_classes, dropout_prob)
    raise ValueError(f"Неизвестная модель {model_type!r}: есть 'hybrid' и 'simple'")
