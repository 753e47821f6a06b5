"""Differentiable product quantization: a vector is D / W codes, one for each of its parts.

Chen, Li and Sun, "Differentiable Product Quantization for End-to-End Embedding Compression", ICML 2020, DPQ-VQ; as
the rival of Kang et al. (MGQE, WWW Companion 2020, section 3). The codes *replace* the vector: at serving time the
table is codes and centroids. Straight-through carries the task's gradient to the table; the centroids learn from
L_quant alone, weight omega_q. The papers' settings are omega_q 1 and beta 0.

Shapes: N rows, D dim, S subspaces, K centroids, (...) any shape of ids.
"""

from typing import ClassVar

from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.quantizers.base import Quantizer, bit_width
from lightning_vq.quantizers.codebook import Codebook, Learning, check_learning
from lightning_vq.quantizers.distance import pulls
from lightning_vq.quantizers.estimators import ESTIMATORS, Estimator
from lightning_vq.quantizers.initial import WAITS, Init
from lightning_vq.types import Quantized, Table


class DPQ(Quantizer):
    """Product codes in place of vectors.

    With gradient "codebook" the vectors themselves learn from the commitment loss alone.

    Args:
        rows: entities of the table (N).
        dim: width of its vectors (D).
        subspaces: parts of a vector (S), a divisor of dim.
        centroids: codes of each part (K).
        gradient: where the task's gradient goes, see `estimators.py`.
        init: where centroids start, see `initial.py`; "kmeans" waits for the callback's warm-up.
        learning: "gradient" or "ema".

    Raises:
        UserError: gradient and learning do not go together;
            the parts do not divide the vector.
    """

    default_beta: ClassVar[float] = 0.0

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        subspaces: int,
        centroids: int = 256,
        gradient: Estimator = "straight_through",
        init: Init = "table_std",
        learning: Learning = "gradient",
    ) -> None:
        super().__init__()
        check_learning(gradient, learning)
        if init in WAITS and centroids > rows:
            raise UserError(f"init {init!r} needs as many rows as centroids; there are {rows} and {centroids}")
        self.rows, self.dim, self.subspaces, self.centroids = rows, dim, subspaces, centroids
        self.gradient, self.init, self.learning = gradient, init, learning
        self.waits = init in WAITS
        self.codebook = Codebook(centroids, dim, subspaces=subspaces, init=init, learning=learning)

    @property
    def codebook_sizes(self) -> list[int]:
        return [self.centroids] * self.subspaces

    def start(self, table: Table) -> None:
        self.codebook.start(table.weight)
        self.active = True

    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        return self.codebook.nearest(vectors)

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        return self.codebook(codes)

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        codes = self.codebook.nearest(vectors)
        found = self.codebook(codes)
        return Quantized(ESTIMATORS[self.gradient](vectors, found), codes, *pulls(vectors, found, 1 / self.dim))

    def observe(self, vectors: Tensor, ids: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        self.codebook.observe(vectors, codes, weights)

    def restart(self, table: Table) -> int:
        return self.codebook.restart(table.weight, self.codebook.nearest(table.weight))

    def bits(self) -> int:
        """n * S * ceil(log2 K) for the codes, 32 * K * d for the centroids."""
        return self.rows * self.subspaces * bit_width(self.centroids) + 32 * self.centroids * self.dim
