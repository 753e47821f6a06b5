"""Multi-granular quantized embeddings: entities that are seen often have finer codes.

Kang et al., "Learning Multi-granular Quantized Embeddings for Large-Vocab Categorical Features in Recommender
Systems", WWW Companion 2020, section 4. Tiers come from training frequency, the head first:

- shared, fewer centroids: all tiers share one codebook, tier t searches its first K_t centroids;
- unshared, fewer centroids: each tier has a codebook of K_t centroids of its own;
- unshared, fewer subspaces: each tier has a codebook of D_t subspaces.

Rows are quantized a tier at a time, never one by one. Shapes: N rows, D dim, S_t subspaces and K_t centroids of tier
t, L = max S_t columns of codes (a tier with fewer leaves 0 in the rest), (...) any shape of ids.
"""

from collections.abc import Sequence
from itertools import pairwise
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


class MGQE(Quantizer):
    """Product codes whose size depends on how often an entity occurs.

    Args:
        rows: entities of the table (N).
        dim: width of its vectors (D).
        shares: share of the entities in each tier, most frequent first; they sum to 1.
        centroids: K_t of each tier.
        subspaces: S_t of each tier, divisors of dim.
        shared: one codebook for all tiers; all S_t must be equal, and the head has the most centroids.
        gradient: where the task's gradient goes, see `estimators.py`.
        init: where centroids start, see `initial.py`; "kmeans" waits for the callback's warm-up.
        learning: "gradient" or "ema".

    Raises:
        UserError: gradient and learning do not go together;
            lists of different lengths, shares that do not sum to 1, a shared codebook with unequal subspaces
            or with more centroids in a tail than in the head.
    """

    default_beta: ClassVar[float] = 0.0
    tiers: Tensor

    def __init__(
        self,
        rows: int,
        dim: int,
        *,
        shares: Sequence[float] = (0.1, 0.9),
        centroids: Sequence[int] = (256, 64),
        subspaces: Sequence[int] = (64, 64),
        shared: bool = True,
        gradient: Estimator = "straight_through",
        init: Init = "table_std",
        learning: Learning = "gradient",
    ) -> None:
        super().__init__()
        check_learning(gradient, learning)
        lists = {"shares": list(shares), "centroids": list(centroids), "subspaces": list(subspaces)}
        if not len(shares) == len(centroids) == len(subspaces) or not shares:
            raise UserError(f"{lists}: one value for each tier in all three")
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise UserError(f"shares {list(shares)} must be positive and sum to 1, not to {sum(shares):g}")
        if min(centroids) < 1 or min(subspaces) < 1:
            raise UserError(f"{lists}: centroids and subspaces must be at least 1 in every tier")
        if shared and len(set(subspaces)) > 1:
            raise UserError(f"{lists}: a shared codebook needs equal subspaces; else shared=false")
        if shared and max(centroids) > centroids[0]:
            raise UserError(f"{lists}: a shared codebook needs the most centroids in the head; else shared=false")
        self.rows, self.dim, self.shared = rows, dim, shared
        self.shares, self.centroids, self.subspaces = list(shares), list(centroids), list(subspaces)
        self.gradient, self.init, self.learning = gradient, init, learning
        self.waits = init in WAITS
        tiers = range(1 if shared else len(self.shares))
        self.codebooks = nn.ModuleList(
            Codebook(centroids[t], dim, subspaces=subspaces[t], init=init, learning=learning) for t in tiers
        )
        if init in WAITS:
            for n, k in zip(self.sizes(), centroids):
                if k > n and not shared:
                    raise UserError(f"init {init!r} needs as many rows as centroids; a tier has {n} and {k}")
        self.register_buffer("tiers", torch.zeros(rows, dtype=torch.uint8))

    @property
    def codebook_sizes(self) -> list[int]:
        most = max(self.subspaces)
        return [max(k for k, s in zip(self.centroids, self.subspaces) if s > i) for i in range(most)]

    def sizes(self) -> list[int]:
        """Return how many entities each tier has; the tail takes what rounding leaves."""
        borders = [round(self.rows * sum(self.shares[: t + 1])) for t in range(len(self.shares) - 1)]
        borders = [0, *borders, self.rows]
        return [b - a for a, b in pairwise(borders)]

    @torch.no_grad()
    def start(self, table: Table) -> None:
        """Sort entities into tiers by count, ties by lower id first, and start each codebook from its entities."""
        if table.counts is None:
            raise UserError("MGQE sorts entities into tiers by training counts: Table needs `counts`")
        order = table.counts.argsort(descending=True, stable=True)
        tiers = torch.repeat_interleave(torch.tensor(self.sizes()))
        self.tiers[order] = tiers.to(self.tiers)
        for t, inside, among in self._choices():
            self._book(t).start(table.weight[inside], among=among)
        self.active = True

    def encode(self, vectors: Tensor, ids: Tensor) -> Tensor:
        codes = torch.zeros(*ids.shape, max(self.subspaces), dtype=torch.int64, device=ids.device)
        for t, inside in self._groups(ids):
            codes[inside] = nn.functional.pad(
                self._book(t).nearest(vectors[inside], self.centroids[t]),
                (0, max(self.subspaces) - self.subspaces[t]),
            )
        return codes

    def decode(self, codes: Tensor, ids: Tensor) -> Tensor:
        if self.shared:
            return self._book(0)(codes)
        parts = self._groups(ids)
        found = [self._book(t)(codes[inside][..., : self.subspaces[t]]) for t, inside in parts]
        return _assembled(found, [inside for _, inside in parts], ids)

    def forward(self, vectors: Tensor, ids: Tensor) -> Quantized:
        codes = self.encode(vectors.detach(), ids)
        found = self.decode(codes, ids)
        return Quantized(ESTIMATORS[self.gradient](vectors, found), codes, *pulls(vectors, found, 1 / self.dim))

    def observe(self, vectors: Tensor, ids: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        if self.shared:
            self._book(0).observe(vectors, codes, weights)
            return
        for t, inside in self._groups(ids):
            of_tier = None if weights is None else weights[inside]
            self._book(t).observe(vectors[inside], codes[inside][:, : self.subspaces[t]], of_tier)

    @torch.no_grad()
    def restart(self, table: Table) -> int:
        moved = 0
        for t, inside, among in self._choices():
            ids = inside.nonzero().squeeze(1)
            codes = self.encode(table.weight[ids], ids)[:, : self.subspaces[t]]
            moved += self._book(t).restart(table.weight[ids], codes, among=among)
        return moved

    def codebook_uses(self, codes: Tensor) -> list[tuple[Tensor, Tensor, int]]:
        if self.shared:
            return super().codebook_uses(codes)
        uses = []
        for t, inside, _ in self._choices():
            rows = inside.nonzero().squeeze(1)
            uses += [(rows, codes[rows, i], self.centroids[t]) for i in range(self.subspaces[t])]
        return uses

    def bits(self) -> int:
        """sum_t |V_t| * S_t * ceil(log2 K_t) for the codes and 32 * d * K of each codebook.

        Tiers cost nothing where ids are stored in order of frequency, as the paper has them.
        """
        tiers = zip(self.sizes(), self.subspaces, self.centroids)
        codes = sum(n * s * bit_width(k) for n, s, k in tiers)
        books = 32 * self.dim * sum(book.codes for book in self.codebooks)  # type: ignore[misc]
        return codes + books

    def _choices(self) -> list[tuple[int, Tensor, slice]]:
        """Return (tier, mask (N,) of the rows that may choose them, codes) such that every code stands in one.

        In a shared codebook all rows choose from the codes that the smallest tail has, the head alone from the last.
        """
        if not self.shared:
            return [(t, self.tiers == t, slice(None)) for t in range(len(self.shares))]
        borders = [0, *sorted(set(self.centroids))]
        most = torch.tensor(self.centroids, device=self.tiers.device)[self.tiers.long()]  # (N,)
        return [(0, most >= last, slice(first, last)) for first, last in pairwise(borders)]

    def _book(self, tier: int) -> Codebook:
        return self.codebooks[0 if self.shared else tier]  # type: ignore[return-value]

    def _groups(self, ids: Tensor) -> list[tuple[int, Tensor]]:
        """Return (tier, mask (...)) of ids (...), for every tier, empty ones too: ranks must agree on collectives."""
        tiers = self.tiers[ids]
        return [(t, tiers == t) for t in range(len(self.shares))]


def _assembled(parts: list[Tensor], masks: list[Tensor], ids: Tensor) -> Tensor:
    """Return rows (..., D) from the rows of each tier, by one gather that keeps the gradient."""
    place = torch.empty(ids.numel(), dtype=torch.int64, device=ids.device)
    rows = torch.cat([mask.reshape(-1).nonzero().squeeze(1) for mask in masks])
    place[rows] = torch.arange(len(rows), device=ids.device)
    whole = torch.cat(parts)
    return whole.index_select(0, place).view(*ids.shape, whole.shape[1])
