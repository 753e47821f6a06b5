"""What backbones on the user-item graph share: the adjacency, and smoothing of both tables once a step.

A quantizer acts on the whole table once a step, before propagation (CAGE eq. 10-11). Shapes: B batch, C candidates,
D dim of the tables, D' of the smoothed ones, U users, N items.
"""

from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.layers import symmetric_adjacency
from lightning_vq.lookup import Lookup, rows_of
from lightning_vq.types import Facts, Output, Pairs, TableSpec


class GraphBackbone(Backbone):
    """A user's score of an item is the product of their smoothed vectors.

    Args:
        dim: width of user and item vectors (D).
        init: of them, "xavier" or "normal" N(0, 0.01^2).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pairs", "graph"})

    def __init__(self, dim: int, init: Literal["xavier", "normal"]) -> None:
        super().__init__()
        self.dim, self.init = dim, init
        # A plain attribute rebuilt from the facts, not a buffer: DDP cannot broadcast sparse buffers.
        self._adjacency: Tensor | None = None

    @abstractmethod
    def smooth(self, adjacency: Tensor, table: Tensor) -> Tensor:
        """Return the smoothed vectors (U + N, D') of users and items (U + N, D)."""

    def prepare(self, facts: Facts) -> None:
        assert facts.pairs is not None
        self._adjacency = symmetric_adjacency(facts.pairs, facts.rows["user"], facts.rows["item"])

    def tables(self) -> dict[str, TableSpec]:
        return {name: TableSpec(name, self.dim, self.init) for name in ("user", "item")}

    def forward(self, look: Lookup, batch: Pairs) -> Output:
        users, items = look.once("propagated", lambda: self._propagate(look.all("user"), look.all("item")))
        hidden = rows_of(users, batch.users)  # (B, D')
        return Output(hidden, items if batch.items is None else rows_of(items, batch.items))

    def _propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return smoothed users (U, D') and items (N, D')."""
        assert self._adjacency is not None
        wide = torch.promote_types(users.dtype, torch.float32)  # sparse products have no half precision
        if self._adjacency.device != users.device or self._adjacency.dtype != wide:
            self._adjacency = self._adjacency.to(users.device, wide)
        smoothed = self.smooth(self._adjacency, torch.cat([users, items]))
        return smoothed[: len(users)], smoothed[len(users) :]
