"""The best of scores that come in blocks. Shapes: B users, M items of a block, k best."""

import numpy as np

from lightning_vq.serving.packing import Array


class Best:
    """The k best items so far, best first, of equal ones the earlier row; of several that equal the k-th, any.

    Args:
        users: B.
        k: how many.
    """

    def __init__(self, users: int, k: int) -> None:
        self.k = k
        self.values = np.full((users, k), -np.inf, np.float32)
        self.items = np.full((users, k), -1, np.int64)

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
