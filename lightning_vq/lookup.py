"""One step's view of the id tables, through their quantizers.

A backbone never holds an `nn.Embedding` for an id: it asks the lookup, so that no score path can go around the
quantizer. Shapes: N rows, D dim, (...) ids of any shape, L levels.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from lightning_vq.quantizers.base import Quantizer
from lightning_vq.sharding import is_sharded, sharded_rows, whole

T = TypeVar("T")


def rows_of(table: Tensor, ids: Tensor) -> Tensor:
    """Return rows (..., D) of a table (N, D); on CPU its backward takes a third of `embedding`'s time."""
    if is_sharded(table):
        return sharded_rows(table, ids)
    return table.index_select(0, ids.reshape(-1)).view(*ids.shape, table.shape[1])


class _MeanOf(torch.autograd.Function):
    """Means of bags of rows; on CPU forward and backward take less than half of `embedding_bag`'s time.

    Its backward is a bag as well: a row of the table sums the gradients of the bags that it is in.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        ctx.save_for_backward(rows, counts)
        ctx.length = len(table)
        return embedding_bag(rows, table, counts.cumsum(0) - counts, mode="mean")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, counts = ctx.saved_tensors
        shares = gradient / counts.clamp_min(1)[:, None]
        order = torch.argsort(rows, stable=True)  # stable: the same sums in every run
        bags = torch.arange(len(counts), dtype=rows.dtype).repeat_interleave(counts)[order]
        met = torch.bincount(rows, minlength=ctx.length)
        starts = (met.cumsum(0) - met).to(rows.dtype)
        return embedding_bag(bags, shares, starts, mode="sum"), None, None


def mean_of(table: Tensor, rows: Tensor) -> Tensor:
    """Return the mean (M, D) of rows (M, T) of a table (N, D) that are not -1; zeros where all are."""
    there = rows >= 0
    counts = there.sum(1)
    if table.device.type == "cpu" and table.requires_grad:
        return _MeanOf.apply(table, rows[there].int(), counts.int())
    return embedding_bag(rows[there].long(), table, counts.cumsum(0) - counts, mode="mean")


class Categories(NamedTuple):
    """What is known of a table's entities, added to their vectors: e' = e + mean of its categories' (CAGE eq. 20)."""

    vectors: Tensor  # (C, D) of categories
    of: Tensor  # (N, W) int64 rows of them, -1 after the last
    after: bool  # the quantizer's output gets them, not its input

    def mean(self, ids: Tensor) -> Tensor:
        """Return the mean (M, D) of the categories of ids (M,); zeros for an entity of none."""
        rows = self.of.index_select(0, ids)  # (M, W)
        there = (rows >= 0).unsqueeze(2)
        found = rows_of(self.vectors, rows.clamp_min(0)) * there
        return found.sum(1) / there.sum(1).clamp_min(1)


