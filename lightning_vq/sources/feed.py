"""A table that is read in batches, so that it may be larger than memory: CSV, TSV, Parquet, a folder of Parquet files.

Shapes: E rows of a batch.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.files import SUFFIXES

BATCH = 1 << 20  # rows of Parquet
BLOCK = 64 << 20  # bytes of text
BROKEN = (pa.ArrowException, OSError, EOFError, zlib.error)  # what reading a broken file provokes


class Part(NamedTuple):
    """Some rows of a table in its order."""

    where: str  # file they stand in, for messages
    first: int  # number of the first of them there: a record of a CSV, whose header is 1, or a row of Parquet from 1
    rows: pa.RecordBatch  # (E)

    def at(self, i: int) -> str:
        """Return where a row stands: "clicks.csv, row 71003"."""
        return f"{self.where}, row {self.first + i}"


class Feed(NamedTuple):
    """A table."""

    where: str  # for messages
    columns: tuple[str, ...]
    parts: Callable[[Sequence[str]], Iterator[Part]]  # of the columns named, text as it is written

    def check(self, wanted: dict[str, str]) -> None:
        """Refuse a table that lacks a column.

        Args:
            wanted: column -> key of the config that names it.

        Raises:
            UserError: with the nearest name.
        """
        for name, key in wanted.items():
            if name not in self.columns:
                raise UserError(f"{self.where}: there is no column {name!r} ({key}){nearest(name, self.columns)}")
            if self.columns.count(name) > 1:
                raise UserError(f"{self.where}: the column {name!r} ({key}) stands more than once in the header")


def feed_of(path: Path) -> Feed:
    """Open a file, or a folder of Parquet files of one schema, read in the order of their names.

    Whatever is wrong further on in it (rows that break off or have too few fields, a file of other columns) is a
    UserError with file and row when the parts are read.

    Raises:
        UserError: there is nothing of a known kind, or its columns cannot be read.
    """
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        if not files:
            raise UserError(f"{path}: the folder has no .parquet files")
        return _of_parquet(path, files)
    if not path.is_file():
        raise UserError(f"no file at {path}")
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: unknown kind of file; the name must end in one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    return _of_parquet(path, [path]) if path.suffix == ".parquet" else _of_text(path)


def feed_of_table(where: str, table: pa.Table, first: int = 1) -> Feed:
    """Return a table at hand as a feed.

    Args:
        where: file it comes from.
        table: whole.
        first: number of its first row there.
    """

    def parts(columns: Sequence[str]) -> Iterator[Part]:
        row = first
        for rows in table.select(list(columns)).combine_chunks().to_batches(max_chunksize=BATCH):
            yield Part(where, row, rows)
            row += len(rows)

    return Feed(where, tuple(table.column_names), parts)


def _of_parquet(path: Path, files: Sequence[Path]) -> Feed:
    schema = _schema(files[0])

    def parts(columns: Sequence[str]) -> Iterator[Part]:
        for file in files:  # all of them before the first row, which may be hours before the last
            _refuse_other(file, _schema(file), files[0], schema, columns)
        for file in files:
            row = 1
            try:
                for rows in pyarrow.parquet.ParquetFile(file).iter_batches(BATCH, columns=list(columns)):
                    yield Part(str(file), row, rows)
                    row += len(rows)
            except BROKEN as error:
                raise UserError(f"{file}: cannot be read beyond row {row - 1}: {_line(error)}") from None

    return Feed(str(path), tuple(schema.names), parts)


def _schema(file: Path) -> pa.Schema:
    try:
        return pyarrow.parquet.read_schema(file)
    except BROKEN as error:
        raise UserError(f"{file}: is no readable Parquet file: {_line(error)}") from None


def _refuse_other(file: Path, found: pa.Schema, other: Path, known: pa.Schema, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in found.names:
            raise UserError(f"{file}: there is no column {name!r}, which {other.name} has{nearest(name, found.names)}")
        if found.field(name).type != known.field(name).type:
            types = f"{found.field(name).type}, in {other.name} {known.field(name).type}"
            raise UserError(f"{file}: the column {name!r} holds {types}")


def _of_text(path: Path) -> Feed:
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)  # a title may have some

    def reader(columns: Sequence[str] | None, threads: bool = True) -> pyarrow.csv.CSVStreamingReader:
        names = None if columns is None else list(dict.fromkeys(columns))
        # As written, for a CSV tells no types: "007" is an id, and a column's first block does not speak for the rest.
        converting = pyarrow.csv.ConvertOptions(
            include_columns=names, column_types={name: pa.string() for name in names or ()}
        )
        block = BLOCK if columns is not None else 1 << 20
        reading = pyarrow.csv.ReadOptions(use_threads=threads, block_size=block)
        return pyarrow.csv.open_csv(path, reading, parse, converting)

    def refusal(error: Exception, columns: Sequence[str] | None, read: int) -> UserError:
        try:  # once more, for errors name the row with one thread only
            for rows in reader(columns, threads=False):
                del rows
        except BROKEN as again:
            error = again
        told = _line(error)
        if named := re.search(r"(CSV parse error: )?Row #(\d+): ", told):
            return UserError(f"{path}, row {named[2]}: {told.replace(named[0], '', 1)}")
        return UserError(f"{path}: cannot be read beyond row {max(read, _rows_of_gzip(path))}: {told}")

    def parts(columns: Sequence[str]) -> Iterator[Part]:
        row = 2
        try:
            for rows in reader(columns):
                yield Part(str(path), row, rows)
                row += len(rows)
        except BROKEN as error:
            raise refusal(error, columns, row - 1) from None

    try:
        columns = tuple(reader(None).schema.names)
    except BROKEN as error:
        raise refusal(error, None, 0) from None
    return Feed(str(path), columns, parts)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _rows_of_gzip(path: Path) -> int:
    """Return how many rows of a gzip file are there, header included, before it breaks off."""
    rows = 0
    if path.suffix == ".gz":
        try:
            with gzip.open(path) as file:
                while block := file.read1(1 << 20):
                    rows += block.count(b"\n")
        except BROKEN:
            pass
    return rows
