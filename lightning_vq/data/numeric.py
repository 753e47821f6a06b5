"""Numeric columns, fitted on training rows: standardised, or cut into buckets of as many training values each.

Shapes: E rows, M standardised columns, K bucketed ones.
"""

from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from lightning_vq.data.splits import TRAIN
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.schema import Schema

SAMPLED = 1 << 20  # training values, evenly spaced, that buckets are cut by


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
            column = values[:, i][part_of == TRAIN]
            column = column[~np.isnan(column)]
            if name in schema.standardised:
                deviation = float(column.std()) if len(column) and np.ptp(column) else 0.0  # rounding is none
                moments[name] = (float(column.mean()) if len(column) else 0.0, deviation or 1.0)
            else:
                some = column[:: -(-len(column) // SAMPLED)] if len(column) else np.zeros(1)
                shares = np.arange(1, schema.bucketed[name]) / schema.bucketed[name]
                found = np.unique(np.quantile(some, shares, method="higher"))
                edges[name] = found[found > some.min()]  # no bucket below all training values
                counts[name] = np.bincount(
                    np.searchsorted(edges[name], column, "right"), minlength=len(edges[name]) + 1
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
