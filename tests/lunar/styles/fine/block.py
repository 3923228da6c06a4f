"""One block of a Vision Transformer."""

from torch import nn


class TransformerBlock(nn.Module):
    """Self-attention and MLP."""

    def __init__(self, dim=512, num_heads=8, dropout_prob=0.3):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout_prob, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout_prob),
            nn.Linear(2 * dim, dim), nn.Dropout(dropout_prob),
        )

    def forward(self, x):
        """Attend, then think."""
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))
