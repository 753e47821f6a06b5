"""Cascaded vector quantization: a category tree learned fine to coarse.

Liu et al., "Learning Category Trees for ID-Based Recommendation" (CAGE, WWW 2024; first named COVE), eq. 1-9.

Level 1 quantizes the entity's vector; level i >= 2 quantizes the *code vector* of level i - 1. A code's parent
therefore depends on the codebooks alone: the codebooks are the tree, and parents cost K1 * K2 a step, not B * K2.

Departures: losses are means over D by default (the released code), `loss_reduction: sum` is the paper's text; the
estimator acts from the entity to each level (for straight_through the same as the paper's chain); codes start at
the table's own scale, since codes at N(0, 1) over a table at N(0, 0.01^2) leave one code in use.

Shapes: N rows, D dim, L levels, K_i codes of level i, (...) any shape of ids.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_vq.errors import UserError
from lightning_vq.quantizers.base import Quantizer, bit_width
from lightning_vq.quantizers.codebook import Codebook, Learning, check_learning
from lightning_vq.quantizers.distance import pulls
from lightning_vq.quantizers.estimators import ESTIMATORS, Estimator
from lightning_vq.quantizers.initial import WAITS, Init
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
        init: where codes start, see `initial.py`; "kmeans" waits for the callback's warm-up.
        learning: how codes learn: from L_quant by "gradient" (eq. 7), or as moving averages, "ema".

    Raises:
        UserError: gradient and learning do not go together;
            sizes are not strictly decreasing, or the first is not below the number of rows.
    """

    replaces: ClassVar[bool] = False

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
        init: Init = "table_std",
        learning: Learning = "gradient",
    ) -> None:
        super().__init__()
        check_learning(gradient, learning)
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
        self.rows, self.dim, self.alpha, self.fusion = rows, dim, alpha, fusion
        self.gradient, self.loss_reduction, self.init, self.learning = gradient, loss_reduction, init, learning
        self.waits = init in WAITS
        self.codebooks = nn.ModuleList(Codebook(k, dim, init=init, learning=learning) for k in sizes)
        self.project = nn.Linear(len(sizes) * dim, dim, bias=False) if fusion == "concat" else None

    @property
    def codebook_sizes(self) -> list[int]:
        return [level.codes for level in self.codebooks]  # type: ignore[misc]

    def books(self) -> list[Tensor]:
        """Return the codes (K_i, D) of every level."""
        return [level.book for level in self.codebooks]  # type: ignore[misc]

    @torch.no_grad()
    def start(self, table: Table) -> None:
        below, weights = table.weight, None
        for level in self.codebooks:
            level.start(below, weights)  # type: ignore[operator]
            codes = level.nearest(below)[:, 0]  # type: ignore[operator]
            below, weights = level.book, _occurrences(codes, level.codes, weights)  # type: ignore[assignment,arg-type]
        if self.project is not None:
            nn.init.xavier_uniform_(self.project.weight)
        self.active = True

    def parents(self) -> list[Tensor]:
        """Return for each level but the last the (K_i,) index of each code's parent in the next level."""
        return [nearest_code(fine, coarse) for fine, coarse in pairwise(self.books())]

    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        return self._path(nearest_code(vectors, self.books()[0]), self.parents())

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        return self._fuse([level(codes[..., i : i + 1]) for i, level in enumerate(self.codebooks)])

    def combine(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        return torch.add(vectors, quantized, alpha=self.alpha)

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        books, parents = self.books(), self.parents()
        leaf = nearest_code(vectors, books[0])
        codes = self._path(leaf, parents)
        rows = leaf.reshape(-1)
        # What depends on the level-1 code alone is computed once per code and gathered: the vectors of its path, and
        # the losses of levels i >= 2, whose mean over rows so weighs a code by the rows that chose it, 0 for none.
        path = self._path(torch.arange(len(books[0]), device=rows.device), parents)  # (K_1, L)
        above = [book.index_select(0, path[:, i]) for i, book in enumerate(books)]  # L x (K_1, D)
        scale = 1 / self.dim if self.loss_reduction == "mean" else 1.0
        codebook, commitment = pulls(vectors, self._rows(books[0], rows, vectors), scale)
        if parents:
            losses = torch.stack([torch.stack(pulls(fine, coarse, scale)) for fine, coarse in pairwise(above)]).sum(0)
            codebook, commitment = (a + b[leaf] for a, b in zip((codebook, commitment), losses))
        estimate = ESTIMATORS[self.gradient]
        if self.fusion == "mean" and self.gradient != "rotation":
            # These estimators are linear: the estimate of the mean is the mean of the estimates, for one gather.
            mean = above[0] if not parents else torch.stack(above).mean(0)
            fused = estimate(vectors, self._rows(mean, rows, vectors))
        else:
            fused = self._fuse([estimate(vectors, self._rows(level, rows, vectors)) for level in above])
        return Quantized(fused, codes, codebook, commitment)

    @torch.no_grad()
    def observe(self, vectors: Tensor, ids: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        if self.learning == "gradient":
            return
        below, chosen = vectors, codes[:, 0]
        books, parents = [book.clone() for book in self.books()], self.parents()  # as they were in the search
        for i, level in enumerate(self.codebooks):
            level.observe(below, chosen[:, None], weights)  # type: ignore[operator]
            if i < len(parents):
                weights = _occurrences(chosen, len(books[i]), weights)
                below, chosen = books[i], parents[i]

    @torch.no_grad()
    def restart(self, table: Table) -> int:
        below, weights, moved = table.weight, None, 0
        for level in self.codebooks:
            moved += level.restart(below, level.nearest(below), weights)  # type: ignore[operator]
            codes = level.nearest(below)[:, 0]  # type: ignore[operator]
            below, weights = level.book, _occurrences(codes, level.codes, weights)  # type: ignore[assignment,arg-type]
        return moved

    def bits(self) -> int:
        """Codes of every row at ceil(log2 K_1) bits (level 1 determines the rest), parents, float32 codebooks."""
        sizes = self.codebook_sizes
        tree = sum(fine * bit_width(coarse) for fine, coarse in pairwise(sizes))
        floats = sum(sizes) * self.dim + (0 if self.project is None else self.project.weight.numel())
        return self.rows * bit_width(sizes[0]) + tree + 32 * floats

    @staticmethod
    def _path(leaf: Tensor, parents: list[Tensor]) -> Tensor:
        path = [leaf]
        for parent in parents:
            path.append(parent[path[-1]])
        return torch.stack(path, dim=-1)

    @staticmethod
    def _rows(table: Tensor, rows: Tensor, like: Tensor) -> Tensor:
        return table.index_select(0, rows).view(like.shape)

    def _fuse(self, levels: list[Tensor]) -> Tensor:
        if self.project is not None:
            return self.project(torch.cat(levels, dim=-1))
        return levels[0] if len(levels) == 1 else torch.stack(levels).mean(0)


def _occurrences(codes: Tensor, size: int, weights: Tensor | None) -> Tensor:
    """Return (K,) how much of weights (N,), 1 each by default, chose each code."""
    weights = torch.ones(len(codes), device=codes.device) if weights is None else weights
    return weights.new_zeros(size).index_add_(0, codes, weights)
