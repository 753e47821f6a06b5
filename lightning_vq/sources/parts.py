"""A split that is given as three files: read as text, joined, and checked as one table. Shapes: E interactions."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.sources.files import by_role, interactions_of
from lightning_vq.sources.interactions import Interactions


def labels(path: Path, rows: pa.Array) -> pa.Array:
    """Return how messages call rows of one file among several: "3 of dev.csv"."""
    return pc.binary_join_element_wise(rows.cast(pa.string()), path.name, " of ")


def joined(
    folder: Path,
    parts: Mapping[str, tuple[Path, pa.Table]],
    columns: Mapping[str, str],
    min_rating: float | None,
    duplicates: str,
) -> Interactions:
    """Return the interactions of several files.

    Args:
        folder: the files lie in, for messages.
        parts: {"train", "dev" or "test": its file and what was read from it, all as text}.
        columns, min_rating, duplicates: as of `read_interactions`; "first" and "last" go by train, dev, test.

    Raises:
        UserError: a column that is not there, a missing value, a (user, item) that stands twice, in whichever files.
    """
    tables = []
    for part, (path, table) in parts.items():
        rows = labels(path, pa.array(np.arange(2, 2 + len(table))))
        known = by_role(path, table, columns, min_rating)
        if "split" in known.column_names:
            known = known.drop_columns(["split"])  # the files are the split
        tables.append(known.append_column("split", pa.repeat(part, len(table))).append_column("row", rows))
    return interactions_of(str(folder), pa.concat_tables(tables, promote_options="default"), min_rating, duplicates)
