"""Numeric columns, fitted on training rows: standardised, or cut into buckets of as many training values each.

Shapes: E rows, M standardised columns, K bucketed ones.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from lightning_vq.data.arrays import chunks
from lightning_vq.data.splits import TRAIN
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.schema import Schema

SAMPLED = 1 << 20  # training values, evenly spaced, that buckets are cut by


class _Trained:
    """A column's training values that are not missing, some rows at a time: the table may be larger than memory."""

    def __init__(self, values: Array, part_of: Array, place: int) -> None:
        self.values, self.part_of, self.place = values, part_of, place
        self.count = sum(len(part) for part in self.parts())

    def parts(self) -> Iterator[Array]:
        for rows in chunks(len(self.part_of)):
            some = self.values[rows, self.place][self.part_of[rows] == TRAIN]
            yield some[~np.isnan(some)]

    def moments(self) -> tuple[float, float]:
        """Return mean and deviation; 0 and 1 of no values, 1 for the deviation of equal ones."""
        if not self.count:
            return 0.0, 1.0
        ends = [(some.sum(), some.min(), some.max()) for some in self.parts() if len(some)]  # a few numbers a part
        sums, least, most = zip(*ends)
        mean = float(sum(sums)) / self.count
        squares = sum(float(((some - mean) ** 2).sum()) for some in self.parts())
        return mean, (squares / self.count) ** 0.5 if min(least) < max(most) else 1.0  # rounding is no deviation

    def edges(self, buckets: int) -> Array:
        """Return what divides the values into so many buckets of as many, or fewer where values are equal."""
        step, seen, found = max(1, -(-self.count // SAMPLED)), 0, [np.zeros(0 if self.count else 1)]
        for some in self.parts():
            found.append(some[-seen % step :: step])
            seen += len(some)
        sample = np.concatenate(found)
        cuts = np.unique(np.quantile(sample, np.arange(1, buckets) / buckets, method="higher"))
        return cuts[cuts > sample.min()]  # no bucket below all training values


class Numeric(NamedTuple):
    """What training tells of numeric columns."""

    moments: dict[str, tuple[float, float]]  # mean and deviation of each standardised column
    edges: dict[str, Array]  # between the buckets of each bucketed one, rising
    counts: dict[str, Array]  # training rows in each bucket

    @classmethod
    def fitted(cls, schema: Schema, values: Array, part_of: Array) -> Self:
        """Fit on training rows.

        Args:
            schema: which columns there are.
            values: (E, M + K) with NaN for what is missing.
            part_of: (E,).
        """
        moments, edges, counts = {}, {}, {}
        for i, name in enumerate([*schema.standardised, *schema.bucketed]):
            column = _Trained(values, part_of, i)
            if name in schema.standardised:
                moments[name] = column.moments()
            else:
                edges[name] = column.edges(schema.bucketed[name])
                counts[name] = sum(
                    (
                        np.bincount(np.searchsorted(edges[name], some, "right"), minlength=len(edges[name]) + 1)
                        for some in column.parts()
                    ),
                    np.zeros(len(edges[name]) + 1, np.int64),
                )
        return cls(moments, edges, counts)

    def encoded(self, values: Array) -> tuple[Array, Array]:
        """Return standardised values (E, M), 0 where missing, and buckets (E, K), past the last where missing."""
        means, deviations = (np.array([pair[i] for pair in self.moments.values()]) for i in (0, 1))
        size = len(self.moments)
        standard = np.nan_to_num((values[:, :size] - means) / deviations) if size else values[:, :0]
        buckets = np.empty((len(values), len(self.edges)), np.int32)
        for i, edges in enumerate(self.edges.values()):
            column = values[:, size + i]
            buckets[:, i] = np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column, "right"))
        return standard, buckets

    def vocabularies(self) -> dict[str, pa.Array]:
        """Return the buckets of each bucketed column as text: "[18, 25)"."""
        named = {}
        for name, edges in self.edges.items():
            ends = ["-inf", *(np.format_float_positional(edge, trim="-") for edge in edges), "inf"]
            named[name] = pa.array([f"[{a}, {b})" for a, b in pairwise(ends)])
        return named
