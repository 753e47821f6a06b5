"""An encoder that looks both ways over a list, as BERT: blocks of attention, and a head that makes predictions.

Shapes: B batch, T items of a list, D dim, H heads, M chosen positions.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from lightning_vq.backbones.attention import attend, numbered, split
from lightning_vq.backbones.layers import dropped
from lightning_vq.lookup import rows_of


class EncoderBlock(nn.Module):
    """A = LN(x + attention(x)), LN(A + W_2 GELU(W_1 A)), where every item sees all (BERT4Rec eq. 1-4, BERT).

    Args:
        dim: width (D); that of the inner layer is four times as much.
        heads: of the attention (H).
        dropout: share that is dropped of the attention's weights, of its output and of the outer layer's.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.projected = nn.Linear(dim, 3 * dim)  # W^Q, W^K, W^V of all heads
        self.joined = nn.Linear(dim, dim)  # W^O
        self.inner, self.outer = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.attention_norm, self.norm = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x: Tensor, there: Tensor, places: Tensor | None = None) -> Tensor:
        """Return x (B, T, D) after the block, or only at chosen places (M,) of its B T: (M, D).

        Args:
            x: (B, T, D).
            there: (B, T) what may be looked at.
            places: where the output is asked for; None: everywhere.
        """
        queries, keys, values = (split(part, self.heads) for part in self.projected(x).chunk(3, 2))
        context = attend(queries, keys, values, there, drop=self.dropout if self.training else 0.0)
        if places is not None:
            x, context = rows_of(x.flatten(0, 1), places), rows_of(context.flatten(0, 1), places)
        x = self.attention_norm(x + dropped(self.joined(context), self.dropout, self.training))
        return self.norm(x + dropped(self.outer(gelu(self.inner(x))), self.dropout, self.training))


class Encoder(nn.Module):
    """Blocks that look both ways, on vectors of items and positions; then a head, LN(GELU(W h + b)).

    Args:
        dim: width (D).
        layers: how many blocks.
        heads: of each block's attention.
        dropout: share that is dropped of what comes in, and in the blocks.
        positions: places that have a vector of their own.
    """

    def __init__(self, dim: int, layers: int, heads: int, dropout: float, positions: int) -> None:
        super().__init__()
        self.dropout = dropout
        self.positions = nn.Parameter(torch.empty(positions, dim))
        self.input_norm = nn.LayerNorm(dim, eps=1e-12)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, dropout) for _ in range(layers))
        self.transformed, self.output_norm = nn.Linear(dim, dim), nn.LayerNorm(dim, eps=1e-12)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02, a=-0.04, b=0.04)
                nn.init.zeros_(part.bias)
        nn.init.trunc_normal_(self.positions, std=0.02, a=-0.04, b=0.04)

    def forward(self, vectors: Tensor, there: Tensor, places: Tensor) -> Tensor:
        """Return hidden vectors (M, D) at places (M,) of the B T.

        Args:
            vectors: (B, T, D) of items and tokens.
            there: (B, T) which are no padding.
            places: (M,).
        """
        numbers = torch.arange(vectors.shape[1], device=vectors.device)
        x = self.input_norm(vectors + numbered(self.positions, numbers))
        x = dropped(x, self.dropout, self.training)
        seen = there | (numbers == 0)  # a list of nothing looks at nothing, and would come out as NaN
        for block in self.blocks[:-1]:
            x = block(x, seen)
        x = self.blocks[-1](x, seen, places)
        return self.output_norm(gelu(self.transformed(x)))
