"""Reads a table of interactions from CSV, TSV (plain or gzipped) or Parquet, with messages that name the row."""

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.interactions import Array, Interactions, deduplicated, from_columns
from lightning_vq.sources.roles import columns_by_role, whole_numbers, with_numbers

ROLES = ("user", "item", "timestamp", "rating", "split")
SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


def read_table(path: Path, text: Sequence[str] = ()) -> pa.Table:
    """Read a whole file of a kind that its name tells.

    Args:
        path: CSV, TSV or Parquet.
        text: columns of a CSV or TSV that are read as written, not as numbers.

    Raises:
        UserError: it is not there, empty, cut off in the middle, or of no known kind.
    """
    if not path.is_file():
        raise UserError(f"no file at {path}")
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: unknown kind of file; the name must end in one of {', '.join(SUFFIXES)}")
    if path.suffix != ".parquet":
        return _read_delimited(path, "\t" if ".tsv" in path.suffixes else ",", text, quoted=True)
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    try:
        return pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read to its end: {str(error).splitlines()[0]}") from None


def column_names(path: Path) -> list[str]:
    """Return the columns of a CSV, TSV or Parquet; none of a broken file, which the reader of the whole file tells.

    Raises:
        UserError: it is not there.
    """
    if not path.is_file():
        raise UserError(f"no file at {path}")
    with suppress(pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError):
        if path.suffix == ".parquet":
            return list(pyarrow.parquet.read_schema(path).names)
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            return next(csv.reader([file.readline()], delimiter="\t" if ".tsv" in path.suffixes else ","), [])
    return []


def read_text(path: Path, quoted: bool = True) -> pa.Table:
    """Read a whole tab-separated file of any name, every column as written.

    Args:
        path: with a header.
        quoted: whether a field that begins with '"' ends with one.

    Raises:
        UserError: it is not there, empty, or cut off in the middle.
    """
    if not path.is_file():
        raise UserError(f"no file at {path}")
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline().rstrip("\r\n").split("\t")
    return _read_delimited(path, "\t", header, quoted)


def _read_delimited(path: Path, delimiter: str, text: Sequence[str], quoted: bool) -> pa.Table:
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    if delimiter == "," and _is_separated(path, b"\t"):
        raise UserError(f"{path}: the file looks tab-separated: its first line has tabs and no comma; name it .tsv")
    if delimiter == "," and _is_separated(path, b";"):
        raise UserError(f"{path}: the file looks separated by semicolons: save it with commas, or with tabs as .tsv")
    options = pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False)
    reading = pyarrow.csv.ReadOptions(use_threads=False)  # only then do errors name the row
    converting = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in text})
    try:
        table = pyarrow.csv.read_csv(path, reading, options, converting)
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read to its end: {str(error).splitlines()[0]}") from None
    if path.suffix != ".gz":  # a cut gzip file is refused above
        _refuse_half_a_field(path, delimiter.encode())
    return table


def _is_separated(path: Path, separator: bytes) -> bool:
    """Return whether the first line has a separator and no comma."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file, suppress(OSError, EOFError, zlib.error):
        header = file.readline()
        return separator in header and b"," not in header
    return False  # broken, which the reader of the whole file tells


def _refuse_half_a_field(path: Path, delimiter: bytes) -> None:
    """Refuse a file whose last row has no newline and a last field shorter than in any other row."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        fields = [len(line.rstrip(b"\r\n").rpartition(delimiter)[2]) for line in file]
    if len(fields) > 2 and fields[-1] < min(fields[1:-1]):
        raise UserError(
            f"{path}, row {len(fields)}: the file seems to break off in the middle of this row, whose last field is "
            "the shortest of all; fetch the file again or, if it is whole, end it with a newline"
        )


