"""Arrays that are made in memory or in files of a folder, with the same content."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lightning_vq.sources.interactions import Array

ROWS = 1 << 20  # that are in memory at a time


def chunks(rows: int) -> Iterator[slice]:
    """Return slices of so many rows that they fit into memory together."""
    return (slice(start, start + ROWS) for start in range(0, rows, ROWS))


class Store:
    """Makes arrays.

    Args:
        folder: of their files, <name>.npy of whole arrays and <name>.raw of growing ones; None is memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array to be filled."""
        if self.folder is None:
            return np.empty(shape, dtype)
        if not math.prod(shape):  # nothing to map
            np.save(self.folder / f"{name}.npy", np.empty(shape, dtype))
            return np.empty(shape, dtype)
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", dtype, shape)


class Growing:
    """Rows of one shape that come in batches and are then one array."""

    def __init__(self, store: Store, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype, self.rows = shape, dtype, 0
        self.chunks: list[Array] = []
        self.path = None if store.folder is None else store.folder / f"{name}.raw"
        if self.path is not None:
            self.path.touch()

    def append(self, rows: Array) -> None:
        rows = np.ascontiguousarray(rows, self.dtype)
        self.rows += len(rows)
        if self.path is None:
            self.chunks.append(rows)
        else:
            with self.path.open("ab") as file:
                file.write(rows.tobytes())

    def whole(self) -> Array:
        """Return all rows."""
        shape = (self.rows, *self.shape)
        if not math.prod(shape):
            return np.empty(shape, self.dtype)
        return np.concatenate(self.chunks) if self.path is None else np.memmap(self.path, self.dtype, "r+", shape=shape)
