"""Uniform scalar quantization: each number of a vector is rounded to one of 2^b steps between its column's extremes.

Kang et al. (MGQE, WWW Companion 2020), section 5.4: applied after training, b = 8. In a fit it is on for validation, on
the grid of the table as it then is, and off for training: every epoch's checkpoint holds a trained table with its grid.
Shapes: N rows, D dim, (...) any shape of ids.
"""

from typing import ClassVar

import torch
from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.quantizers.estimators import straight_through
from lightning_vq.types import Quantized, Table


class Scalar(Quantizer):
    """b bits for every number of a table.

    Args:
        rows: entities of the table (N).
        dim: width of its vectors (D).
        bits_each: b, 1 to 16.

    Raises:
        UserError: bits_each is out of range.
    """

    has_codebooks: ClassVar[bool] = False
    after_training: ClassVar[bool] = True
    low: Tensor
    step: Tensor

    def __init__(self, rows: int, dim: int, *, bits_each: int = 8) -> None:
        super().__init__()
        if not 1 <= bits_each <= 16:
            raise UserError(f"bits_each is {bits_each}; it must be 1 to 16")
        self.rows, self.dim, self.bits_each = rows, dim, bits_each
        self.register_buffer("low", torch.zeros(dim))
        self.register_buffer("step", torch.ones(dim))

    @property
    def codebook_sizes(self) -> list[int]:
        return [1 << self.bits_each] * self.dim

    @torch.no_grad()
    def start(self, table: Table) -> None:
        """Set the grid to the range of each column, so that no entry is off by more than half a step."""
        if not torch.isfinite(table.weight).all():
            raise UserError("a table to be quantized holds NaN or infinity")
        low, high = table.weight.amin(0), table.weight.amax(0)
        self.low.copy_(low)
        self.step.copy_(torch.where(high > low, (high - low) / ((1 << self.bits_each) - 1), 1.0))
        self.active = True

    @torch.no_grad()
    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        if not torch.isfinite(vectors).all():
            raise UserError("vectors to be quantized hold NaN or infinity")
        return ((vectors - self.low) / self.step).round().clamp(0, (1 << self.bits_each) - 1).long()

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        return self.low + codes * self.step

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        codes = self.encode(vectors, ids)
        none = vectors.new_zeros(ids.shape)
        return Quantized(straight_through(vectors, self.decode(codes, ids)), codes, none, none)

    def bits(self) -> int:
        """N * D * b for the codes and two float32 for each column."""
        return self.rows * self.dim * self.bits_each + 2 * 32 * self.dim
