"""What is known about items beside a source: titles and categories, for people to read; no model sees them.

Shapes: N items.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import read_table
from lightning_vq.sources.interactions import Interactions, Metadata

TITLE, YEAR = "title", "year"
CATEGORIES = ("genres", "category")  # whichever the file has; several to an item are separated by "|"


def read_metadata(path: Path, item_ids: pa.Array) -> Metadata | None:
    """Read a file of items (item, title, year, genres or category; all but item may be absent).

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
    table = read_table(path, ["item", TITLE, YEAR, *CATEGORIES])
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
        for name in (TITLE, YEAR, *CATEGORIES)
        if name in table.column_names
    }
    titles = [
        f"{title} ({year})" if title and year else title or None
        for title, year in zip(columns.get(TITLE, blank), columns.get(YEAR, blank))
    ]
    kind = next((name for name in CATEGORIES if name in columns), "")
    named_as = {True: "category {}", False: "{}"}  # a number alone does not read as a name
    categories = [
        [named_as[part.isdigit()].format(part) for part in text.split("|") if part] for text in columns.get(kind, blank)
    ]
    return Metadata(titles, categories)


def with_items(raw: Interactions, folder: Path) -> Interactions:
    """Return the interactions with what `items.csv.gz` beside them tells of their items, if it is there."""
    return raw._replace(item_metadata=read_metadata(folder / "items.csv.gz", raw.item_ids))
