"""The hybrid of convolutions and attention."""

from block import TransformerBlock
from gate import SkipAttention
from pyramid import ASPP
from simple import SimpleModel
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from trunk import features, keep_frozen, make_trunk
from weights import init_weights


class HybridModel(nn.Module):
    """ResNet-50, ASPP, four blocks."""

    def __init__(self, num_classes=5, dropout_prob=0.3, pretrained=False):
        super().__init__()
        self.backbone = make_trunk(pretrained)
        self.aspp = ASPP(2048, 512)
        self.skip = SkipAttention(512)
        self.blocks = nn.ModuleList(TransformerBlock(512, 8, dropout_prob) for _ in range(4))
        self.dropout = nn.Dropout(dropout_prob)
        self.head = nn.Linear(512, num_classes)
        for part in (self.aspp, self.skip, self.blocks, self.head):
            init_weights(part)

    def train(self, mode=True):
        """Train what is not frozen."""
        super().train(mode)
        keep_frozen(self.backbone)
        return self

    def forward(self, x):
        """Return logits."""
        f2, f4 = features(self.backbone, x)
        y = self.aspp(f4)
        y = y + adaptive_avg_pool2d(self.skip(f2), y.shape[-2:])
        tokens = y.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.dropout(tokens.mean(dim=1)))


def create_model(model_type="hybrid", num_classes=5, dropout_prob=0.3, pretrained=False):
    """Make a model by its name."""
    if model_type == "hybrid":
        return HybridModel(num_classes, dropout_prob, pretrained)
    if model_type == "simple":
        return SimpleModel(num_classes, dropout_prob)
    raise ValueError(f"no model {model_type}")
