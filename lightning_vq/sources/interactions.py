"""Raw interactions as every source gives them, checked row by row before anything is made of them.

Shapes: E interactions, U users, N items.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError

Array = np.ndarray[Any, Any]


class Metadata(NamedTuple):
    """What is known about entities beside the interactions. Categories are in the graph that CFKG trains on."""

    titles: list[str | None]  # (N)
    categories: list[list[str]]  # (N) the names of each one's categories: none, one or several

    def take(self, rows: Array) -> "Metadata":
        """Return what is known about some rows (M,)."""
        return Metadata([self.titles[i] for i in rows], [self.categories[i] for i in rows])


class Interactions(NamedTuple):
    """Interactions in the order of their source, with ids mapped to 0..U-1 and 0..N-1 by first appearance."""

    where: str  # file they come from, for messages
    user_ids: pa.Array  # (U,) original ids
    item_ids: pa.Array  # (N,) original ids
    users: Array  # (E,) int64
    items: Array  # (E,) int64
    order: Array | None  # (E,) what sorts a user's history; ties go by row
    split: Array | None  # (E,) of "train", "dev", "test", where the source fixes it
    row_number: Array  # (E,) line in the file, for messages; of several files "3 of dev.csv"
    negatives: dict[str, tuple[Array, Array]] = {}  # "dev", "test": users (M,) and their stored negatives (M, 99)
    item_categories: dict[str, Array] = {}  # known truth about items, (N,) per level, coarse last
    user_categories: dict[str, Array] = {}
    item_metadata: Metadata | None = None
    clock: bool = True  # the order is one of all users together, not of each alone
    relations: dict[str, tuple[Array, Array]] = {}  # {"complement": (heads (T,), tails (T,))}, rows of items


def from_columns(
    where: str,
    user: pa.ChunkedArray,
    item: pa.ChunkedArray,
    order: pa.ChunkedArray | None,
    split: pa.ChunkedArray | None,
    row_number: Array,
    repeats: bool = False,
) -> Interactions:
    """Map ids to contiguous integers.

    Raises:
        UserError: no rows, a missing id, or the same (user, item) twice unless `repeats` has it so.
    """
    if len(user) == 0:
        raise UserError(f"{where}: no interactions")
    user_ids, users = numbered(where, "user", user, row_number)
    item_ids, items = numbered(where, "item", item, row_number)
    if not repeats:
        keys = users * len(item_ids) + items
        _refuse_duplicates(where, keys, row_number, lambda i: (user[i].as_py(), item[i].as_py()))
    return Interactions(
        where, user_ids, item_ids, users, items,
        None if order is None else order.to_numpy(),
        None if split is None else split.to_numpy(zero_copy_only=False),
        row_number,
    )  # fmt: skip


def numbered(where: str, name: str, column: pa.ChunkedArray, row_number: Array) -> tuple[pa.Array, Array]:
    """Return the distinct ids of a column (E,) by first appearance, and the place (E,) int64 of each row's there.

    Args:
        where: file of the column, for messages.
        name: what they are ids of, for messages.
        column: (E,) numbers or text.
        row_number: (E,) line in the file, for messages.

    Raises:
        UserError: a missing id.
    """
    missing = pc.is_null(column, nan_is_null=True)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        missing = pc.fill_null(pc.equal(column, ""), True)
    missing = np.flatnonzero(missing.to_numpy())
    if len(missing):
        raise UserError(f"{where}, row {row_number[missing[0]]}: the {name} is missing ({len(missing)} such rows)")
    dictionary = pc.dictionary_encode(column).combine_chunks()
    return dictionary.dictionary, dictionary.indices.to_numpy().astype(np.int64)


def _refuse_duplicates(where: str, keys: Array, rows: Array, name: Callable[[int], tuple[Any, Any]]) -> None:
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(again):
        second, first = order[again[0] + 1], order[again[0]]
        user, item = name(int(second))
        raise UserError(
            f"{where}, row {rows[second]}: user {user!r} and item {item!r} stand in row {rows[first]} already "
            f"({len(again)} such rows); keep one row a pair, or set --data.init_args.duplicates=first (or last)"
        )


def select(raw: Interactions, keep: Array) -> Interactions:
    """Return the rows of a mask (E,), ids mapped anew; truth, metadata and relations follow their entities.

    Stored negatives name the ids of the whole source. Where some of those go, all negatives do, to be drawn anew.
    """
    users, items = raw.users[keep], raw.items[keep]
    kept_users, new_users = np.unique(users, return_inverse=True)
    kept_items, new_items = np.unique(items, return_inverse=True)
    whole = len(kept_users) == len(raw.user_ids) and len(kept_items) == len(raw.item_ids)
    return raw._replace(
        user_ids=raw.user_ids.take(pa.array(kept_users)),
        item_ids=raw.item_ids.take(pa.array(kept_items)),
        users=new_users,
        items=new_items,
        order=None if raw.order is None else raw.order[keep],
        split=None if raw.split is None else raw.split[keep],
        row_number=raw.row_number[keep],
        negatives=raw.negatives if whole else {},
        item_categories={k: v[kept_items] for k, v in raw.item_categories.items()},
        user_categories={k: v[kept_users] for k, v in raw.user_categories.items()},
        item_metadata=None if raw.item_metadata is None else raw.item_metadata.take(kept_items),
        relations=_among(kept_items, raw.relations, len(raw.item_ids)),
    )


def _among(kept: Array, relations: dict[str, tuple[Array, Array]], item_count: int) -> dict[str, tuple[Array, Array]]:
    """Return the triples whose two items are kept, by their new rows."""
    new = np.full(item_count, -1)
    new[kept] = np.arange(len(kept))
    renumbered = {name: (new[heads], new[tails]) for name, (heads, tails) in relations.items()}
    both = {name: (heads >= 0) & (tails >= 0) for name, (heads, tails) in renumbered.items()}
    return {name: (heads[both[name]], tails[both[name]]) for name, (heads, tails) in renumbered.items()}


def core(raw: Interactions, least_user: int, least_item: int) -> Interactions:
    """Drop users and items with fewer interactions, repeatedly until nothing changes.

    Raises:
        UserError: nothing is left.
    """
    while True:
        keep = (np.bincount(raw.users)[raw.users] >= least_user) & (np.bincount(raw.items)[raw.items] >= least_item)
        if keep.all():
            return raw
        if not keep.any():
            raise UserError(f"{raw.where}: no interaction is left with min_user={least_user} and min_item={least_item}")
        raw = select(raw, keep)


def deduplicated(table: pa.Table, keep: str) -> pa.Table:
    """Return the table with the "first" or "last" row of each (user, item), in the table's order.

    That is by timestamp, where there is one, rows of one time by their place.
    """
    by_time = np.arange(len(table))
    if "timestamp" in table.column_names:
        by_time = np.argsort(table["timestamp"].to_numpy(), kind="stable")
    place = np.empty_like(by_time)
    place[by_time] = np.arange(len(table))
    rows = table.select(["user", "item"]).append_column("place", pa.array(place))
    aggregate = "min" if keep == "first" else "max"
    chosen = rows.group_by(["user", "item"]).aggregate([("place", aggregate)])[f"place_{aggregate}"].to_numpy()
    return table.take(pa.array(np.sort(by_time[chosen])))
