"""Generalized matrix factorization: s_ui = h . (p_u * q_i).

He et al., "Neural Collaborative Filtering", WWW 2017, eq. 9, with identity in place of its output function: the sigmoid
belongs to the loss (`loss: bce`), which is the paper's.

Departure: no bias on h, which would shift all scores alike. Shapes: B batch, C candidates, D dim, N items.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_vq.backbones.base import Backbone
from lightning_vq.lookup import Lookup
from lightning_vq.types import Output, Pairs, TableSpec


class GMF(Backbone):
    """Matrix factorization with a learned weight for each dimension.

    Args:
        dim: width of user and item vectors (D).
        init: of user and item vectors, "normal" N(0, 0.01^2) or "xavier".
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})

    def __init__(self, dim: int = 64, init: Literal["normal", "xavier"] = "normal") -> None:
        super().__init__()
        self.dim, self.init = dim, init
        self.output = nn.Parameter(torch.empty(1, dim))  # h, a row so that weight decay takes it for a weight
        nn.init.xavier_uniform_(self.output)

    def tables(self) -> dict[str, TableSpec]:
        return {name: TableSpec(name, self.dim, self.init) for name in ("user", "item")}

    def query_scale(self) -> Tensor:
        return self.output[0]

    def forward(self, look: Lookup, batch: Pairs) -> Output:
        hidden = look("user", batch.users) * self.output  # (B, D)
        return Output(hidden, look.all("item") if batch.items is None else look("item", batch.items))
