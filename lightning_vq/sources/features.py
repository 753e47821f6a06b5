"""What is known of users and items beside their ids: categorical features, of one value or several each.

Shapes: N entities, V values of a field.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.files import read_table
from lightning_vq.sources.interactions import Interactions, Metadata
from lightning_vq.sources.metadata import YEAR

SEPARATOR = "|"  # of several values, as genres have it
Features = dict[str, list[list[str]]]  # field -> the values (N) of each entity: none, one or several


def read_features(path: Path, key: str, ids: pa.Array, fields: Sequence[str] | None) -> Features:
    """Read a file with a row for each entity, and columns of categories.

    Args:
        path: CSV, TSV or Parquet.
        key: column of ids.
        ids: (N,) of the entities, in the order that is wanted; what the file says of others is passed over.
        fields: columns to be taken; None: all but the key, and those that tell nearly every entity apart.

    Raises:
        UserError: a column that is not there, an id that stands twice, none of the entities, or nothing to be taken.
    """
    table = read_table(path)
    if key not in table.column_names:
        there = ", ".join(table.column_names)
        raise UserError(
            f"{path}: there is no column {key!r}, of ids; it has {there} (data.init_args.columns names those of the "
            "interactions alone)"
        )
    for name in fields or ():
        if name not in table.column_names:
            raise UserError(f"{path}: there is no column {name!r}{nearest(name, table.column_names)}")
    named = table[key].cast(pa.string()).combine_chunks()
    if len(pc.unique(named)) < len(named):
        counts = pc.value_counts(named)
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise UserError(f"{path}: the {key} {twice} stands in several rows; of each there must be one")
    rows = pc.index_in(ids.cast(pa.string()), named)
    if rows.null_count == len(rows):
        raise UserError(f"{path}: none of the {len(ids)} {key}s of the interactions is in it, such as {ids[0].as_py()}")
    wanted = table.column_names if fields is None else fields
    columns = {name: table[name].take(rows) for name in wanted if name != key}
    if fields is None:
        columns = {name: column for name, column in columns.items() if not _identifies(column)}
    if not columns and fields is None:
        raise UserError(f"{path}: there is no column of features beside {key!r}, but titles and the like")
    return {name: _values(column) for name, column in columns.items()}


def _identifies(column: pa.ChunkedArray) -> bool:
    """Return whether a column is next to an id: its values are met fewer than twice in the mean, as zip codes are."""
    if pa.types.is_list(column.type):
        return False
    counts = pc.value_counts(column.drop_null()).field("counts")
    return 2 * len(counts) > len(column) - column.null_count > 1


def _values(column: pa.ChunkedArray) -> list[list[str]]:
    """Return the values of each row, as text."""
    if pa.types.is_list(column.type):
        return [[str(one) for one in row or () if one is not None] for row in column.to_pylist()]
    text = pc.fill_null(column.cast(pa.string()), "").to_pylist()
    return [[part for part in one.split(SEPARATOR) if part] for one in text]


def features_of(
    raw: Interactions, vocab: str, file: str | None, fields: Sequence[str] | None, folder: Path | None
) -> Features:
    """Return the features of users or items; none where there is no table of them.

    Args:
        raw: the interactions.
        vocab: "user" or "item".
        file: that the user has named.
        fields: columns to be taken, see `read_features`; "year" of films may also stand at the end of titles.
        folder: of a named source, with users.csv.gz and items.csv.gz.

    Raises:
        UserError: fields are asked for, and there is no table, or it has them not.
    """
    ids = raw.user_ids if vocab == "user" else raw.item_ids
    if file is not None:
        return read_features(Path(file), vocab, ids, fields)
    truth = raw.user_categories if vocab == "user" else raw.item_categories
    if truth:  # of the planted world
        for field in fields or ():
            if field not in truth:
                named = f"data.init_args.{vocab}_features names {field!r}"
                raise UserError(f"{named}, which the planted data has not{nearest(field, truth)}")
        return {level: [[str(node)] for node in of] for level, of in truth.items() if fields is None or level in fields}
    path = None if folder is None else folder / f"{vocab}s.csv.gz"
    if fields is not None and not fields:
        return {}
    if path is None or not path.is_file():
        if fields:
            raise UserError(f"data.init_args.{vocab}_features names {list(fields)}: give their file as {vocab}_file")
        return {}
    years = _years(raw.item_metadata) if vocab == "item" else None
    if fields is None or YEAR not in fields or years is None:
        return read_features(path, vocab, ids, fields)
    return read_features(path, vocab, ids, [field for field in fields if field != YEAR]) | {YEAR: years}


def _years(known: Metadata | None) -> list[list[str]] | None:
    """Return the years (N) at the end of titles, "Toy Story (1995)"; None where most have none."""
    titles = [] if known is None else known.titles
    years = [[t[-5:-1]] if t and t.endswith(")") and t[-5:-1].isdigit() else [] for t in titles]
    return years if sum(map(bool, years)) * 2 > len(years) else None
