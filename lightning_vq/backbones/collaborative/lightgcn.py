"""LightGCN: vectors smoothed over the user-item graph, s_ui = mean_k(E^k)_u . mean_k(E^k)_i, E^k = A E^(k-1).

He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020, eq. 3-8.

A quantizer acts on the whole table once a step, before propagation (CAGE eq. 10-11). Layers are averaged, alpha_k =
1/(K+1), as the paper. Shapes: B batch, C candidates, D dim, U users, N items, K layers.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.layers import propagate, symmetric_adjacency
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup, rows_of
from lightning_vq.types import Facts, Output, Pairs, TableSpec


class LightGCN(Backbone):
    """Graph convolution without weights.

    Args:
        dim: width of user and item vectors (D).
        layers: propagations (K); 0 is matrix factorization.
        init: "xavier" (ReChorus and the paper) or "normal" N(0, 0.01^2).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs", "graph"})

    def __init__(self, dim: int = 64, layers: int = 3, init: Literal["xavier", "normal"] = "xavier") -> None:
        super().__init__()
        if layers < 0:
            raise UserError(f"backbone.init_args.layers is {layers}; it must be at least 0")
        self.dim, self.layers, self.init = dim, layers, init
        # A plain attribute rebuilt from the facts, not a buffer: DDP cannot broadcast sparse buffers.
        self._adjacency: Tensor | None = None

    def prepare(self, facts: Facts) -> None:
        assert facts.pairs is not None
        self._adjacency = symmetric_adjacency(facts.pairs, facts.rows["user"], facts.rows["item"])

    def tables(self) -> dict[str, TableSpec]:
        return {name: TableSpec(name, self.dim, self.init) for name in ("user", "item")}

    def forward(self, look: Lookup, batch: Pairs) -> Output:
        users, items = look.once("propagated", lambda: self._propagate(look.all("user"), look.all("item")))
        hidden = rows_of(users, batch.users)  # (B, D)
        if batch.items is None:
            return Output(hidden, items)
        return Output(hidden, rows_of(items, batch.items))  # keys (B, C, D)

    def _propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return smoothed users (U, D) and items (N, D)."""
        assert self._adjacency is not None
        wide = torch.promote_types(users.dtype, torch.float32)  # sparse products have no half precision
        if self._adjacency.device != users.device or self._adjacency.dtype != wide:
            self._adjacency = self._adjacency.to(users.device, wide)
        layer = torch.cat([users, items])  # (U + N, D)
        total = layer
        for _ in range(self.layers):
            layer = propagate(self._adjacency, layer)
            total = total + layer
        smoothed = total / (self.layers + 1)
        return smoothed[: len(users)], smoothed[len(users) :]
