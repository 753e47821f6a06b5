"""Raw lists as every source gives them (playlists, collections, histories of users), and their iterated filtering.

Shapes: L lists, E entries of all of them, N items.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Array, Interactions, Metadata


class ListCounts(NamedTuple):
    """How much there is."""

    lists: int
    items: int
    entries: int

    @property
    def told(self) -> str:
        """Return the counts in words."""
        mean = self.entries / max(1, self.lists)
        return f"{self.lists:,} lists, {self.items:,} items, {self.entries:,} entries, {mean:.2f} a list"


class Range(NamedTuple):
    """What is kept of lists."""

    min_item: int  # occurrences of an item
    min_length: int  # items of a list
    max_length: int | None  # of a list's first items; None: all

    @property
    def told(self) -> str:
        most = "" if self.max_length is None else f", max_length={self.max_length}"
        return f"min_item={self.min_item}, min_length={self.min_length}{most}"


class RawLists(NamedTuple):
    """Lists in the order of their source, with ids mapped to 0..L-1 and 0..N-1 by first appearance."""

    where: str  # file they come from, for messages
    list_ids: pa.Array  # (L,) original ids: of users, where the lists are histories
    item_ids: pa.Array  # (N,) original ids
    starts: Array  # (L + 1,) int64 where each list begins in `items`, and where the last ends
    items: Array  # (E,) int64, list after list
    creators: pa.Array | None = None  # (L,) original ids of who made each, null where that is not known
    item_categories: dict[str, Array] = {}  # known truth about items, (N,) per level, coarse last
    item_metadata: Metadata | None = None

    @property
    def lengths(self) -> Array:
        """Return how many items each list has (L,)."""
        return np.diff(self.starts)

    @property
    def counts(self) -> ListCounts:
        """Return how much there is."""
        return ListCounts(len(self.list_ids), len(self.item_ids), len(self.items))


def starts_of(lengths: Array) -> Array:
    """Return where lists of these lengths (L,) begin, one after the other, and where the last ends (L + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def histories(raw: Interactions) -> RawLists:
    """Return the interactions of each user as a list, ordered by time; ties go by row.

    Raises:
        UserError: the source has no times.
    """
    if raw.order is None:
        raise UserError(
            f"{raw.where}: histories need times or positions, and this source has none "
            "(of a folder, --data.init_args.columns.timestamp=NAME tells their column)"
        )
    order = np.lexsort((raw.order, raw.users))
    starts = starts_of(np.bincount(raw.users, minlength=len(raw.user_ids)))
    return RawLists(
        raw.where, raw.user_ids, raw.item_ids, starts, raw.items[order],
        item_categories=raw.item_categories, item_metadata=raw.item_metadata,
    )  # fmt: skip


def filtered(raw: RawLists, kept: Range) -> RawLists:
    """Drop rare items, then short lists, then what over-long lists have too much, repeatedly until nothing changes.

    The order is a part of the protocol: where lists are cut before their items are counted, other ones stay. What has
    no entry goes as well.

    Raises:
        UserError: nothing is left.
    """
    owners, items = np.repeat(np.arange(len(raw.list_ids)), raw.lengths), raw.items
    entries = -1
    while entries != len(items):
        entries = len(items)
        keep = np.bincount(items)[items] >= kept.min_item
        owners, items = owners[keep], items[keep]
        keep = np.bincount(owners)[owners] >= kept.min_length
        owners, items = owners[keep], items[keep]
        if kept.max_length is not None:
            starts = starts_of(np.bincount(owners))
            keep = np.arange(len(owners)) - starts[owners] < kept.max_length
            owners, items = owners[keep], items[keep]
        if not len(items):
            raise UserError(f"{raw.where}: no list is left with {kept.told}")
    lists, lengths = np.unique(owners, return_counts=True)
    there, renumbered = np.unique(items, return_inverse=True)
    return raw._replace(
        list_ids=raw.list_ids.take(pa.array(lists)),
        item_ids=raw.item_ids.take(pa.array(there)),
        starts=starts_of(lengths),
        items=renumbered,
        creators=None if raw.creators is None else raw.creators.take(pa.array(lists)),
        item_categories={level: of[there] for level, of in raw.item_categories.items()},
        item_metadata=None if raw.item_metadata is None else raw.item_metadata.take(there),
    )


def qualifying(lengths: Array, k: int) -> int:
    """Return how many of lists (L,) have a target of at least k items, as a metric at k asks, input being a half."""
    return int((lengths - lengths // 2 >= k).sum())
