"""BERT4Rec: attention both ways over a list with holes, each filled from what stands around it.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer", CIKM
2019, eq. 1-7: learned positions, blocks with a norm behind each part and GELU, the head LN(GELU(W h + b)), and scores
by the vectors that come in plus a bias of each item (eq. 7's b^O; the output's own table has one too). The norms of the
head and of what comes in are the authors' code's. In training each item is hidden with probability S, a list's last
with S + A (CAGE, appendix B.1); of those 80 % become <MASK>, 10 % another item, 10 % stay, and all are to be predicted.
At least one of each list is hidden, any of them. To continue a list, <MASK> is appended to it.

Departures: S and A of one list and step, where the authors store ten maskings of a list, and one of its last item.
Shapes: B batch, T items of a list, D dim, N items.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_vq.backbones.attention import check_attention
from lightning_vq.backbones.encoder import Encoder
from lightning_vq.backbones.lists import BIAS, Autoregressive
from lightning_vq.backbones.sequences import check_share, clozed
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.types import Facts, Lists, TableSpec


class BERT4Rec(Autoregressive):
    """Self-attention over all items of a list, learned by filling holes.

    Args:
        dim: width of an item's vector (D).
        layers: blocks.
        heads: of each block's attention; they divide dim.
        dropout: share that is dropped in training of what comes in, of attention's weights and of each part's output.
        mask_probability: that an item is hidden in training (S).
        last_probability: what is added to that of a list's last item (A).
        tied: score by the vectors that come in.
    """

    def __init__(
        self,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.2,
        mask_probability: float = 0.15,
        last_probability: float = 0.10,
        tied: bool = True,
    ) -> None:
        super().__init__(dim, tied, tokens=1)
        check_attention(dim, layers, heads, dropout)
        check_share("mask_probability", mask_probability)
        check_share("last_probability", last_probability)
        if mask_probability + last_probability > 1:
            raise UserError(
                f"backbone.init_args.last_probability is {last_probability}; with mask_probability {mask_probability} "
                "it must not be above 1"
            )
        self.layers, self.heads, self.dropout = layers, heads, dropout
        self.mask_probability, self.last_probability = mask_probability, last_probability

    def prepare(self, facts: Facts) -> None:
        super().prepare(facts)
        self.encoder = Encoder(self.dim, self.layers, self.heads, self.dropout, self.length)

    def tables(self) -> dict[str, TableSpec]:
        return super().tables() | {BIAS: TableSpec("item", 1, quantizable=False, decay=False)}

    def keys(self, look: Lookup, ids: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        vectors, bias = super().keys(look, ids)
        if bias is None:
            bias = (look.all(BIAS) if ids is None else look(BIAS, ids)).squeeze(-1)
        return vectors, bias

    def chosen(self, items: Tensor) -> Tensor:
        """Return which items (B, T) are to be hidden: one or more of every list that has any."""
        there = items >= 0
        numbers, counts = torch.arange(items.shape[1], device=items.device), there.sum(1, keepdim=True)
        odds = self.mask_probability + self.last_probability * (numbers == counts - 1)
        chosen = there & (torch.rand(items.shape, device=items.device) < odds)
        one = (torch.rand(len(items), 1, device=items.device) * counts).long()
        return chosen | (there & (numbers == one) & ~chosen.any(1, keepdim=True))

    def learned(self, look: Lookup, batch: Lists) -> tuple[Tensor, Tensor]:
        chosen = self.chosen(batch.items)
        places = chosen.reshape(-1).nonzero()[:, 0]
        return self._encoded(look, clozed(batch.items, chosen, self.items), places), places

    def begin(self, look: Lookup, items: Tensor, creators: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state is the items (B, T + 1) with <MASK> behind them: each step encodes all of them anew."""
        return self._continued(look, pad(items, (0, 1), value=-1), (items >= 0).sum(1))

    def advance(self, look: Lookup, state: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        counts = (state >= 0).sum(1)
        known = state.scatter(1, counts[:, None] - 1, items[:, None])
        return self._continued(look, pad(known, (0, 1), value=-1), counts)

    def _continued(self, look: Lookup, items: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return what <MASK> becomes (B, D) at the place (B,) behind each list, and the items (B, T) with it."""
        masked = items.scatter(1, counts[:, None], self.items)
        places = counts + masked.shape[1] * torch.arange(len(items), device=items.device)
        return self._encoded(look, masked, places), masked

    def _encoded(self, look: Lookup, items: Tensor, places: Tensor) -> Tensor:
        hidden: Tensor = self.encoder(look.padded("item", items), items >= 0, places)
        return hidden
