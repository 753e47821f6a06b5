"""The contract of every quantizer. Shapes: N rows, D dim, L levels; (...) any leading shape of ids."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lightning_vq.types import Quantized, Table


class Quantizer(nn.Module, ABC):
    """Maps vectors of a table to codes and back.

    `__init__(rows, dim, *, ...)` fixes every shape and keeps each argument in an attribute of its name, so that
    a checkpoint can rebuild it. `start` fills the values once, when training begins, never on reload.
    """

    rows: int
    dim: int

    @abstractmethod
    def start(self, table: Table) -> None:
        """Set initial values from the table (its scale, its counts). Draws from the global torch generator."""

    @abstractmethod
    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        """Quantize vectors (..., D) of the entities ids (...)."""

    @abstractmethod
    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """Return the codes (..., L) int64 of vectors (..., D); no gradient."""

    @abstractmethod
    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        """Return the code vectors (..., D) that codes (..., L) stand for."""

    @abstractmethod
    def combine(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        """Return what the backbone sees (..., D), from the entity's own vectors and its code vectors."""

    @abstractmethod
    def bits(self) -> int:
        """Return the exact storage in bits of the codes of all rows and of the codebooks."""
