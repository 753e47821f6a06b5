"""The best of scores that come in blocks. Shapes: B queries, M items of a block, k best."""

from typing import Any

import numpy as np

from lightning_vq.serving.packing import Array
from lightning_vq.serving.scoring import Scoring

BLOCK = 1 << 16  # items that are scored at a time


class Best:
    """The k best items so far, best first, of equal ones the earlier row; of several that equal the k-th, any.

    Args:
        queries: B.
        k: how many.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.values = np.full((queries, k), -np.inf, np.float32)
        self.items = np.full((queries, k), -1, np.int64)

    def take(self, scores: Array, first: int) -> None:
        """Take in scores (B, M) of the rows from `first` on."""
        size = scores.shape[1]
        if size > self.k:
            items = np.argpartition(scores, size - self.k, axis=1)[:, size - self.k :]
            items.sort(axis=1)
            scores = np.take_along_axis(scores, items, 1)
        else:
            items = np.broadcast_to(np.arange(size), scores.shape)
        values = np.concatenate([self.values, scores], 1)
        rows = np.concatenate([self.items, items + first], 1)
        order = np.argsort(-values, axis=1, kind="stable")[:, : self.k]
        self.values, self.items = np.take_along_axis(values, order, 1), np.take_along_axis(rows, order, 1)


def best_of(
    scoring: Scoring,
    queries: Any,
    count: int,
    k: int,
    seen: tuple[Array, Array] | None,
    left_out: Array | None,
) -> tuple[Array, Array]:
    """Return the rows (B, k) of each query's best items, and their scores; -inf where fewer are left.

    Args:
        scoring: of items.
        queries: as it wants them.
        count: how many there are (B).
        k: how many items.
        seen: numbers of queries (E,) and rows of items (E,) that these leave out, or none.
        left_out: rows of items that all leave out, or none.
    """
    best = Best(count, min(k, scoring.items))
    for first in range(0, scoring.items, BLOCK):
        part = slice(first, min(first + BLOCK, scoring.items))
        found = scoring.scores(queries, part)
        if seen is not None:
            owners, items = seen
            inside = (items >= part.start) & (items < part.stop)
            found[owners[inside], items[inside] - first] = -np.inf
        if left_out is not None:
            found[:, left_out[(left_out >= part.start) & (left_out < part.stop)] - first] = -np.inf
        best.take(found, first)
    return best.items, best.values


def depth_by_depth(items: Array, values: Array, k: int) -> tuple[Array, Array]:
    """Return the first k items of several positions (P, K), and their values: all first choices, then all second ones.

    >>> depth_by_depth(np.array([[4, 7], [4, 9]]), np.array([[0.9, 0.5], [0.8, 0.1]]), 3)
    (array([4, 7, 9]), array([0.9, 0.5, 0.1]))
    """
    in_turn = items.T.reshape(-1)
    firsts = np.sort(np.unique(in_turn, return_index=True)[1])[:k]  # without repeats
    return in_turn[firsts], values.T.reshape(-1)[firsts]
