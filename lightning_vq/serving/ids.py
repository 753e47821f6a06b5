"""Original ids and the rows they have in an artifact. Shapes: N entities, M asked for."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightning_vq.errors import UserError
from lightning_vq.serving.packing import Array

WHOLE = re.compile(r"-?[1-9][0-9]*|0")  # a whole number as its text: what else looks like one is another id
LARGEST = 2**63 - 1


def as_keys(ids: Sequence[object] | Array, numbers: bool) -> tuple[Array, Array]:
    """Return ids (M,) as they are stored, int64 or their text in UTF-8, and which of them (M,) can be stored so.

    Of a vocabulary of whole numbers those are numbers of 64 bits, also as floats (a column with a gap), and their
    texts; "007" and "7.0" are none. Of texts all but those that end with a null byte.

    Raises:
        UserError: one id, or a table of them, in the place of several.
    """
    if isinstance(ids, str | bytes) or not hasattr(ids, "__len__"):
        raise UserError(f"{ids!r} is one id where several are asked for: [{ids!r}]")
    if isinstance(ids, np.ndarray) and ids.ndim != 1:
        raise UserError(f"ids of shape {ids.shape} where a list of them is asked for")
    if numbers and isinstance(ids, np.ndarray) and ids.dtype.kind == "i":
        return ids.astype(np.int64), np.ones(len(ids), bool)
    if numbers:
        found = [_number(one) for one in ids]
        return np.array([one or 0 for one in found], np.int64), np.array([one is not None for one in found], bool)
    texts = [str(one).encode(errors="surrogatepass") for one in ids]  # which no text in UTF-8 equals
    return np.array(texts), np.array([not text.endswith(b"\0") for text in texts], bool)


def _number(one: object) -> int | None:
    """Return the whole number of 64 bits that an id is, or None."""
    if isinstance(one, str | np.str_):
        value = int(one) if len(one) < 20 and WHOLE.fullmatch(one) else None
    elif isinstance(one, float | np.floating):
        value = int(one) if one.is_integer() else None
    else:
        value = int(one) if isinstance(one, int | np.integer) and not isinstance(one, bool) else None
    return value if value is not None and -LARGEST - 1 <= value <= LARGEST else None


class Ids:
    """The ids of a vocabulary.

    Args:
        keys: (N,) int64, or bytes of one width, in the artifact's order of rows.
        order: (N,) rows by rising key.
    """

    def __init__(self, keys: Array, order: Array) -> None:
        if (keys.ndim, order.ndim, order.dtype.kind) != (1, 1, "i") or keys.dtype.kind not in "iS":
            raise ValueError(f"ids of {keys.dtype}, {keys.shape}, in an order of {order.dtype}, {order.shape}")
        if len(keys) != len(order) or (len(order) and not 0 <= order.min() <= order.max() < len(keys)):
            raise ValueError(f"{len(keys)} ids whose order is of others")
        self.keys, self.order = keys, order

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def numbers(self) -> bool:
        """Whether ids are whole numbers."""
        return self.keys.dtype.kind == "i"

    def rows(self, ids: Sequence[object] | Array) -> Array:
        """Return the rows (M,) int64 of ids, -1 for those that are unknown.

        Raises:
            UserError: one text in the place of several ids.
        """
        wanted, possible = as_keys(ids, self.numbers)
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
        return np.where(possible & (self.keys[at] == wanted), at, -1)

    def ids(self, rows: Array) -> list[Any]:
        """Return the original ids of rows (M,): numbers, or text."""
        found = self.keys[rows]
        return found.tolist() if self.numbers else [one.decode() for one in found.tolist()]
