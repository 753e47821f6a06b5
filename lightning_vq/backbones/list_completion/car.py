"""CAR: what the list now is about, what it is about as a whole, and its last item, weighed by how consistent it is.

He et al., "Consistency-Aware Recommendation for User-Generated Item List Continuation", WSDM 2020, as in the authors'
code. With x the items so far, causal attention without a residual and with x itself as values:

    c = attention(Q = LN(x) W^Q + b^Q, K = x W^K + b^K)      current preference priority
    g = attention(Q = a learned vector, K = x W^G + b^G)     general preference
    r = attention(Q = a learned vector, K = x W^R + b^R)     the list
    w = softmax(W [r, |x - mean of the items so far|] + b)   gate
    m = w_1 c + w_2 g + w_3 LN(x) + sqrt(D) u,  x <- FFN(LN(m)) + LN(m)

with the vector u of who made the list, where that is known and asked for; in training dropout acts on it.

What comes in and the tied output are SASRec's, as in that code; see sasrec.py, also for how positions are numbered.

Departures: no penalty on the learned vectors beside weight decay. The paper's BPR with one negative for each item is
the module's `sampled_softmax` with one.
Shapes: B batch, T items of a list, K items kept, D dim, H heads.
"""

import torch
from torch import Tensor, nn

from lightning_vq.backbones.attention import PointWise, attend, linear, split
from lightning_vq.backbones.causal import CausalAttention, CausalBlock, Kept, longer
from lightning_vq.backbones.layers import dropped
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.types import CREATOR, Facts, TableSpec


def _query(dim: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(dim).uniform_(-1, 1) * (3 / dim) ** 0.5)


class CARBlock(CausalBlock):
    """Two kinds of preference and the item itself through a gate, and a network of two layers on each.

    Args:
        dim: width (D).
        heads: of the attentions (H).
        dropout: share that is dropped of the attentions' weights, of what the gate sees and of the network's layers.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_norm, self.norm = nn.LayerNorm(dim, eps=1e-8), nn.LayerNorm(dim, eps=1e-8)
        self.queries, self.current_keys, self.general_keys, self.list_keys = (linear(dim, dim) for _ in range(4))
        self.general, self.whole = _query(dim), _query(dim)
        self.gate = linear(2 * dim, 3)
        self.network = PointWise(dim, dropout)

    def forward(
        self, x: Tensor, past: Kept = (), there: Tensor | None = None, creator: Tensor | None = None
    ) -> tuple[Tensor, Kept]:
        """See CausalBlock; creator: (B, D) what is added of who made each list, or none."""
        parts = (self.current_keys(x), self.general_keys(x), self.list_keys(x), x)
        kept: Kept = tuple(split(part, self.heads) for part in parts)
        if past:
            kept = longer(past, kept)
        normed, values = self.query_norm(x), kept[3]
        queries = (self.queries(normed), self.general.expand_as(x), self.whole.expand_as(x))
        current, general, whole = (
            attend(split(query, self.heads), keys, values, there, there is None, self.dropout if self.training else 0.0)
            for query, keys in zip(queries, kept)
        )
        seen = torch.cat([whole, (x - _centroid(x, values, there)).abs()], 2)
        gate = self.gate(dropped(seen, self.dropout, self.training)).softmax(2)
        mixed = gate[:, :, :1] * current + gate[:, :, 1:2] * general + gate[:, :, 2:] * normed
        if creator is not None:
            mixed = mixed + dropped(creator, self.dropout, self.training)[:, None]
        return self.network(self.norm(mixed)), kept


def _centroid(x: Tensor, values: Tensor, there: Tensor | None) -> Tensor:
    """Return the mean (B, T, D) of the items so far.

    Args:
        x: (B, T, D) the items.
        values: (B, H, K, D / H) they and those before, in heads.
        there: (B, K) which of them are items; None: x is all there is.
    """
    if there is None:
        counts = torch.arange(1, x.shape[1] + 1, device=x.device)
        return x.cumsum(1) / counts[:, None]
    sums = (values * there[:, None, :, None]).sum(2).flatten(1)  # (B, D)
    return (sums / there.sum(1, keepdim=True))[:, None]


class CAR(CausalAttention):
    """Preferences of now and of all the list, weighed by its consistency.

    Args:
        dim: width of an item's vector (D).
        layers: blocks.
        heads: of each attention; they divide dim.
        dropout: share that is dropped in training of what comes in, of attention's weights, of what the gate sees and
            of each layer.
        tied: score by the vectors that come in.
        creators: who made a list counts, if training knows them; the data must tell.
    """

    def __init__(
        self,
        dim: int = 64,
        layers: int = 1,
        heads: int = 1,
        dropout: float = 0.5,
        tied: bool = True,
        creators: bool = False,
    ) -> None:
        super().__init__(dim, layers, heads, dropout, tied)
        self.creators = creators

    def prepare(self, facts: Facts) -> None:
        super().prepare(facts)
        if self.creators and CREATOR not in facts.rows:
            raise UserError(
                "backbone.init_args.creators: the data does not tell who made its lists; "
                "of named sources aotm does, with protocol 'halves'"
            )

    def tables(self) -> dict[str, TableSpec]:
        return super().tables() | ({CREATOR: TableSpec(CREATOR, self.dim)} if self.creators else {})

    def block(self) -> CARBlock:
        return CARBlock(self.dim, self.heads, self.dropout)

    def through(
        self, look: Lookup, block: nn.Module, x: Tensor, past: Kept, there: Tensor | None, creators: Tensor | None
    ) -> tuple[Tensor, Kept]:
        vectors = None
        if self.creators and creators is not None:
            vectors = self.dim**0.5 * look.padded(CREATOR, creators[:, None])[:, 0]
        made: tuple[Tensor, Kept] = block(x, past, there, vectors)
        return made