class Lookup:
    """Vectors of tables for one training step, or for one evaluation epoch under no_grad.

    Within a call each distinct id is searched once and its losses are weighted by its occurrences; the losses of
    several calls are averaged by rows. `all` takes the whole table with equal weights.
    """

    def __init__(
        self,
        tables: Mapping[str, Tensor],
        quantizers: Mapping[str, Quantizer],
        outside: Mapping[str, Tensor] = MappingProxyType({}),
        categories: Mapping[str, Categories] = MappingProxyType({}),
    ) -> None:
        self._tables, self._quantizers, self._outside, self._categories = tables, quantizers, outside, categories
        self._whole: dict[str, Tensor] = {}
        self._once: dict[str, object] = {}
        self._losses: dict[str, list[tuple[Tensor, Tensor, int]]] = {}

    def __call__(self, name: str, ids: Tensor) -> Tensor:
        """Return the vectors (..., D) of ids (...); from N on those of the rows outside, never quantized."""
        if name not in self._outside:
            return self._inside(name, ids)
        rows = self._quantizers[name].rows if name in self._quantizers else len(self._tables[name])
        flat = ids.reshape(-1)
        strange = flat >= rows
        if not strange.any():
            return self._inside(name, ids)
        order = torch.argsort(strange.byte(), stable=True)  # the known ones first
        known = len(flat) - int(strange.sum())
        parts = (order[:known], order[known:])
        vectors = torch.cat([self._inside(name, flat[parts[0]]), rows_of(self._outside[name], flat[parts[1]] - rows)])
        places = torch.empty_like(order)
        places[order] = torch.arange(len(order), device=order.device)
        return rows_of(vectors, places).view(*ids.shape, vectors.shape[1])

    def padded(self, name: str, ids: Tensor) -> Tensor:
        """Return the vectors (B, T, D) of ids (B, T), zeros for padding (-1), which is not looked up."""
        flat = ids.reshape(-1)
        places = (flat >= 0).nonzero()[:, 0]
        if len(places) == len(flat):
            return self(name, ids)
        vectors = self(name, flat[places])
        whole = vectors.new_zeros(len(flat), vectors.shape[1]).index_copy(0, places, vectors)
        return whole.view(*ids.shape, -1)

    def mean(self, name: str, ids: Tensor) -> Tensor:
        """Return the mean (M, D) of the vectors of ids (M, T) that are not -1; zeros where all are."""
        if not self._quantized(name) and name not in self._categories and not is_sharded(self._tables[name]):
            return mean_of(self._tables[name], ids)
        there = ids >= 0
        vectors = self(name, ids[there].long())
        places = there.flatten().long().cumsum(0).view(ids.shape) - 1
        return mean_of(vectors, torch.where(there, places, -1))

    def _inside(self, name: str, ids: Tensor) -> Tensor:
        if name in self._whole:
            return rows_of(self._whole[name], ids)
        if not self._quantized(name) or not ids.numel():
            return self._plain(name, ids)
        distinct, inverse, occurrences = torch.unique(ids, return_inverse=True, return_counts=True)
        return rows_of(self._quantize(name, distinct, occurrences), inverse)

    def all(self, name: str) -> Tensor:
        """Return the whole table (N, D), quantized once per step; call it before any `look(name, ids)`."""
        if name not in self._whole:
            if name in self._losses:
                raise RuntimeError(f"look.all({name!r}) must come before look({name!r}, ids) in a step")
            if self._quantized(name):
                self._whole[name] = self._quantize(name, self.rows(name), None)
            else:
                known = self._categories.get(name)
                table = whole(self._tables[name])
                every = torch.arange(len(table), device=table.device)
                self._whole[name] = table if known is None else table + known.mean(every)
        return self._whole[name]

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Return what `make` returned when `key` was first asked for in this step (a graph's propagation)."""
        if key not in self._once:
            self._once[key] = make()
        return self._once[key]  # type: ignore[return-value]

    def rows(self, name: str) -> Tensor:
        """Return the ids (N,) of every row of a quantized table."""
        return torch.arange(self._quantizers[name].rows, device=self._tables[name].device)

    def codes(self, name: str, ids: Tensor) -> Tensor:
        """Return the codes (..., L) of ids (...); no gradient, no loss."""
        return self._quantizers[name].encode(self.raw(name, ids), ids)

    def all_codes(self, name: str) -> Tensor:
        """Return the codes (N, L) of every row of a quantized table."""
        return self.codes(name, self.rows(name))

    def losses(self, name: str) -> tuple[Tensor, Tensor]:
        """Return (codebook, commitment) loss of a quantized table, means over all rows looked up in this step."""
        calls = self._losses.get(name)
        if not calls:  # an idle quantizer still takes part in the graph: DDP waits for all of its parameters
            nothing = torch.zeros((), device=self._tables[name].device)
            for parameter in self._quantizers[name].parameters():
                nothing = nothing + 0.0 * parameter.sum()
            return nothing, nothing
        rows = sum(n for _, _, n in calls)
        return sum(c for c, _, _ in calls) / rows, sum(m for _, m, _ in calls) / rows  # type: ignore[return-value]

    def _quantized(self, name: str) -> bool:
        return name in self._quantizers and self._quantizers[name].active

    def raw(self, name: str, ids: Tensor) -> Tensor:
        """Return what the quantizer of a table is given of ids (M,): vectors (M, D)."""
        table = self._tables[name]
        if self._quantizers[name].keeps_table:
            after = name in self._categories and self._categories[name].after
            return rows_of(table, ids) if after else self._plain(name, ids)
        return table.new_zeros(*ids.shape, table.shape[1])  # the table is dropped, and nobody reads this

    def _plain(self, name: str, ids: Tensor) -> Tensor:
        """Return rows (..., D) of a table, with what is known of them."""
        rows, known = rows_of(self._tables[name], ids), self._categories.get(name)
        return rows if known is None else rows + known.mean(ids.reshape(-1)).view(rows.shape)

    def _quantize(self, name: str, ids: Tensor, weights: Tensor | None) -> Tensor:
        quantizer, vectors = self._quantizers[name], self.raw(name, ids)
        made = quantizer(vectors, ids)
        if torch.is_grad_enabled():
            if quantizer.training:
                quantizer.observe(vectors.detach(), ids, made.codes, weights)
            codebook, commitment, rows = made.codebook, made.commitment, len(ids)
            if weights is not None:
                codebook, commitment, rows = codebook * weights, commitment * weights, int(weights.sum())
            self._losses.setdefault(name, []).append((codebook.sum(), commitment.sum(), rows))
        whole = quantizer.combine(vectors, made.vectors)
        known = self._categories.get(name)
        return whole + known.mean(ids) if known is not None and known.after else whole
