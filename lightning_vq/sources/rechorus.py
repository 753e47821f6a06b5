"""ReChorus' folders: train.csv, dev.csv, test.csv and perhaps item_meta.csv, separated by tabs (Wang et al.).

The split is the folder's own. Lists in `neg_items` are the stored negatives of their row, repeats included. An item
that only they name is kept, after the others: ReChorus has a row for every id up to the largest and ranks such a
candidate like any other, so that to refuse or drop it would change the test. Ids that neither an interaction nor a
negative names are no items.

item_meta.csv: columns r_* hold lists of related items; columns i_* are categories. One whose cells are all 0 or 1 is a
flag, as ReChorus writes the genres of ml-1m: its items are in the category of its name. i_*_f are numbers, not
categories. Shapes: E interactions, M rows of a part, n negatives of each.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import ids_to_rows, read_text
from lightning_vq.sources.interactions import Array, Interactions, Metadata
from lightning_vq.sources.metadata import Kind, metadata_of
from lightning_vq.sources.parts import joined, labels
from lightning_vq.sources.relations import among_items

FILES = ("train.csv", "dev.csv", "test.csv")
COLUMNS = {"user": "user_id", "item": "item_id", "timestamp": "time"}


def read_rechorus(
    folder: Path, columns: Mapping[str, str] | None = None, min_rating: float | None = None, duplicates: str = "refuse"
) -> Interactions:
    """Read a folder as ReChorus makes it.

    Args:
        folder: holds FILES.
        columns, min_rating, duplicates: as of `read_interactions`.

    Raises:
        UserError: a missing file, column or value, impressions instead of interactions, cells that are no lists,
            rows with more negatives than others.
    """
    parts = {name.removesuffix(".csv"): (folder / name, read_text(folder / name)) for name in FILES}
    for path, table in parts.values():
        _refuse_impressions(path, table)
    raw = _with_negatives(joined(folder, parts, {**COLUMNS, **(columns or {})}, min_rating, duplicates), parts)
    path = folder / "item_meta.csv"
    if not path.is_file():
        return raw
    table = read_text(path)
    ids, relations = related(path, table)
    return raw._replace(
        item_metadata=_metadata(path, table, raw.item_ids),
        relations={name: among_items(raw.item_ids, ids.take(rows), tails) for name, (rows, tails) in relations.items()},
    )


def listed(path: Path, column: str, cells: pa.ChunkedArray) -> pa.ListArray:
    """Return the ids (as text) of each cell that is written like [3, 17]; rows count from 2.

    Raises:
        UserError: a cell that is not.
    """
    text = pc.fill_null(cells, "").combine_chunks()
    wrong = np.flatnonzero(~pc.match_substring_regex(text, r"^\[ *(\d+( *, *\d+)*)? *\]$").to_numpy(False))
    if len(wrong):
        told = repr(text[int(wrong[0])].as_py()[:40])
        raise UserError(f"{path}, row {wrong[0] + 2}: {column} must be a list of items like [3, 17], not {told}")
    # A comma before each id, so that an empty list has no parts but the one that is cut off.
    commas = pc.replace_substring(pc.replace_substring(text, " ", ""), "[", ",")
    return pc.list_slice(pc.split_pattern(pc.utf8_rtrim(commas, "],"), ","), 1)


def related(path: Path, table: pa.Table) -> tuple[pa.ChunkedArray, dict[str, tuple[pa.Array, pa.Array]]]:
    """Return the ids of item_meta.csv and, for each relation, rows (T,) of its heads and ids (T,) of its tails."""
    if "item_id" not in table.column_names:
        raise UserError(f"{path}: there is no column 'item_id'")
    relations = {}
    for name in table.column_names:
        if name.startswith("r_"):
            lists = listed(path, name, table[name])
            relations[name.removeprefix("r_")] = (pc.list_parent_indices(lists), pc.list_flatten(lists))
    return table["item_id"], relations


def _refuse_impressions(path: Path, table: pa.Table) -> None:
    """Refuse what was shown and not taken: ReChorus' folders for click prediction hold that too."""
    if "label" in table.column_names:
        wrong = np.flatnonzero(~pc.is_in(table["label"], pa.array(["1", "1.0"])).to_numpy())
        if len(wrong):
            told = table["label"][int(wrong[0])].as_py()
            raise UserError(
                f"{path}, row {wrong[0] + 2}: the label is {told!r}: this folder holds impressions, of which only "
                "those with label 1 are interactions; keep these rows alone"
            )


def _with_negatives(raw: Interactions, parts: Mapping[str, tuple[Path, pa.Table]]) -> Interactions:
    stored: dict[str, tuple[Array, Array]] = {}
    for part in ("dev", "test"):
        path, table = parts[part]
        if "neg_items" not in table.column_names:
            continue
        lists = listed(path, "neg_items", table["neg_items"])
        lengths = np.unique(pc.list_value_length(lists).to_numpy())
        if len(lengths) > 1:
            raise UserError(f"{path}: rows hold {lengths.tolist()} negatives; all must hold as many")
        if not lengths.any():
            continue  # written as [], for a test against all items
        held = raw.split == part
        # Of a pair that stood twice one row may be gone, and its negatives with it.
        kept = pc.is_in(labels(path, pa.array(np.arange(2, 2 + len(table)))), pa.array(raw.row_number[held]))
        ids = pc.list_flatten(lists.filter(kept)).cast(raw.item_ids.type)
        new = pc.unique(ids.filter(pc.invert(pc.is_in(ids, raw.item_ids))))
        raw = raw._replace(item_ids=pa.concat_arrays([raw.item_ids, new]))
        items = ids_to_rows(raw.item_ids, pa.chunked_array([ids]), str(path), "item")
        # By user and item, as held-out interactions are: each keeps the negatives of its own row.
        order = np.lexsort((raw.items[held], raw.users[held]))
        stored[part] = (raw.users[held][order], items.reshape(-1, lengths[0])[order])
    return raw._replace(negatives=stored)


def _metadata(path: Path, table: pa.Table, item_ids: pa.Array) -> Metadata:
    known, kinds = {"item": table["item_id"]}, []
    for column in table.column_names:
        if not column.startswith("i_") or column.endswith("_f"):
            continue
        name, cells = column.removeprefix("i_").removesuffix("_c"), pc.fill_null(table[column], "")
        if pc.all(pc.is_in(cells, pa.array(["0", "1"]))).as_py():
            cells = pc.if_else(pc.equal(cells, "1"), name, "")
        else:
            cells = pc.replace_substring_regex(cells, r"[\[\]]|,\s*", "\t")  # one id, or a list of them
        known[column] = cells
        kinds.append(Kind(column, "\t", f"{name} {{}}", "0"))
    return metadata_of(path, pa.table(known), item_ids, kinds)