def read_interactions(
    path: Path, columns: Mapping[str, str] | None = None, min_rating: float | None = None, duplicates: str = "refuse"
) -> Interactions:
    """Read interactions from a file.

    Args:
        path: CSV, TSV or Parquet with a header.
        columns: {role: name in the file} for roles user, item, timestamp, rating, split; a role that is not
            given is looked for under its own name, and all but user and item may be absent.
        min_rating: keep rows with at least this rating.
        duplicates: "refuse", or keep the "first" or "last" row of a (user, item), in time; "keep" all, of histories.

    Raises:
        UserError: a column that is not there, a missing or NaN value, an unknown split, duplicates.
    """
    given = dict(columns or {})
    table = read_table(path, [given.get("user", "user"), given.get("item", "item")])
    # Row numbers are line numbers in a CSV with a header; row 1 of a Parquet file is its first.
    first = 1 if path.suffix == ".parquet" else 2
    rows = pa.array(np.arange(first, first + len(table)))
    table = by_role(path, table, given, min_rating).append_column("row", rows)
    return interactions_of(str(path), table, min_rating, duplicates)


def by_role(path: Path, table: pa.Table, columns: Mapping[str, str], min_rating: float | None) -> pa.Table:
    """Return the columns of a table that have a role, named by it.

    Args:
        path: where the table comes from, for messages.
        table: as read.
        columns, min_rating: as of `read_interactions`.

    Raises:
        UserError: an unknown role, a column that is not there or stands twice.
    """
    chosen = dict(columns)
    if min_rating is not None:
        chosen.setdefault("rating", "rating")
    return columns_by_role(path, table, chosen, ROLES, ("user", "item"))


def interactions_of(where: str, table: pa.Table, min_rating: float | None, duplicates: str) -> Interactions:
    """Return the interactions of a table.

    Args:
        where: file or folder it comes from, for messages.
        table: (E) columns user, item, row (for messages) and, where they are known, timestamp, rating, split.
        min_rating, duplicates: as of `read_interactions`.

    Raises:
        UserError: a missing or NaN value, an unknown split, duplicates.
    """
    for role in ("user", "item"):
        table = table.set_column(table.column_names.index(role), role, whole_numbers(table[role]))
    for role in ("timestamp", "rating"):
        if role in table.column_names:
            table = with_numbers(where, table, role)
    if duplicates in ("first", "last"):  # before the rating: the last word counts, also where it is a low one
        table = deduplicated(table, duplicates)
    if min_rating is not None:
        table = table.filter(pc.greater_equal(table["rating"], min_rating))
        if not len(table):
            raise UserError(f"{where}: no row has a rating of at least {min_rating}")
    if "split" in table.column_names:
        _check_split(where, table)
    return from_columns(
        where, table["user"], table["item"],
        table["timestamp"] if "timestamp" in table.column_names else None,
        table["split"] if "split" in table.column_names else None,
        table["row"].to_numpy(), repeats=duplicates == "keep",
    )  # fmt: skip


def _check_split(where: str, table: pa.Table) -> None:
    parts = ["train", "dev", "test"]
    wrong = np.flatnonzero(~pc.is_in(table["split"].cast(pa.string()), pa.array(parts)).to_numpy())
    if len(wrong):
        value, row = table["split"][int(wrong[0])].as_py(), table["row"][int(wrong[0])]
        raise UserError(f"{where}, row {row}: unknown split {value!r}{nearest(str(value), parts)}")


def ids_to_rows(ids: pa.Array, wanted: pa.ChunkedArray, where: str, what: str) -> Array:
    """Return for each wanted original id its row in ids.

    Raises:
        UserError: an id that is not there.
    """
    if wanted.type != ids.type:  # as text, so that "12x" among numbers is an id that is not there, not a failed cast
        wanted, ids = wanted.cast(pa.string()), ids.cast(pa.string())
    rows = pc.index_in(wanted, ids)
    if rows.null_count:
        missing = wanted[int(np.flatnonzero(pc.is_null(rows).to_numpy())[0])].as_py()
        raise UserError(f"{where}: {what} {missing!r} is not among the interactions")
    return rows.to_numpy().astype(np.int64)
