"""Building blocks of the networks for texts: self-attention, and the encoder layer around it.

BERT's encoder (Devlin et al., 2019, section 3; Vaswani et al., 2017, section 3). Every step is a
module, so that the table of shapes in the evidence pack shows the whole data flow.
"""

import math

from torch import Tensor, nn

_EXPANSION = 4  # hidden width of the feed-forward part, over the width of the layer
_MASKED_SCORE = -1e9  # the score of padding: softmax gives it a weight of 0


class Attention(nn.Module):
    """Multi-head self-attention: softmax of query times key weighs the values of all tokens."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(width / heads)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.to_heads = nn.Unflatten(-1, (heads, width // heads))
        self.weights = nn.Softmax(dim=-1)
        self.dropout = nn.Dropout(dropout)
        self.from_heads = nn.Flatten(-2)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, tokens, width).

        Args:
            states: (batch, tokens, width).
            mask: (batch, 1, 1, tokens), bool, False at padding.
        """
        query, key, value = (
            self.to_heads(projection(states)).transpose(
                1, 2
            )  # (batch, heads, tokens, width / heads)
            for projection in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) * self.scale  # (batch, heads, tokens, tokens)
        weights = self.dropout(self.weights(scores.masked_fill(~mask, _MASKED_SCORE)))
        mixed: Tensor = self.output(self.from_heads((weights @ value).transpose(1, 2)))
        return mixed


class EncoderLayer(nn.Module):
    """Self-attention, then a feed-forward part for each token; a residual and a norm around both."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.widen = nn.Linear(width, _EXPANSION * width)
        self.gelu = nn.GELU()
        self.narrow = nn.Linear(_EXPANSION * width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return (batch, tokens, width); arguments as for `Attention`."""
        states = self.norm1(states + self.dropout(self.attention(states, mask)))
        change = self.narrow(self.gelu(self.widen(states)))
        result: Tensor = self.norm2(states + self.dropout(change))
        return result
