"""Reads lists from a table of their entries: CSV, TSV (plain or gzipped) or Parquet.

A row is an entry: `list,position,item`, or `user,timestamp,item` of a log, whose lists are the histories of its users.
Unlike an interaction, an item may stand in a list more than once. Shapes: E rows, L lists.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import column_names, read_table
from lightning_vq.sources.interactions import numbered
from lightning_vq.sources.lists import RawLists, starts_of
from lightning_vq.sources.metadata import read_metadata
from lightning_vq.sources.readers import part
from lightning_vq.sources.roles import columns_by_role, whole_numbers, with_numbers

ROLES = ("list", "position", "item")
OF_LOGS = {"list": "user", "position": "timestamp"}  # what a log calls the columns of a role


def read_lists(path: Path, columns: Mapping[str, str] | None = None) -> RawLists:
    """Read lists from a file.

    Args:
        path: CSV, TSV or Parquet with a header.
        columns: {role: name in the file} for roles list (or user), position (or timestamp), item; a role that is not
            given is looked for under its own name and then that of OF_LOGS. Entries are ordered by position, ties by
            row; lists without positions are as their rows are, but not histories.

    Raises:
        UserError: a column that is not there, a missing id, a position that is no number.
    """
    given = dict(columns or {})
    for role, log in (("list", "user"), ("position", "timestamp")):  # histories by the roles of other families
        if log in given and role not in given:
            given[role] = given.pop(log)
    of_log = "user" in (columns or {})
    names = {given.get(role, role) for role in ("list", "item")} | {"user"}
    table = read_table(path, sorted(names))
    for role, name in OF_LOGS.items():
        if role not in given and role not in table.column_names and name in table.column_names:
            given[role] = name
    required = ROLES if of_log or given.get("list") == "user" else ("list", "item")
    first = 1 if path.suffix == ".parquet" else 2  # row numbers are line numbers in a CSV with a header
    rows = pa.array(np.arange(first, first + len(table)))
    known = columns_by_role(path, table, given, ROLES, required).append_column("row", rows)
    return lists_of(str(path), known)


def has_lists(path: Path, columns: Mapping[str, str] | None = None) -> bool:
    """Return whether a file's columns are those of lists, not of a log.

    Args:
        path: see `read_lists`.
        columns: the same.

    Raises:
        UserError: it is not there.
    """
    given = set(columns or {})
    if given & {"list", "position", "user", "timestamp"}:
        return bool(given & {"list", "position"})
    return "list" in column_names(path)


def lists_of(where: str, table: pa.Table) -> RawLists:
    """Return the lists of a table.

    Args:
        where: file it comes from, for messages.
        table: (E) columns list, item, row (for messages) and, where it is known, position.

    Raises:
        UserError: no rows, a missing id, a position that is no number.
    """
    if not len(table):
        raise UserError(f"{where}: no lists")
    rows = table["row"].to_numpy()
    list_ids, owners = numbered(where, "list", whole_numbers(table["list"]), rows)
    item_ids, items = numbered(where, "item", whole_numbers(table["item"]), rows)
    if "position" in table.column_names:
        order = np.lexsort((with_numbers(where, table, "position")["position"].to_numpy(), owners))
    else:
        order = np.argsort(owners, kind="stable")
    return RawLists(where, list_ids, item_ids, starts_of(np.bincount(owners)), items[order])


def read_folder_of_lists(folder: Path) -> RawLists:
    """Read a named source: interactions.csv.gz (list,position,item) and, if there, users.csv.gz (list,creator) and
    items.csv.gz (item and what is known of it).

    Raises:
        UserError: a file is missing or wrong.
    """
    raw = read_lists(part(folder, "interactions.csv.gz"))
    return raw._replace(
        creators=_creators(folder / "users.csv.gz", raw.list_ids),
        item_metadata=read_metadata(folder / "items.csv.gz", raw.item_ids),
    )


def _creators(path: Path, list_ids: pa.Array) -> pa.Array | None:
    """Return who made each list (L,)."""
    if not path.is_file():
        return None
    table = columns_by_role(path, read_table(path), {}, ("list", "creator"), ("list", "creator"))
    lists, ids = table["list"].cast(pa.string()).combine_chunks(), list_ids.cast(pa.string())
    if len(pc.unique(lists)) != len(lists):
        raise UserError(f"{path}: {len(lists) - len(pc.unique(lists)):,} rows name a list that another row names")
    return table["creator"].combine_chunks().take(pc.index_in(ids, lists))
