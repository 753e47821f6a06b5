"""A codebook: search, lookup, and the calls of the parts that start, learn and restart it.

Shapes: N entities, K codes, S subspaces of width W = D / S (1 for an ordinary codebook), (...) any shape of rows.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_vq.errors import UserError
from lightning_vq.quantizers.average import MovingAverage
from lightning_vq.quantizers.initial import Init, first_codes
from lightning_vq.quantizers.restart import restart
from lightning_vq.quantizers.search import nearest_code, nearest_codes

Learning = Literal["gradient", "ema"]
DECAY = 0.99  # of the moving average, as van den Oord et al. 2017


def check_learning(gradient: str, learning: str) -> None:
    """Refuse a task's gradient to codes that no gradient moves.

    Raises:
        UserError: learning is "ema" and the estimator sends the gradient to the code.
    """
    if learning == "ema" and gradient in ("codebook", "both"):
        raise UserError(f"gradient {gradient!r} moves the codes, which learning 'ema' moves by averages: choose one")


class Codebook(nn.Module):
    """K codes in each of S subspaces.

    Args:
        codes: K.
        dim: D.
        subspaces: S, a divisor of D.
        init: see `initial.py`.
        learning: "gradient": a parameter that the losses move; "ema": a moving average, see `average.py`.
    """

    def __init__(
        self, codes: int, dim: int, *, subspaces: int = 1, init: Init = "table_std", learning: Learning = "gradient"
    ) -> None:
        super().__init__()
        if codes < 1:
            raise UserError(f"a codebook has {codes} codes; it must have at least 1")
        if subspaces < 1 or dim % subspaces:
            divisors = [s for s in range(1, dim + 1) if dim % s == 0]
            raise UserError(f"{subspaces} subspaces do not divide dim {dim}; possible are {divisors}")
        if learning not in ("gradient", "ema"):
            raise UserError(f"learning is {learning!r}; it must be 'gradient' or 'ema'")
        self.init = init
        self.weight = nn.Parameter(torch.zeros(subspaces, codes, dim // subspaces), learning == "gradient")
        self.average = MovingAverage(subspaces * codes, dim // subspaces, DECAY) if learning == "ema" else None

    @property
    def subspaces(self) -> int:
        return self.weight.shape[0]

    @property
    def codes(self) -> int:
        return self.weight.shape[1]

    @property
    def book(self) -> Tensor:
        """The codes (K, D) of a codebook of one subspace."""
        return self.weight[0]

    def forward(self, codes: Tensor) -> Tensor:
        """Return the code vectors (..., D) of codes (..., S)."""
        s, k, w = self.weight.shape
        return self.weight.view(s * k, w).index_select(0, self._flat(codes)).view(*codes.shape[:-1], s * w)

    def nearest(self, vectors: Tensor, limit: int | None = None) -> Tensor:
        """Return the nearest codes (..., S) of vectors (..., D), among the first `limit` codes where one is given."""
        s, _, w = self.weight.shape
        weight = self.weight[:, :limit]
        if s == 1:
            return nearest_code(vectors, weight[0])[..., None]
        return nearest_codes(vectors.unflatten(-1, (s, w)), weight)

    @torch.no_grad()
    def start(self, vectors: Tensor, weights: Tensor | None = None, among: slice = slice(None)) -> None:
        """Set the first codes, all or `among` them, from vectors (N, D) that stand for `weights` (N,) entities each."""
        if not torch.isfinite(vectors).all():
            raise UserError("a table to be quantized holds NaN or infinity")
        for book, part in zip(self.weight[:, among], self._parts(vectors)):
            book.copy_(first_codes(self.init, part, len(book), weights))
        if self.average is not None:
            self.average.start(self.weight.view(-1, self.weight.shape[2]))

    @torch.no_grad()
    def observe(self, vectors: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        """Learn from vectors (N, D) that chose codes (N, S), `weights` (N,) times each; by gradient: nothing."""
        if self.average is None:
            return
        s, k, w = self.weight.shape
        weights = torch.ones(len(vectors), device=vectors.device) if weights is None else weights
        rows = vectors.reshape(-1, w)  # row-major: the parts of one vector follow each other
        self.average.update(self.weight.view(s * k, w), rows, self._flat(codes), weights.repeat_interleave(s))

    @torch.no_grad()
    def restart(self, vectors: Tensor, codes: Tensor, weights: Tensor | None = None, among: slice = slice(None)) -> int:
        """Move unused codes, all or `among` them, to vectors (N, D) far from theirs (N, S); return how many moved."""
        k, moved = self.codes, 0
        for s, (book, part) in enumerate(zip(self.weight, self._parts(vectors))):
            rows = restart(book, part, codes[:, s], weights, among)
            if self.average is not None:
                self.average.start(self.weight.view(-1, self.weight.shape[2]), rows + s * k)
            moved += len(rows)
        return moved

    def _parts(self, vectors: Tensor) -> Tensor:
        """Return vectors (N, D) as (S, N, W)."""
        return vectors.unflatten(-1, (self.subspaces, -1)).transpose(0, 1)

    def _flat(self, codes: Tensor) -> Tensor:
        """Return codes (..., S) as rows of the codebooks laid one after the other, (... * S,)."""
        if self.subspaces == 1:
            return codes.reshape(-1)
        return (codes + torch.arange(self.subspaces, device=codes.device) * self.codes).reshape(-1)
