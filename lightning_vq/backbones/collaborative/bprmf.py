"""Matrix factorization with an item bias: s_ui = p_u . q_i + b_i.

Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009, section 4.3.1.

Departure: no user bias, which cancels in every ranking of one user's items and in BPR's gradient.
Shapes: B batch, C candidates, D dim, N items.
"""

from typing import ClassVar, Literal

from lightning_vq.backbones.base import Backbone
from lightning_vq.lookup import Lookup
from lightning_vq.types import Output, Pairs, TableSpec


class BPRMF(Backbone):
    """Matrix factorization.

    Args:
        dim: width of user and item vectors (D).
        item_bias: add b_i, which is never quantized and never decayed.
        init: of user and item vectors, "normal" N(0, 0.01^2) or "xavier".
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})

    def __init__(self, dim: int = 64, item_bias: bool = True, init: Literal["normal", "xavier"] = "normal") -> None:
        super().__init__()
        self.dim, self.item_bias, self.init = dim, item_bias, init

    def tables(self) -> dict[str, TableSpec]:
        tables = {"user": TableSpec("user", self.dim, self.init), "item": TableSpec("item", self.dim, self.init)}
        if self.item_bias:
            tables["item_bias"] = TableSpec("item", 1, quantizable=False, decay=False)
        return tables

    def forward(self, look: Lookup, batch: Pairs) -> Output:
        hidden = look("user", batch.users)  # (B, D)
        if batch.items is None:
            bias = look.all("item_bias").squeeze(-1) if self.item_bias else None  # (N,)
            return Output(hidden, look.all("item"), bias)
        bias = look("item_bias", batch.items).squeeze(-1) if self.item_bias else None  # (B, C)
        return Output(hidden, look("item", batch.items), bias)
