"""Vectors of an artifact's tables, in the forms in which they are kept.

Shapes: N rows, D dim, M wanted rows, B queries, S subspaces of W = D / S numbers, K codes of each, R rank.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from lightning_vq.errors import UserError
from lightning_vq.serving.files import Files
from lightning_vq.serving.packing import Array, packed_bytes, unpack


def refuse_other_than(shape: tuple[int | None, ...], **arrays: Array) -> None:
    """Refuse arrays that are not float32, of a shape (None: any length), or not finite.

    Raises:
        ValueError: with the name of the first such array.
    """
    for name, array in arrays.items():
        fits = len(shape) == array.ndim and all(n is None or n == m for n, m in zip(shape, array.shape))
        if array.dtype != np.float32 or not fits:
            raise ValueError(f"{name} of {array.dtype}, {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} with NaN or infinity")


class Vectors(ABC):
    """N vectors of D numbers, in single precision."""

    rows: int
    dim: int

    @abstractmethod
    def take(self, rows: Array | slice) -> Array:
        """Return the vectors (M, D) of rows (M,) int64, or of a slice of step 1."""

    def products(self, queries: Array, part: slice) -> Array:
        """Return the inner products (B, M) of queries (B, D) with the vectors of a slice of rows."""
        made: Array = queries @ self.take(part).T
        return made


class Full(Vectors):
    """Vectors as they are.

    Args:
        table: (N, D) float32.
    """

    def __init__(self, table: Array) -> None:
        if table.dtype != np.float32 or table.ndim != 2:
            raise ValueError(f"vectors of {table.dtype}, {table.shape}")
        self.table, (self.rows, self.dim) = table, table.shape

    def take(self, rows: Array | slice) -> Array:
        return np.asarray(self.table[rows])


class LowRank(Vectors):
    """u_i V.

    Args:
        left: (N, R) float32, the u_i.
        right: (R, D) float32, V.
    """

    def __init__(self, left: Array, right: Array) -> None:
        refuse_other_than((None, None), right=right)
        if left.dtype != np.float32 or left.shape[1:] != right.shape[:1]:
            raise ValueError(f"factors of {left.dtype}, {left.shape} and {right.shape}")
        self.left, self.right = left, right
        self.rows, self.dim = len(left), right.shape[1]

    def take(self, rows: Array | slice) -> Array:
        made: Array = np.asarray(self.left[rows]) @ self.right
        return made

    def products(self, queries: Array, part: slice) -> Array:
        made: Array = (queries @ self.right.T) @ np.asarray(self.left[part]).T
        return made


class Grid(Vectors):
    """low + code * step, a code for every number.

    Args:
        packed: codes (N, D), see `packing.py`.
        bits: of a code.
        rows: N.
        low, step: (D,) float32.
    """

    def __init__(self, packed: Array, bits: int, rows: int, low: Array, step: Array) -> None:
        refuse_other_than((None,), low=low)
        refuse_other_than(low.shape, step=step)
        self.packed, self.bits, self.low, self.step = packed, bits, low, step
        self.rows, self.dim = rows, len(low)

    def take(self, rows: Array | slice) -> Array:
        codes = unpack(self.packed, rows, self.rows, self.dim, self.bits)
        made: Array = self.low + codes * self.step
        return made


class Tier(NamedTuple):
    """Rows that follow each other and share a codebook."""

    first: int
    rows: int
    bits: int
    packed: Array  # codes (rows, S), see packing.py
    book: Array  # (S, K, W) float32


class Codes(Vectors):
    """Product codes, a tier of rows after the other (DPQ has one tier), in a space that may be turned (DQVAE).

    Args:
        tiers: from row 0 to the last.
        rotation: (D, D) float32, or none; vectors are codes' @ rotation^T + mean.
        mean: (D,) float32, with a rotation.
    """

    def __init__(self, tiers: list[Tier], rotation: Array | None = None, mean: Array | None = None) -> None:
        self.tiers, self.rotation, self.mean = tiers, rotation, mean
        self.rows = tiers[-1].first + tiers[-1].rows
        self.dim = tiers[0].book.shape[0] * tiers[0].book.shape[2]
        if any(tier.book.shape[0] * tier.book.shape[2] != self.dim for tier in tiers):
            raise ValueError("codebooks of different widths")
        if rotation is not None and mean is not None:
            refuse_other_than((self.dim, self.dim), rotation=rotation)
            refuse_other_than((self.dim,), mean=mean)
        self._starts = np.array([tier.first for tier in tiers])

    def take(self, rows: Array | slice) -> Array:
        if isinstance(rows, slice):
            parts = [self._decode(tier, inside) for tier, inside in self._overlaps(rows)]
            made = parts[0] if len(parts) == 1 else np.concatenate(parts)
        elif len(self.tiers) == 1:
            made = self._decode(self.tiers[0], rows)
        else:
            made = np.empty((len(rows), self.dim), np.float32)
            of = np.searchsorted(self._starts, rows, side="right") - 1
            for i, tier in enumerate(self.tiers):
                inside = np.flatnonzero(of == i)
                if len(inside):
                    made[inside] = self._decode(tier, rows[inside] - tier.first)
        return made if self.rotation is None else made @ self.rotation.T + self.mean

    def products(self, queries: Array, part: slice) -> Array:
        if len(queries) > self._worth():
            return super().products(queries, part)
        turned, shift = queries, None
        if self.rotation is not None:
            turned, shift = queries @ self.rotation, queries @ self.mean
        parts = [_table_products(turned, tier, inside) for tier, inside in self._overlaps(part)]
        made = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
        return made if shift is None else made + shift[:, None]

    def _worth(self) -> int:
        """Return up to how many queries products come faster from tables than from decoded vectors.

        Decoding gathers D numbers a row and then multiplies fast; tables gather S numbers a row for every query
        (measured: benchmarks/serving.py --products).
        """
        return max(1, 32 // self.tiers[0].book.shape[0])

    def _overlaps(self, part: slice) -> list[tuple[Tier, slice]]:
        """Return each tier that a slice of rows has a share of, and that share, counted from the tier's first row."""
        first, last, _ = part.indices(self.rows)
        found = []
        for tier in self.tiers:
            a, b = max(first, tier.first), min(last, tier.first + tier.rows)
            if a < b or (first == last and tier is self.tiers[0]):
                found.append((tier, slice(a - tier.first, max(a, b) - tier.first)))
        return found

    def _decode(self, tier: Tier, rows: Array | slice) -> Array:
        subspaces, codes, width = tier.book.shape
        found = _codes(tier, rows)
        flat = found + np.arange(0, subspaces * codes, codes)
        made: Array = tier.book.reshape(-1, width).take(flat, axis=0).reshape(len(found), self.dim)
        return made


