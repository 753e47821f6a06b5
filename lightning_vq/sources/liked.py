"""Films of MovieLens 1M that were rated 4 or 5, in time order: what DQRec is measured on.

The ratings are ml-1m's. Where its file has no times, the order within a user's history is that of ml-1m-seq, and the
time of all that a user does is that of the last but one of her interactions in ml-1m's leave-one-out split: most users
rated all their films within an hour, so that who came before whom is told well, and what happened between two visits
of one user is not.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import read_table
from lightning_vq.sources.interactions import Array, Interactions, from_columns
from lightning_vq.sources.metadata import with_items
from lightning_vq.sources.readers import part

LEAST = 4  # stars


def read_liked(folder: Path) -> Interactions:
    """Read what was rated 4 or 5 of ml-1m.

    Args:
        folder: of ml-1m: interactions.csv.gz with user, item, rating, timestamp; or with user, item, rating_ge4, and
            leave_one_out.csv.gz, ml-1m-seq beside it.

    Raises:
        UserError: a file or a column that is not there.
    """
    path = part(folder, "interactions.csv.gz")
    table = read_table(path)
    table = table.append_column("row", pa.array(np.arange(len(table)) + 2))
    if {"rating", "timestamp"} <= set(table.column_names):
        table = table.filter(pc.greater_equal(table["rating"], LEAST))
        time = table["timestamp"].to_numpy()
    elif "rating_ge4" in table.column_names:
        table = table.filter(pc.equal(table["rating_ge4"], 1))
        table, time = _timed(table, folder)
    else:
        raise UserError(f"{path}: neither rating and timestamp nor rating_ge4 are among its columns")
    raw = from_columns(
        str(path), table["user"], table["item"], pa.chunked_array([pa.array(time)]), None, table["row"].to_numpy()
    )
    return with_items(raw, folder)


def _timed(table: pa.Table, folder: Path) -> tuple[pa.Table, Array]:
    """Return the rows whose place is known, and the place in time of each, ties broken by the user's own order."""
    ordered = read_table(part(folder.parent / "ml-1m-seq", "interactions.csv.gz"))
    held = read_table(part(folder, "leave_one_out.csv.gz"))
    held = held.filter(pc.equal(held["split"], "dev"))
    table = table.join(ordered, ["user", "item"], join_type="inner")
    table = table.join(held.select(["user", "timestamp"]), "user", join_type="inner").combine_chunks()
    order = np.lexsort([table[name].to_numpy() for name in ("position", "user", "timestamp")])
    time = np.empty(len(order), dtype=np.int64)
    time[order] = np.arange(len(order))
    rows = np.argsort(table["row"].to_numpy())  # a join keeps no order
    return table.take(pa.array(rows)), time[rows]
