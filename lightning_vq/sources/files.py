"""Reads a table of interactions from CSV, TSV (plain or gzipped) or Parquet, with messages that name the row."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.interactions import Array, Interactions, deduplicated, from_columns

ROLES = ("user", "item", "timestamp", "rating", "split")
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


def read_table(path: Path) -> pa.Table:
    """Read a whole file.

    Raises:
        UserError: it is not there, empty, cut off in the middle, or of no known kind.
    """
    if not path.is_file():
        raise UserError(f"no file at {path}")
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: unknown kind of file; the name must end in one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    try:
        if path.suffix == ".parquet":
            return pyarrow.parquet.read_table(path)
        delimiter = "\t" if ".tsv" in path.suffixes else ","
        options = pyarrow.csv.ParseOptions(delimiter=delimiter)
        # One thread: only then do errors name the row.
        reading = pyarrow.csv.ReadOptions(use_threads=False)
        table = pyarrow.csv.read_csv(path, read_options=reading, parse_options=options)
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read to its end: {str(error).splitlines()[0]}") from None
    if path.suffix != ".gz" and not _ends_with_newline(path):
        last = table.slice(len(table) - 1).to_pylist()
        if any(value is None for value in last[0].values()) if last else False:
            raise UserError(f"{path}, row {len(table) + 1}: the file breaks off in the middle of a row: {last[0]}")
    return table


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def read_interactions(
    path: Path, columns: Mapping[str, str] | None = None, min_rating: float | None = None, duplicates: str = "refuse"
) -> Interactions:
    """Read interactions from a file.

    Args:
        path: CSV, TSV or Parquet with a header.
        columns: {role: name in the file} for roles user, item, timestamp, rating, split; a role that is not
            given is looked for under its own name, and all but user and item may be absent.
        min_rating: keep rows with at least this rating.
        duplicates: "refuse", or keep the "first" or "last" row of a (user, item).

    Raises:
        UserError: a column that is not there, a missing or NaN value, an unknown split, duplicates.
    """
    table = read_table(path)
    chosen = dict(columns or {})
    for role in chosen:
        if role not in ROLES:
            raise UserError(f"columns: there is no role {role!r}{nearest(role, ROLES)}")
    if min_rating is not None:
        chosen.setdefault("rating", "rating")
    for role in ROLES:
        required = role in ("user", "item") or role in chosen
        name = chosen.setdefault(role, role)
        if name not in table.column_names:
            if required:
                raise UserError(
                    f"{path}: there is no column {name!r} for the {role}{nearest(name, table.column_names)} "
                    f"(--data.init_args.columns.{role}=NAME)"
                )
            del chosen[role]
    table = pa.table({role: table[name] for role, name in chosen.items()})
    # Row numbers are line numbers in a CSV with a header; row 1 of a Parquet file is its first.
    first = 1 if path.suffix == ".parquet" else 2
    table = table.append_column("row", pa.array(np.arange(first, first + len(table))))
    for role in ("timestamp", "rating"):
        if role in chosen:
            table = _numbers(path, table, role)
    if min_rating is not None:
        table = table.filter(pc.greater_equal(table["rating"], min_rating))
    if "split" in chosen:
        _check_split(path, table)
    if duplicates != "refuse":
        table = deduplicated(table, duplicates)
    return from_columns(
        str(path), table["user"], table["item"],
        table["timestamp"] if "timestamp" in chosen else None,
        table["split"] if "split" in chosen else None,
        table["row"].to_numpy(),
    )  # fmt: skip


def _numbers(path: Path, table: pa.Table, role: str) -> pa.Table:
    column = table[role]
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        text = column.cast(pa.string())
        wrong = np.flatnonzero(~pc.match_substring_regex(text, r"^\s*[-+]?[0-9.]+([eE][-+]?\d+)?\s*$").to_numpy())
        where = f", row {table['row'][int(wrong[0])]}" if len(wrong) else ""
        example = f" ({text[int(wrong[0])].as_py()!r})" if len(wrong) else ""
        raise UserError(f"{path}{where}: the {role} must be a number{example}")
    missing = np.flatnonzero(pc.is_null(column, nan_is_null=True).to_numpy())
    if len(missing):
        raise UserError(f"{path}, row {table['row'][int(missing[0])]}: the {role} is missing or NaN ({len(missing)} rows)")
    return table.set_column(table.column_names.index(role), role, column)


def _check_split(path: Path, table: pa.Table) -> None:
    parts = ["train", "dev", "test"]
    wrong = np.flatnonzero(~pc.is_in(table["split"].cast(pa.string()), pa.array(parts)).to_numpy())
    if len(wrong):
        value = table["split"][int(wrong[0])].as_py()
        raise UserError(f"{path}, row {table['row'][int(wrong[0])]}: unknown split {value!r}{nearest(str(value), parts)}")


def ids_to_rows(ids: pa.Array, wanted: pa.ChunkedArray, where: str, what: str) -> Array:
    """Return for each wanted original id its row in ids.

    Raises:
        UserError: an id that is not there.
    """
    rows = pc.index_in(wanted.cast(ids.type), ids)
    if rows.null_count:
        missing = wanted[int(np.flatnonzero(pc.is_null(rows).to_numpy())[0])].as_py()
        raise UserError(f"{where}: {what} {missing!r} is not among the interactions")
    return rows.to_numpy().astype(np.int64)