def _codes(tier: Tier, rows: Array | slice) -> Array:
    """Return the codes (M, S) of rows of a tier.

    Raises:
        UserError: one that its codebook does not have; looked for where it is used, as all of them are too many.
    """
    subspaces, codes, _ = tier.book.shape
    found = unpack(tier.packed, rows, tier.rows, subspaces, tier.bits)
    if 1 << tier.bits > codes and found.size and found.max() >= codes:
        raise UserError(f"the artifact is broken: code {found.max()} in a codebook of {codes}")
    return found


def _table_products(queries: Array, tier: Tier, part: slice) -> Array:
    """Return the products (B, M): for each query a table (S, K) of its products with all codes, then S sums a row."""
    subspaces, _, width = tier.book.shape
    codes = np.ascontiguousarray(_codes(tier, part).T)  # (S, M)
    made = np.zeros((len(queries), codes.shape[1]), np.float32)
    for query, row in zip(queries.reshape(len(queries), subspaces, width), made):
        for table, of in zip(np.einsum("skw,sw->sk", tier.book, query), codes):
            row += table.take(of)
    return made


def read_vectors(files: Files, told: dict[str, Any], weights: dict[str, Array]) -> Vectors:
    """Return the vectors of a table.

    Args:
        files: of the artifact.
        told: of the table, by the manifest.
        weights: small arrays by name.
    """
    if told["kind"] == "full":
        return Full(files.array(told["file"]))
    if told["kind"] == "low_rank":
        return LowRank(files.array(told["file"]), weights[told["right"]])
    if told["kind"] == "grid":
        low, rows, bits = weights[told["low"]], told["rows"], told["bits"]
        return Grid(_packed(files, told["file"], rows, len(low), bits), bits, rows, low, weights[told["step"]])
    first, tiers = 0, []
    for one in told["tiers"]:
        book = weights[one["book"]]
        refuse_other_than((None, None, None), codebook=book)
        subspaces, codes, _ = book.shape
        if 1 << one["bits"] >= 2 * codes:  # fewer bits have the tail of a shared codebook
            raise ValueError(f"codes of {one['bits']} bits of {codes}")
        packed = _packed(files, one["file"], one["rows"], subspaces, one["bits"])
        tiers.append(Tier(first, one["rows"], one["bits"], packed, book))
        first += one["rows"]
    turned = (weights[told["rotation"]], weights[told["mean"]]) if told.get("rotation") else (None, None)
    return Codes(tiers, *turned)


def _packed(files: Files, name: str, rows: int, width: int, bits: int) -> Array:
    """Return packed codes (N, S) that are as many as they are said to be."""
    if type(rows) is not int:
        raise ValueError(f"{name} of {rows!r} rows")
    found, expected = files.array(name), packed_bytes(rows, width, bits)
    if found.shape != (expected,) or found.dtype != np.uint8:
        raise ValueError(f"{name} has {found.nbytes} bytes, and {rows} x {width} codes of {bits} bits take {expected}")
    return found
