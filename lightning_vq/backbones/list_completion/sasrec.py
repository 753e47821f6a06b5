"""SASRec: causal attention over the items so far, each list's next items all learned at once.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, eq. 1-6. As in the authors' code an item's
vector is multiplied by sqrt(D) where it comes in (not where it scores); x is normalized before it makes queries while
keys and values are made of x itself, and what is normalized is what is added to; the heads' outputs are not projected.

    Q = LN(x) W^Q + b^Q,  K = x W^K + b^K,  V = x W^V + b^V,  a = LN(x) + softmax(Q K' / sqrt(D / H)) V
    x <- FFN(LN(a)) + LN(a)

Departures: positions are numbered from a list's first item, where the authors number them back from its last (so that
a list that grows would have to be encoded anew); lists are cut by the data, not here. The paper's loss is the module's
`bce` with one negative.
Shapes: B batch, T items of a list, D dim, H heads.
"""

from torch import Tensor, nn

from lightning_vq.backbones.attention import PointWise, attend, linear, split
from lightning_vq.backbones.causal import CausalAttention, CausalBlock, Kept, longer


class SASRecBlock(CausalBlock):
    """Attention to the items so far, and a network of two layers on each.

    Args:
        dim: width (D).
        heads: of the attention (H).
        dropout: share that is dropped of the attention's weights and of the network's layers.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_norm, self.norm = nn.LayerNorm(dim, eps=1e-8), nn.LayerNorm(dim, eps=1e-8)
        self.queries, self.keys, self.values = (linear(dim, dim) for _ in range(3))
        self.network = PointWise(dim, dropout)

    def forward(self, x: Tensor, past: Kept = (), there: Tensor | None = None) -> tuple[Tensor, Kept]:
        normed = self.query_norm(x)
        kept: Kept = (split(self.keys(x), self.heads), split(self.values(x), self.heads))
        if past:
            kept = longer(past, kept)
        queries, drop = split(self.queries(normed), self.heads), self.dropout if self.training else 0.0
        x = normed + attend(queries, kept[0], kept[1], there, causal=there is None, drop=drop)
        return self.network(self.norm(x)), kept


class SASRec(CausalAttention):
    """Self-attention over the items so far.

    Args:
        dim: width of an item's vector (D).
        layers: blocks.
        heads: of each block's attention; they divide dim.
        dropout: share that is dropped in training of what comes in, of attention's weights and of each layer.
        tied: score by the vectors that come in.
    """

    def __init__(self, dim: int = 64, layers: int = 2, heads: int = 1, dropout: float = 0.2, tied: bool = True) -> None:
        super().__init__(dim, layers, heads, dropout, tied)

    def block(self) -> SASRecBlock:
        return SASRecBlock(self.dim, self.heads, self.dropout)
