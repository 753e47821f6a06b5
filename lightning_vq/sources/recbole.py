"""RecBole's atomic files: NAME.inter, or a split in NAME.train.inter, NAME.valid.inter and NAME.test.inter.

Fields are named like `item_id:token`; what stands after the colon is not needed. NAME.item tells titles and categories;
sequences are separated by blanks, as RecBole's `seq_separator` has it (commas go). Other atomic files are not read.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import by_role, interactions_of, read_text
from lightning_vq.sources.interactions import Interactions, Metadata
from lightning_vq.sources.metadata import TITLE, YEAR, Kind, metadata_of
from lightning_vq.sources.parts import joined

COLUMNS = {"user": "user_id", "item": "item_id"}
PARTS = {"train": "train", "dev": "valid", "test": "test"}
# As the data sets that RecBole publishes call them, the likeliest first.
TITLES = ("movie_title", "title", "name", "book_title")
YEARS = ("release_year", "year")
CATEGORIES = ("class", "genre", "genres", "category", "categories")


def read_recbole(
    folder: Path, columns: Mapping[str, str] | None = None, min_rating: float | None = None, duplicates: str = "refuse"
) -> Interactions:
    """Read a folder of atomic files.

    Args:
        folder: holds one data set.
        columns, min_rating, duplicates: as of `read_interactions`.

    Raises:
        UserError: no data set or several, a missing column or value, duplicates.
    """
    chosen = {**COLUMNS, **(columns or {})}
    name, whole = _data_set(folder)
    if whole:
        path = folder / f"{name}.inter"
        table = _read(path)
        rows = pa.array(np.arange(2, 2 + len(table)))
        known = by_role(path, table, chosen, min_rating).append_column("row", rows)
        raw = interactions_of(str(path), known, min_rating, duplicates)
    else:
        paths = {part: folder / f"{name}.{their}.inter" for part, their in PARTS.items()}
        parts = {part: (path, _read(path)) for part, path in paths.items()}
        raw = joined(folder, parts, chosen, min_rating, duplicates)
    path = folder / f"{name}.item"
    if not path.is_file():
        return raw
    return raw._replace(item_metadata=_metadata(path, _read(path), chosen["item"], raw.item_ids))


def _data_set(folder: Path) -> tuple[str, bool]:
    """Return the name of the data set in a folder, and whether it is in one file."""
    files = sorted(path.name for path in folder.glob("*.inter"))
    names = {name.removesuffix(".inter") for name in files}
    stems = {name.rpartition(".")[0] for name in names}
    if len(names) == 1 and not files[0].endswith(tuple(f".{their}.inter" for their in PARTS.values())):
        return names.pop(), True
    if len(stems) == 1 and names == {f"{stem}.{their}" for stem in stems for their in PARTS.values()}:
        return stems.pop(), False
    raise UserError(
        f"{folder}: RecBole's files are NAME.inter alone, or NAME.train.inter, NAME.valid.inter and NAME.test.inter; "
        f"there are {', '.join(files)}"
    )


def _read(path: Path) -> pa.Table:
    table = read_text(path, quoted=False)  # a title may begin with a quotation mark
    return table.rename_columns([name.partition(":")[0] for name in table.column_names])


def _metadata(path: Path, table: pa.Table, item: str, item_ids: pa.Array) -> Metadata:
    if item not in table.column_names:
        raise UserError(f"{path}: there is no column {item!r}")
    known = {"item": table[item]}
    for role, names in ((TITLE, TITLES), (YEAR, YEARS)):
        for name in [name for name in names if name in table.column_names][:1]:
            known[role] = table[name]
    kinds = [Kind(name, " ", f"{name} {{}}") for name in CATEGORIES if name in table.column_names]
    for kind in kinds:
        known[kind.column] = pc.replace_substring(table[kind.column], ",", " ")
    return metadata_of(path, pa.table(known), item_ids, kinds)
