"""DQ-VAE: independent, equally informative semantic ids by a rotation and a codebook for each group of its columns.

DQRec, section 4.2, eq. 3-14. The encoders are the right singular vectors of the centred table, split into L groups of
equal size and nearly equal sum of squared singular values; the decoder is the transpose. The rotation W is exactly
orthogonal and the mean shared, so that the reconstruction loss equals the codebook loss and the total is
(1 + beta) * L_C: minimizing it *is* k-means in each group. Both ways are here: `init: kmeans` solves it at the start,
`init: data` starts at data points as the paper does and learns by gradient.

It needs a trained table (the SVD of noise is noise): it waits for the callback's warm-up. Rotation and mean stay as
the start has found them. Shapes: N rows, D dim, L groups, J codes of each, (...) any shape of ids.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.quantizers.balance import balanced_groups, imbalance
from lightning_vq.quantizers.base import Quantizer, bit_width
from lightning_vq.quantizers.codebook import Codebook, Learning, check_learning
from lightning_vq.quantizers.distance import pulls
from lightning_vq.quantizers.estimators import ESTIMATORS, Estimator
from lightning_vq.quantizers.neighbours import code_distances, second_nearest
from lightning_vq.types import Quantized, Table


class DQVAE(Quantizer):
    """Semantic ids of L positions in place of a trained table's vectors.

    Args:
        rows: entities of the table (N), more than dim.
        dim: width of its vectors (D), divisible by groups.
        groups: positions of a semantic id (L).
        codes: codes of each position (J).
        init: "data": J random rows; "kmeans": the solution of k-means in each group.
        gradient: where the task's gradient goes, see `estimators.py`.
        learning: "gradient" or "ema".

    Raises:
        UserError: gradient and learning do not go together;
            N <= D, D not divisible by L, or J above N.
    """

    default_beta: ClassVar[float] = 0.25
    waits = True
    mean: Tensor
    rotation: Tensor
    spread: Tensor

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        groups: int = 4,
        codes: int = 128,
        init: Literal["data", "kmeans"] = "data",
        gradient: Estimator = "straight_through",
        learning: Learning = "gradient",
    ) -> None:
        super().__init__()
        check_learning(gradient, learning)
        if groups < 1 or dim % groups:
            raise UserError(f"groups is {groups}; it must divide the width of the table, {dim}")
        if codes < 2:
            raise UserError(f"codes is {codes}; there must be at least 2")
        if rows <= dim or codes > rows:
            raise UserError(f"a table of {rows} rows needs more rows than dim ({dim}) and at least `codes` ({codes})")
        self.rows, self.dim, self.groups, self.codes = rows, dim, groups, codes
        self.init, self.gradient, self.learning = init, gradient, learning
        self.codebook = Codebook(codes, dim, subspaces=groups, init=init, learning=learning)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("rotation", torch.eye(dim))
        self.register_buffer("spread", torch.zeros(()))  # (max - min) / mean of the groups' squared singular values

    @property
    def codebook_sizes(self) -> list[int]:
        return [self.codes] * self.groups

    @torch.no_grad()
    def start(self, table: Table) -> None:
        if not torch.isfinite(table.weight).all():
            raise UserError("a table to be quantized holds NaN or infinity")
        wide = table.weight.double()
        mean = wide.mean(0)
        _, values, right = torch.linalg.svd(wide - mean, full_matrices=False)  # right: (D, D), rows orthonormal
        power = values.square().cpu().numpy()
        order = balanced_groups(power, self.groups)
        self.mean.copy_(mean)
        self.rotation.copy_(right[torch.from_numpy(order).to(right.device)].T)
        self.spread.fill_(imbalance(power, order, self.groups))
        self.codebook.start(self._turned(table.weight))
        self.active = True

    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        return self.codebook.nearest(self._turned(vectors))

    @torch.no_grad()
    def latent(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """Return the nearest code (..., L) of each group but for codes (..., L), of vectors (..., D): eq. 16."""
        return second_nearest(self._turned(vectors).unflatten(-1, (self.groups, -1)), self.codebook.weight, codes)

    def distances(self) -> Tensor:
        """Return the squared distances (L, J, J) between each group's codes, of which those of vectors are sums."""
        return code_distances(self.codebook.weight)

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        return self._turned_back(self.codebook(codes))

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        turned = self._turned(vectors)
        codes = self.codebook.nearest(turned)
        found = self.codebook(codes)
        decoded = self._turned_back(found)
        losses = pulls(turned, found, 1 / self.dim)  # W is orthogonal: the same in either space
        return Quantized(ESTIMATORS[self.gradient](vectors, decoded), codes, *losses)

    def observe(self, vectors: Tensor, ids: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        self.codebook.observe(self._turned(vectors), codes, weights)

    def restart(self, table: Table) -> int:
        turned = self._turned(table.weight)
        return self.codebook.restart(turned, self.codebook.nearest(turned))

    def bits(self) -> int:
        """N * L * ceil(log2 J) for the codes; float32 codebooks, rotation and mean."""
        floats = self.codes * self.dim + self.dim * self.dim + self.dim
        return self.rows * self.groups * bit_width(self.codes) + 32 * floats

    def _turned(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):  # the codes of training are those of evaluation
            return (vectors.to(self.rotation.dtype) - self.mean) @ self.rotation

    def _turned_back(self, turned: Tensor) -> Tensor:
        with torch.autocast(turned.device.type, enabled=False):
            return turned @ self.rotation.T + self.mean
