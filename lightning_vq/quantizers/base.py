"""The contract of every quantizer. Shapes: N rows, D dim, L columns of codes; (...) any leading shape of ids."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_vq.errors import UserError
from lightning_vq.types import Quantized, Table


class Quantizer(nn.Module, ABC):
    """Maps vectors of a table to codes and back.

    `__init__(rows, dim, *, ...)` fixes every shape and keeps each argument in an attribute of its name, so that
    a checkpoint can rebuild it. `start` fills the values once, never on reload. Until it has been called the
    quantizer is not `active`, and a lookup goes around it.
    """

    keeps_table: ClassVar[bool] = True  # False: it stands for the table, whose vectors it neither reads nor leaves
    replaces: ClassVar[bool] = True  # its vectors stand in place of the table's, which serving needs no more
    has_codebooks: ClassVar[bool] = True  # False: nothing that could collapse
    after_training: ClassVar[bool] = False  # it goes on finished vectors: on for validation, off for training
    default_beta: ClassVar[float] = 1.0  # weight of the commitment loss in its paper
    rows: int
    dim: int
    active: bool = False
    waits: bool = False  # `start` needs a table that has been trained for a while (k-means, SVD)

    @property
    @abstractmethod
    def codebook_sizes(self) -> list[int]:
        """How many codes each of the L columns of `codes` chooses from."""

    @abstractmethod
    def start(self, table: Table) -> None:
        """Set initial values from the table (its scale, its counts). Draws from the global torch generator."""

    def __call__(self, vectors: Tensor, ids: Tensor) -> Quantized:
        if not self.active:
            raise UserError(f"{type(self).__name__} has not been started: call start(Table(weight, counts)) first")
        return super().__call__(vectors, ids)

    @abstractmethod
    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        """Quantize vectors (..., D) of the entities ids (...)."""

    @abstractmethod
    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """Return the codes (..., L) int64 of vectors (..., D); no gradient."""

    @abstractmethod
    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        """Return the code vectors (..., D) that codes (..., L) stand for."""

    def combine(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        """Return what the backbone sees (..., D): by default the code vectors, in place of the entity's own."""
        return quantized

    def observe(self, vectors: Tensor, ids: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        """Learn outside of gradients from what a training step has looked up; by default nothing.

        Args:
            vectors: (M, D), without gradient.
            ids: (M,).
            codes: (M, L) as `forward` chose them.
            weights: (M,) how often each entity stands in the step; 1 where there is none.
        """

    def restart(self, table: Table) -> int:
        """Move codes that no entity uses to where vectors are badly served; return how many were moved."""
        return 0

    def codebook_uses(self, codes: Tensor) -> list[tuple[Tensor, Tensor, int]]:
        """Return for each codebook the rows (M,) that choose from it, their codes (M,), and its size.

        Args:
            codes: (N, L) of the whole table.
        """
        rows = torch.arange(len(codes), device=codes.device)
        return [(rows, codes[:, i], size) for i, size in enumerate(self.codebook_sizes)]

    @abstractmethod
    def bits(self) -> int:
        """Return the exact storage in bits of the codes of all rows and of the codebooks."""

    def get_extra_state(self) -> Tensor:
        return torch.tensor(int(self.active))

    def set_extra_state(self, state: Tensor) -> None:
        self.active = bool(state)


def bit_width(codes: int) -> int:
    """Return the bits that tell `codes` codes apart.

    >>> [bit_width(k) for k in (1, 2, 3, 256, 257)]
    [0, 1, 2, 8, 9]
    """
    return (codes - 1).bit_length()
