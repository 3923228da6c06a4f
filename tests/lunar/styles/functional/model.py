"""Модель из готовых слоёв и функций: ResNet50 → ASPP → обход с маской → Transformer → logits."""

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet50

DIM = 512
HEADS = 8
BLOCKS = 4
RATES = (6, 12, 18)


def he_init(module):
    """Нормальная инициализация Хе для свёрток и линейных слоёв, смещения равны 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0.0)
    return module


def conv_bn(inputs, outputs, kernel, dilation=1):
    """Свёртка, не меняющая размера карты, и BatchNorm."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation),
        nn.BatchNorm2d(outputs),
    )


def make_aspp(inputs, outputs):
    """Слои ASPP: по ветви на каждое расширение и сводящая свёртка 1×1."""
    branches = [conv_bn(inputs, outputs, 3, rate) for rate in RATES]
    return nn.ModuleDict(
        {
            "branches": nn.ModuleList(branches),
            "merge": conv_bn(outputs * len(RATES), outputs, 1),
        }
    )


def apply_aspp(layers, x):
    """Все ветви видят один и тот же вход."""
    seen = [F.relu(branch(x)) for branch in layers["branches"]]
    return F.relu(layers["merge"](torch.cat(seen, dim=1)))


def make_block(dim):
    """Слои одного блока Vision Transformer."""
    return nn.ModuleDict(
        {
            "norm1": nn.LayerNorm(dim),
            "qkv": nn.Linear(dim, 3 * dim),
            "out": nn.Linear(dim, dim),
            "norm2": nn.LayerNorm(dim),
            "wide": nn.Linear(dim, 4 * dim),
            "narrow": nn.Linear(4 * dim, dim),
        }
    )


def self_attention(layers, x, dropout, training):
    """Внимание с несколькими головами по позициям карты: (B, N, D) → (B, N, D)."""
    batch, length, dim = x.shape
    qkv = layers["qkv"](x).reshape(batch, length, 3, HEADS, dim // HEADS)
    query, key, value = qkv.unbind(dim=2)  # каждый (B, N, голова, d)
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * (dim // HEADS) ** -0.5
    weights = F.dropout(scores.softmax(dim=-1), dropout, training)
    mixed = torch.einsum("bhqk,bkhd->bqhd", weights, value)
    return layers["out"](mixed.reshape(batch, length, dim))


def apply_block(layers, x, dropout, training):
    """x + внимание(LayerNorm(x)), затем x + MLP(LayerNorm(x))."""
    attended = self_attention(layers, layers["norm1"](x), dropout, training)
    x = x + F.dropout(attended, dropout, training)
    hidden = F.gelu(layers["wide"](layers["norm2"](x)))
    hidden = layers["narrow"](F.dropout(hidden, dropout, training))
    return x + F.dropout(hidden, dropout, training)


class HybridModel(nn.Module):
    """Хранит слои; сами вычисления описаны функциями выше."""

    def __init__(self, num_classes=5, dropout_prob=0.3, pretrained=False):
        super().__init__()
        self.dropout_prob = dropout_prob
        self.backbone = resnet50(
            weights="DEFAULT" if pretrained else None,
            replace_stride_with_dilation=[False, False, True],
        )
        del self.backbone.fc, self.backbone.avgpool  # своя голова ниже
        self.aspp = he_init(make_aspp(2048, DIM))
        self.skip = he_init(conv_bn(512, DIM, 1))
        self.blocks = nn.ModuleList(he_init(make_block(DIM)) for _ in range(BLOCKS))
        self.head = he_init(nn.Linear(DIM, num_classes))
        for layer in self.frozen():
            layer.requires_grad_(False)
            layer.eval()

    def frozen(self):
        """Три первых слоя ResNet50."""
        body = self.backbone
        return (body.conv1, body.bn1, body.layer1, body.layer2)

    def train(self, mode=True):
        super().train(mode)
        for layer in self.frozen():
            layer.eval()  # статистики BatchNorm стоят на месте
        return self

    def forward(self, x):
        body = self.backbone
        with torch.no_grad():  # здесь учить нечего
            x = F.relu(body.bn1(body.conv1(x)))
            x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
            f2 = body.layer2(body.layer1(x))
        f4 = body.layer4(body.layer3(f2))
        x = apply_aspp(self.aspp, f4)  # (B, D, h, w)
        gated = f2 * torch.sigmoid(self.skip(f2))
        x = x + F.adaptive_avg_pool2d(gated, x.shape[2:])
        x = torch.einsum("bdhw->bhwd", x).flatten(1, 2)  # (B, h·w, D)
        for block in self.blocks:
            x = apply_block(block, x, self.dropout_prob, self.training)
        x = F.dropout(x.mean(dim=1), self.dropout_prob, self.training)
        return self.head(x)


def make_simple(num_classes, dropout_prob):
    """Малая сеть: три свёртки с BatchNorm и уменьшением вдвое."""
    layers, channels = [], 3
    for width in (32, 64, 128):
        layers += [*conv_bn(channels, width, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers += [nn.Dropout(dropout_prob), nn.Linear(channels, num_classes)]
    return he_init(nn.Sequential(*layers))


def create_model(model_type="hybrid", num_classes=5, dropout_prob=0.3, pretrained=False):
    """Вернуть модель 'hybrid' или 'simple'."""
    if model_type == "hybrid":
        return HybridModel(num_classes, dropout_prob, pretrained)
    if model_type == "simple":
        return make_simple(num_classes, dropout_prob)
    raise ValueError(f"model_type = {model_type!r}, а бывает только 'hybrid' или 'simple'")
