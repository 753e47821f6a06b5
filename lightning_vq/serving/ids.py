"""Original ids and the rows they have in an artifact. Shapes: N entities, M asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_vq.errors import UserError
from lightning_vq.serving.packing import Array


def as_keys(ids: Sequence[object] | Array, numbers: bool) -> Array:
    """Return ids as they are stored: int64, or their text in UTF-8.

    Raises:
        UserError: ids that are not all numbers where the artifact's are.
    """
    if not numbers:
        return np.array([str(one).encode() for one in ids])
    try:
        given = np.asarray(ids)
        whole = given.astype(np.int64)
        same = given.dtype.kind in "US" or bool((whole == given).all())
    except (ValueError, TypeError, OverflowError):
        same = False
    if not same:
        strange = next((one for one in ids if not str(one).lstrip("-").isdigit()), ids)
        raise UserError(f"ids of this artifact are whole numbers, and {strange!r} is none")
    return whole


class Ids:
    """The ids of a vocabulary.

    Args:
        keys: (N,) int64, or bytes of one width, in the artifact's order of rows.
        order: (N,) rows by rising key.
    """

    def __init__(self, keys: Array, order: Array) -> None:
        self.keys, self.order = keys, order

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def numbers(self) -> bool:
        """Whether ids are whole numbers."""
        return self.keys.dtype.kind == "i"

    def rows(self, ids: Sequence[object] | Array) -> Array:
        """Return the rows (M,) int64 of ids, -1 for those that are unknown."""
        wanted = as_keys(ids, self.numbers)
        if not len(wanted) or not len(self):
            return np.full(len(wanted), -1, np.int64)
        # All searches side by side: numpy's searchsorted goes id by id and waits for memory at every step, which takes
        # four times as long among ten million.
        low, high = np.zeros(len(wanted), np.int64), np.full(len(wanted), len(self), np.int64)
        for _ in range(len(self).bit_length()):
            middle = np.minimum((low + high) >> 1, len(self) - 1)
            less, left = self.keys[self.order[middle]] < wanted, low < high
            low, high = np.where(left & less, middle + 1, low), np.where(left & ~less, middle, high)
        at = self.order[np.minimum(low, len(self) - 1)].astype(np.int64)
        return np.where(self.keys[at] == wanted, at, -1)

    def ids(self, rows: Array) -> list[Any]:
        """Return the original ids of rows (M,): numbers, or text."""
        found = self.keys[rows]
        return found.tolist() if self.numbers else [one.decode() for one in found.tolist()]
