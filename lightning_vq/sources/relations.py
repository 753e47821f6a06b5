"""Relations between items beside a source: what is bought together, what stands in for what.

Shapes: N items, T triples.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.files import read_table
from lightning_vq.sources.interactions import Array, Interactions

COLUMNS = ("head", "relation", "tail")


def with_relations(raw: Interactions, folder: Path) -> Interactions:
    """Return the interactions with what `relations.csv.gz` (head, relation, tail) beside them tells, if it is there.

    Raises:
        UserError: a column that is not there, or a row without a relation.
    """
    path = folder / "relations.csv.gz"
    if not path.is_file():
        return raw
    table = read_table(path, ["relation"])
    for name in COLUMNS:
        if name not in table.column_names:
            raise UserError(f"{path}: there is no column {name!r}{nearest(name, table.column_names)}")
    wrong = np.flatnonzero(pc.equal(table["relation"], "").to_numpy())
    if len(wrong):
        raise UserError(f"{path}, row {wrong[0] + 2}: the relation is missing ({len(wrong)} such rows)")
    relations = {}
    for name in pc.unique(table["relation"]).to_pylist():
        rows = table.filter(pc.equal(table["relation"], name))
        relations[name] = among_items(raw.item_ids, rows["head"], rows["tail"])
    return raw._replace(relations=relations)


def among_items(item_ids: pa.Array, heads: pa.ChunkedArray, tails: pa.ChunkedArray) -> tuple[Array, Array]:
    """Return heads (T,) and tails (T,) as rows of items, each pair once; those with an id of no item are left out.

    A shop relates far more items than anyone in a filtered data set has bought.
    """
    ids = item_ids.cast(pa.string())  # as text: a file of numbers may be asked about items of other names
    rows = [pc.fill_null(pc.index_in(column.cast(pa.string()), ids), -1).to_numpy() for column in (heads, tails)]
    head, tail = (row.astype(np.int64)[(rows[0] >= 0) & (rows[1] >= 0)] for row in rows)
    _, first = np.unique(head * len(ids) + tail, return_index=True)
    first.sort()
    return head[first], tail[first]
