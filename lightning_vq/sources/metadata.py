"""What is known about items beside a source: titles and categories, for people to read, and for CFKG.

Shapes: N items.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import read_table
from lightning_vq.sources.interactions import Interactions, Metadata

TITLE, YEAR = "title", "year"
WHOLE = re.compile(r"\d+\.0")  # pandas' 7.0, beside gaps


class Kind(NamedTuple):
    """A column of categories."""

    column: str
    separator: str  # of several to an item
    number: str  # how a number is told: alone it does not read as a name
    none: str = ""  # what stands for no category


KINDS = (
    Kind("genres", "|", "category {}"),
    Kind("category", "|", "category {}", "0"),  # of amazon-grocery, ReChorus' i_category
    Kind("attributes", " ", "attribute {}"),
)  # whichever the file has


def read_metadata(path: Path, item_ids: pa.Array) -> Metadata | None:
    """Read a file of items (item, title, year; genres, category or attributes; all but item may be absent).

    Args:
        path: CSV, TSV or Parquet.
        item_ids: (N,) original ids; what the file says of others is passed over.

    Returns:
        titles (N) and categories (N), None and [] for items that the file does not name; None without the file.

    Raises:
        UserError: the file cannot be read, has no column `item`, or names an item twice.
    """
    if not path.is_file():
        return None
    # As written: a film may be called "187", and category 7 is a name.
    table = read_table(path, ["item", TITLE, YEAR, *[kind.column for kind in KINDS]])
    return metadata_of(path, table, item_ids, [kind for kind in KINDS if kind.column in table.column_names][:1])


def read_own_metadata(path: Path, item_ids: pa.Array) -> Metadata:
    """Read a file of items that a user has named, see `read_metadata`.

    Raises:
        UserError: it is not there, cannot be read, or tells nothing of the items.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    table = read_table(path, ["item", TITLE, YEAR, *[kind.column for kind in KINDS]])
    kinds = [kind._replace(none="") for kind in KINDS if kind.column in table.column_names]  # a 0 of one's own counts
    known = metadata_of(path, table, item_ids, kinds)
    if not any(known.titles) and not any(known.categories):
        columns = ", ".join([TITLE, *(kind.column for kind in KINDS)])
        raise UserError(
            f"{path} tells nothing of the {len(item_ids):,} items of the interactions, such as {item_ids[0].as_py()}: "
            f"it needs a column 'item' of their ids, and one or more of {columns}"
        )
    return known


def metadata_of(path: Path, table: pa.Table, item_ids: pa.Array, kinds: Sequence[Kind]) -> Metadata:
    """Return what a table says of items.

    Args:
        path: where it comes from, for messages.
        table: column item and, where they are known, title, year and those of the kinds.
        item_ids: (N,) original ids; what the table says of others is passed over.
        kinds: columns that hold categories; an item has those of all.

    Raises:
        UserError: there is no column `item`, or an item stands twice.
    """
    if "item" not in table.column_names:
        raise UserError(f"{path}: there is no column 'item'")
    named = table["item"].cast(pa.string()).combine_chunks()
    values, counts = np.unique(named.to_numpy(zero_copy_only=False).astype(str), return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{path}: the item {values[counts > 1][0]} stands in {counts.max()} rows")
    rows = pc.index_in(item_ids.cast(pa.string()), named)  # (N,) null where the file does not name the item
    blank = [""] * len(item_ids)
    columns = {
        name: pc.fill_null(table[name].cast(pa.string()).take(rows), "").to_pylist()
        for name in (TITLE, YEAR, *[kind.column for kind in kinds])
        if name in table.column_names
    }
    titles = [
        f"{title} ({year})" if title and year else title or None
        for title, year in zip(columns.get(TITLE, blank), columns.get(YEAR, blank))
    ]
    categories: list[list[str]] = [[] for _ in blank]
    for kind in kinds:
        for known, text in zip(categories, columns[kind.column]):
            written = (part.strip() for part in text.split(kind.separator))
            written = (part.removesuffix(".0") if WHOLE.fullmatch(part) else part for part in written)
            parts = [part for part in written if part not in ("", kind.none)]
            known += [kind.number.format(part) if part.isdigit() else part for part in parts]
    return Metadata(titles, categories)


def with_items(raw: Interactions, folder: Path) -> Interactions:
    """Return the interactions with what `items.csv.gz` beside them tells of their items, if it is there."""
    return raw._replace(item_metadata=read_metadata(folder / "items.csv.gz", raw.item_ids))
