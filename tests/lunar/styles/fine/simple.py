"""A small network."""

from torch import nn


class SimpleModel(nn.Module):
    """Three convolutions."""

    def __init__(self, num_classes=5, dropout_prob=0.3):
        super().__init__()
        layers = []
        for before, after in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout_prob)
        self.head = nn.Linear(128, num_classes)

    def forward(self, x):
        """Return logits."""
        return self.head(self.dropout(self.pool(self.features(x)).flatten(1)))
