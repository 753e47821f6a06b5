"""Residual vector quantization: each level quantizes what the levels before have left.

r_0 = e, c_i = nearest code to r_(i-1), r_i = r_(i-1) - sg(c_i), fused = sum of c_i (Zeghidour et al., SoundStream,
2021, algorithm 1; Lee et al. 2022, eq. 2-4). The residual is detached from the codes only: the commitment of every
level moves the entity.

Departure: as Cascaded it adds to the entity's vector, z = e + alpha * fused, so that the two differ in the cascade
alone; with one level they are the same. Shapes: N rows, D dim, L levels, K_i codes of level i, (...) ids.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_vq.errors import UserError
from lightning_vq.quantizers.base import Quantizer, bit_width
from lightning_vq.quantizers.codebook import Codebook, Learning, check_learning
from lightning_vq.quantizers.distance import pulls
from lightning_vq.quantizers.estimators import ESTIMATORS, Estimator
from lightning_vq.quantizers.initial import WAITS, Init
from lightning_vq.types import Quantized, Table


class Residual(Quantizer):
    """Levels of codes that add up.

    Args:
        rows: entities of the table (N).
        dim: width of its vectors (D).
        codebook_sizes: codes per level, in any order: [256, 256, 256].
        alpha: weight of the summed code vectors in z = e + alpha * fused.
        gradient: where the task's gradient goes, see `estimators.py`; it acts from the entity to the sum.
        init: where codes start, see `initial.py`; "kmeans" clusters each level's residuals after the warm-up.
        learning: "gradient" or "ema".

    Raises:
        UserError: gradient and learning do not go together;
            no level, a level without codes, or a level with as many codes as rows.
    """

    replaces: ClassVar[bool] = False

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        codebook_sizes: Sequence[int],
        alpha: float = 1.0,
        gradient: Estimator = "straight_through",
        init: Init = "table_std",
        learning: Learning = "gradient",
    ) -> None:
        super().__init__()
        check_learning(gradient, learning)
        sizes = [int(k) for k in codebook_sizes]
        if not sizes or min(sizes) < 1 or max(sizes) >= rows:
            raise UserError(f"codebook_sizes {sizes}: at least one level, each of 1 to {rows - 1} codes ({rows} rows)")
        self.rows, self.dim, self.alpha = rows, dim, alpha
        self.gradient, self.init, self.learning = gradient, init, learning
        self.waits = init in WAITS
        self.codebooks = nn.ModuleList(Codebook(k, dim, init=init, learning=learning) for k in sizes)

    @property
    def codebook_sizes(self) -> list[int]:
        return [level.codes for level in self.codebooks]  # type: ignore[misc]

    @torch.no_grad()
    def start(self, table: Table) -> None:
        left = table.weight
        for level in self.codebooks:
            level.start(left)  # type: ignore[operator]
            left = left - level(level.nearest(left))  # type: ignore[operator]
        self.active = True

    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        with torch.no_grad():
            left, codes = vectors, []
            for level in self.codebooks:
                codes.append(level.nearest(left))  # type: ignore[operator]
                left = left - level(codes[-1])
            return torch.cat(codes, dim=-1)

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        levels = [level(codes[..., i : i + 1]) for i, level in enumerate(self.codebooks)]
        return levels[0] if len(levels) == 1 else torch.stack(levels).sum(0)

    def combine(self, vectors: Tensor, quantized: Tensor) -> Tensor:
        return torch.add(vectors, quantized, alpha=self.alpha)

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        left, codes, levels, losses = vectors, [], [], []
        for level in self.codebooks:
            codes.append(level.nearest(left))  # type: ignore[operator]
            levels.append(level(codes[-1]))
            losses.append(torch.stack(pulls(left, levels[-1], 1 / self.dim)))
            left = left - levels[-1].detach()
        codebook, commitment = losses[0] if len(losses) == 1 else torch.stack(losses).sum(0)
        fused = levels[0] if len(levels) == 1 else torch.stack(levels).sum(0)
        return Quantized(ESTIMATORS[self.gradient](vectors, fused), torch.cat(codes, dim=-1), codebook, commitment)

    @torch.no_grad()
    def observe(self, vectors: Tensor, ids: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        left = vectors
        for i, level in enumerate(self.codebooks):
            chosen = codes[:, i : i + 1]
            served = level(chosen)  # before it moves
            level.observe(left, chosen, weights)  # type: ignore[operator]
            left = left - served

    @torch.no_grad()
    def restart(self, table: Table) -> int:
        left, moved = table.weight, 0
        for level in self.codebooks:
            moved += level.restart(left, level.nearest(left))  # type: ignore[operator]
            left = left - level(level.nearest(left))  # type: ignore[operator]
        return moved

    def bits(self) -> int:
        """Codes of every row, ceil(log2 K_i) bits a level, and float32 codebooks."""
        sizes = self.codebook_sizes
        return self.rows * sum(bit_width(k) for k in sizes) + 32 * sum(sizes) * self.dim
