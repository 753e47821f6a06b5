"""Low-rank factorization, a rival of product codes at equal size: e_i = u_i V.

Kang et al. (MGQE, WWW Companion 2020), sections 3.2 and 5.4. No codes: the table is two float32 factors, and its own
weights are dropped. Shapes: N rows, D dim, R rank.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_vq.errors import UserError
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.types import Quantized, Table


class LowRank(Quantizer):
    """A table of rank R.

    Args:
        rows: entities of the table (N).
        dim: width of its vectors (D).
        rank: width of what is stored for each (R), at most dim.

    Raises:
        UserError: a rank below 1 or above dim.
    """

    keeps_table: ClassVar[bool] = False
    has_codebooks: ClassVar[bool] = False

    def __init__(self, rows: int, dim: int, *, rank: int) -> None:
        super().__init__()
        if not 1 <= rank <= dim:
            raise UserError(f"rank is {rank}; it must be 1 to {dim}, the width of the table")
        self.rows, self.dim, self.rank = rows, dim, rank
        self.left = nn.Parameter(torch.zeros(rows, rank))
        self.right = nn.Parameter(torch.zeros(rank, dim))

    @property
    def codebook_sizes(self) -> list[int]:
        return []

    @torch.no_grad()
    def start(self, table: Table) -> None:
        """Draw factors whose product has the table's standard deviation; at R = D it is the table.

        The rows of V are orthogonal, its entries of unit size: a choice of ours, the paper tells none. Adam moves every
        entry of V at each step, whatever its size. Were V small, it would have changed altogether before the u_i of few
        steps have found their places: with orthonormal rows GMF on ml-1m learns nothing in 12 of MGQE's 20 epochs.
        """
        if self.rank == self.dim:
            self.left.copy_(table.weight)
            nn.init.eye_(self.right)
        else:
            nn.init.orthogonal_(self.right, gain=self.dim**0.5)
            self.left.normal_(std=table.weight.std().item() / self.rank**0.5)
        self.active = True

    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        return torch.zeros(*ids.shape, 0, dtype=torch.int64, device=ids.device)

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        with torch.autocast(self.left.device.type, enabled=False):  # in evaluation as in training
            return self.left.index_select(0, ids.reshape(-1)).view(*ids.shape, self.rank) @ self.right

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        """Return u_i V for ids (...); the vectors (..., D) are not read."""
        none = self.left.new_zeros(ids.shape)
        return Quantized(self.decode(ids, ids), self.encode(vectors, ids), none, none)

    def bits(self) -> int:
        """32 * (N * R + R * D)."""
        return 32 * self.rank * (self.rows + self.dim)
