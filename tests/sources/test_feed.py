"""A table in batches: the same rows of every kind of file and in whatever batch, one message for what is broken."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from refusal import refusal_of

from lightning_vq.errors import UserError
from lightning_vq.sources import feed
from lightning_vq.sources.feed import Feed, feed_of, feed_of_table

ROWS = 5000
TEXT = pa.table(
    {
        "user": [f"{i % 97:03}" for i in range(ROWS)],  # as written: 007 is no 7
        "item": [f"i{i * 7919 % 1009}" for i in range(ROWS)],
        "label": [str(i % 2) for i in range(ROWS)],
    }
)


def delimited(table: pa.Table, delimiter: str = ",") -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(delimiter=delimiter))
    return sink.getvalue().to_pybytes()


def csv_gz(folder: Path) -> Path:
    (folder / "table.csv.gz").write_bytes(gzip.compress(delimited(TEXT)))
    return folder / "table.csv.gz"


def tsv(folder: Path) -> Path:
    (folder / "table.tsv").write_bytes(delimited(TEXT, "\t"))
    return folder / "table.tsv"


def parquet(folder: Path) -> Path:
    pyarrow.parquet.write_table(TEXT, folder / "table.parquet", row_group_size=700)
    return folder / "table.parquet"


def parquets(folder: Path) -> Path:
    (folder / "many").mkdir()
    for name, start, end in (("b", 1234, 1235), ("a", 0, 1234), ("c", 1235, ROWS)):
        pyarrow.parquet.write_table(TEXT.slice(start, end - start), folder / "many" / f"{name}.parquet")
    (folder / "many" / "_SUCCESS").touch()
    return folder / "many"


def whole(table: Feed, columns: list[str]) -> pa.Table:
    return pa.Table.from_batches([part.rows for part in table.parts(columns)])


def read(path: Path) -> None:
    table = feed_of(path)
    list(table.parts(table.columns))


# -- what arrives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 333, 1 << 20])
@pytest.mark.parametrize("made", [csv_gz, tsv, parquet, parquets])
def test_same_rows_in_whatever_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[Path], Path], batch: int
) -> None:
    monkeypatch.setattr(feed, "BATCH", max(batch, 7))
    monkeypatch.setattr(feed, "BLOCK", max(batch, 100))
    table = feed_of(made(tmp_path))
    assert table.columns == ("user", "item", "label")
    assert whole(table, ["label", "user"]).equals(TEXT.select(["label", "user"]))
    assert whole(table, ["item"]).equals(TEXT.select(["item"]))  # a second time, and other columns


@pytest.mark.parametrize(("made", "first"), [(csv_gz, 2), (tsv, 2), (parquet, 1)])
def test_rows_know_where_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[Path], Path], first: int
) -> None:
    monkeypatch.setattr(feed, "BATCH", 256)
    monkeypatch.setattr(feed, "BLOCK", 4096)
    path = made(tmp_path)
    row = first
    for part in feed_of(path).parts(["item"]):
        assert part.first == row
        assert part.at(3) == f"{path}, row {row + 3}"
        row += len(part.rows)
    assert row == first + ROWS


def test_rows_of_a_folder_stand_in_its_files(tmp_path: Path) -> None:
    path = parquets(tmp_path)
    where = [(part.where, part.first, len(part.rows)) for part in feed_of(path).parts(["item"])]
    sizes = {"a": 1234, "b": 1, "c": ROWS - 1235}
    assert where == [(str(path / f"{name}.parquet"), 1, size) for name, size in sizes.items()]


def test_a_table_at_hand() -> None:
    table = feed_of_table("here", TEXT, first=2)
    assert whole(table, ["label", "item"]).equals(TEXT.select(["label", "item"]))
    assert next(iter(table.parts(["item"]))).at(0) == "here, row 2"


@pytest.mark.parametrize("written", [b"\xef\xbb\xbfuser,item\r\n1,a\r\n2,b\r\n", b'user,item\n1,a\n2,"b"\n'])
def test_marks_and_quotes(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(written)
    assert whole(feed_of(tmp_path / "t.csv"), ["user", "item"]).to_pydict() == {"user": ["1", "2"], "item": ["a", "b"]}


def test_nothing_is_taken_for_missing_in_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item\n,NA\nnull,nan\n")
    assert whole(feed_of(tmp_path / "t.csv"), ["user", "item"]).to_pydict() == {
        "user": ["", "null"],
        "item": ["NA", "nan"],
    }


def test_columns_and_no_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item\n")
    pyarrow.parquet.write_table(TEXT.slice(0, 0), tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert list(feed_of(tmp_path / name).parts(["user"])) == []


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [csv_gz, parquet, parquets])
def test_missing_column(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    path = made(tmp_path)
    with pytest.raises(
        UserError, match=r"there is no column 'usr' \(schema.categorical\); did you mean 'user'\?"
    ) as told:
        feed_of(path).check({"item": "schema.categorical", "usr": "schema.categorical"})
    assert str(told.value).startswith(f"{path}: ")


def test_column_that_stands_twice(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item,user\n1,a,2\n")
    table = feed_of(tmp_path / "t.csv")
    table.check({"item": "schema.categorical"})
    with pytest.raises(UserError, match=r"'user' \(schema.categorical\) stands more than once"):
        table.check({"user": "schema.categorical"})


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        ("t.csv", b"", ": the file is empty"),
        ("t.parquet", b"", ": the file is empty"),
        # No time: it would stand in the test's name, which must be the same in every worker.
        ("t.csv.gz", gzip.compress(b"", mtime=0), ": cannot be read beyond row 0: Empty CSV file"),
        ("t.csv", b"user,item,label\n1,a,0\n2,b\n3,c,1\n", ", row 3: Expected 3 columns, got 2: 2,b"),
        ("t.tsv", b"user\titem\n1\ta\n2\tb\n3\tc\td\n", ", row 4: Expected 2 columns, got 3: 3\tc\td"),
        ("t.csv", b"user,item\n1,a\n2,\xff\n", ", row 3: In CSV column #1: CSV conversion error to string"),
        ("t.csv.gz", b"user,item\n1,a\n", ": cannot be read beyond row 0: zlib inflate failed"),
        ("t.parquet", b"user,item\n1,a\n", ": is no readable Parquet file: "),
        ("t.txt", b"user,item\n1,a\n", ": unknown kind of file; the name must end in one of .csv, "),
    ],
)
def test_broken_files(tmp_path: Path, name: str, written: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(written)
    assert refusal_of(read, tmp_path / name).startswith(expected)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file at .*t\.csv"):
        feed_of(tmp_path / "t.csv")
    assert refusal_of(feed_of, tmp_path) == ": the folder has no .parquet files"


@pytest.mark.parametrize("block", [1 << 12, 1 << 24])
def test_gzip_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(feed, "BLOCK", block)
    path = csv_gz(tmp_path)
    packed = path.read_bytes()
    path.write_bytes(packed[: len(packed) // 2])
    told = refusal_of(read, path)
    assert told.startswith(": cannot be read beyond row ")
    row = int(told.split()[6].rstrip(":"))
    assert told == f": cannot be read beyond row {row}: Truncated compressed stream"
    assert ROWS / 4 < row < ROWS * 3 / 4


def test_ragged_row_far_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BLOCK", 1 << 12)
    (tmp_path / "t.csv").write_bytes(delimited(TEXT) + b"1,a\n" + b"1,a,0\n" * 3000)
    assert refusal_of(read, tmp_path / "t.csv") == f", row {ROWS + 2}: Expected 3 columns, got 2: 1,a"


def test_parquet_that_breaks_off(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    packed = bytearray(path.read_bytes())
    half = len(packed) // 2
    packed[half - 2000 : half] = bytes(2000)  # pages, not the footer
    path.write_bytes(packed)
    assert refusal_of(read, path).startswith(": cannot be read beyond row ")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"usr": ["x"], "item": ["y"]}, ": there is no column 'user', which a.parquet has; did you mean 'usr'?"),
        ({"user": [7], "item": ["y"]}, ": the column 'user' holds int64, in a.parquet string"),
    ],
)  # fmt: skip
def test_file_of_another_schema_in_a_folder(tmp_path: Path, other: dict, expected: str) -> None:
    path = parquets(tmp_path)
    pyarrow.parquet.write_table(pa.table(other), path / "d.parquet")
    table = feed_of(path)
    with pytest.raises(UserError) as told:
        next(iter(table.parts(["user", "item"])))  # before the first row of the first file
    assert str(told.value) == f"{path / 'd.parquet'}{expected}"
    assert whole(table, ["item"]).num_rows == ROWS + 1  # it is the same in what is asked for
