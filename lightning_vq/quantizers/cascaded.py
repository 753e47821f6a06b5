"""Cascaded vector quantization: a category tree learned fine to coarse.

Liu et al., "Learning Category Trees for ID-Based Recommendation" (CAGE, WWW 2024; first named COVE), eq. 1-9.

Level 1 quantizes the entity's vector; level i >= 2 quantizes the *code vector* of level i - 1. A code's parent
therefore depends on the codebooks alone: the codebooks are the tree, and parents cost K1 * K2 a step, not B * K2.

Departures: losses are means over D by default (the released code), `loss_reduction: sum` is the paper's text; the
estimator acts from the entity to each level (for straight_through the same as the paper's chain); codes start at
the table's own scale, since codes at N(0, 1) over a table at N(0, 0.01^2) leave one code in use. Not here yet: a
k-means start after warm-up epochs, and losses over each distinct entity of a batch once instead of per occurrence.

Shapes: N rows, D dim, L levels, K_i codes of level i, (...) any shape of ids.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from lightning_vq.errors import UserError
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.quantizers.estimators import ESTIMATORS, Estimator
from lightning_vq.quantizers.search import nearest_code
from lightning_vq.types import Quantized, Table


class Cascaded(Quantizer):
    """Tree of codes over a table.

    Args:
        rows: entities of the table (N).
        dim: width of its vectors (D).
        codebook_sizes: codes per level, fine to coarse, strictly decreasing: [500, 10].
        alpha: weight of the fused code vector in z = e + alpha * fused (eq. 5).
        fusion: "mean" of the levels (eq. 4), or "concat" of them and one linear map back to D (appendix F).
        gradient: where the task's gradient goes, see `estimators.py`.
        loss_reduction: over D, "mean" (released code) or "sum" (eq. 7-8); omega_q differs by a factor D.
        init: codes at N(0, s^2), s the table's standard deviation ("table_std") or 1 ("normal").

    Raises:
        UserError: sizes are not strictly decreasing, or the first is not below the number of rows.
    """

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        codebook_sizes: Sequence[int],
        alpha: float = 1.0,
        fusion: Literal["mean", "concat"] = "mean",
        gradient: Estimator = "straight_through",
        loss_reduction: Literal["mean", "sum"] = "mean",
        init: Literal["table_std", "normal"] = "table_std",
    ) -> None:
        super().__init__()
        sizes = [int(k) for k in codebook_sizes]
        if not sizes or min(sizes) < 1:
            raise UserError(f"codebook_sizes {sizes} must name at least one level, each of at least one code")
        for level, (fine, coarse) in enumerate(pairwise(sizes), start=1):
            if coarse >= fine:
                better = sorted(set(sizes), reverse=True)
                raise UserError(
                    f"codebook_sizes {sizes}: level {level} has {fine} codes and level {level + 1} has {coarse}, "
                    f"but sizes must strictly decrease from fine to coarse; did you mean {better}?"
                )
        if sizes[0] >= rows:
            raise UserError(f"codebook_sizes {sizes}: level 1 must have fewer codes than the table has rows ({rows})")
        self.rows, self.dim = rows, dim
        self.codebook_sizes, self.alpha, self.fusion = sizes, alpha, fusion
        self.gradient, self.loss_reduction, self.init = gradient, loss_reduction, init
        self.codebooks = nn.ParameterList(nn.Parameter(torch.zeros(k, dim)) for k in sizes)
        self.project = nn.Linear(len(sizes) * dim, dim, bias=False) if fusion == "concat" else None

    @torch.no_grad()
    def start(self, table: Table) -> None:
        std = table.weight.std().item() if self.init == "table_std" else 1.0
        for book in self.codebooks:
            book.normal_(std=std)
        if self.project is not None:
            nn.init.xavier_uniform_(self.project.weight)

    def parents(self) -> list[Tensor]:
        """Return for each level but the last the (K_i,) index of each code's parent in the next level."""
        return [nearest_code(fine, coarse) for fine, coarse in pairwise(self.codebooks)]

    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        return self._path(nearest_code(vectors, self.codebooks[0]), self.parents())

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        return self._fuse([embedding(codes[..., i], book) for i, book in enumerate(self.codebooks)])

    def combine(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        return vectors + self.alpha * quantized

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        parents = self.parents()
        codes = self._path(nearest_code(vectors, self.codebooks[0]), parents)
        levels = [embedding(codes[..., i], book) for i, book in enumerate(self.codebooks)]  # L x (..., D)
        estimate = ESTIMATORS[self.gradient]
        fused = self._fuse([estimate(vectors, level) for level in levels])
        codebook = self._distance(levels[0], vectors.detach())
        commitment = self._distance(vectors, levels[0].detach())
        # Level i >= 2 is a loss of codes, not of rows: computed once per code of level i - 1 and gathered, so that
        # the mean over rows weights each code by how many rows chose it (and a code that none chose by zero).
        for i, parent in enumerate(parents):
            fine, coarse = self.codebooks[i], embedding(parent, self.codebooks[i + 1])  # both (K_i, D)
            codebook = codebook + self._distance(coarse, fine.detach())[codes[..., i]]
            commitment = commitment + self._distance(fine, coarse.detach())[codes[..., i]]
        return Quantized(fused, codes, codebook, commitment)

    def bits(self) -> int:
        """Codes of every row at ceil(log2 K_1) bits (level 1 determines the rest), parents, float32 codebooks."""

        def width(k: int) -> int:
            return math.ceil(math.log2(k)) if k > 1 else 0

        codes = self.rows * width(self.codebook_sizes[0])
        tree = sum(fine * width(coarse) for fine, coarse in pairwise(self.codebook_sizes))
        return codes + tree + 32 * sum(p.numel() for p in self.parameters())

    @staticmethod
    def _path(leaf: Tensor, parents: list[Tensor]) -> Tensor:
        path = [leaf]
        for parent in parents:
            path.append(parent[path[-1]])
        return torch.stack(path, dim=-1)

    def _fuse(self, levels: list[Tensor]) -> Tensor:
        if self.project is not None:
            return self.project(torch.cat(levels, dim=-1))
        return levels[0] if len(levels) == 1 else torch.stack(levels).mean(0)

    def _distance(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Squared distance (...) of (..., D), over D by `loss_reduction`; the gradient reaches the first only."""
        squared = (moving - fixed).square()
        return squared.mean(-1) if self.loss_reduction == "mean" else squared.sum(-1)
