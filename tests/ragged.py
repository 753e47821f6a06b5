"""Small lists, written as Python has them, for tests of what is made of them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lightning_vq.sources.lists import RawLists, starts_of


def ragged(lists: Sequence[Sequence[int]], items: int | None = None) -> RawLists:
    """Return lists of items 0..items-1, called a, b, c, ...; the lists are called 100, 101, ..."""
    flat = np.array([item for one in lists for item in one], dtype=np.int64)
    count = items if items is not None else int(flat.max(initial=-1)) + 1
    ids = pa.array([chr(ord("a") + item) if item < 26 else f"i{item}" for item in range(count)])
    starts = starts_of(np.array([len(one) for one in lists], dtype=np.int64))
    return RawLists("mine.csv", pa.array(range(100, 100 + len(lists))), ids, starts, flat)


def as_lists(raw: RawLists) -> dict[object, list[object]]:
    """Return the original ids of lists and of their items."""
    items = raw.item_ids.take(pa.array(raw.items)).to_pylist()
    starts = raw.starts.tolist()
    return {name: items[starts[i] : starts[i + 1]] for i, name in enumerate(raw.list_ids.to_pylist())}
