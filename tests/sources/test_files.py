"""A user's own file: what is read, and that each bad input is one message with the file, the row and the way out."""

import gzip
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from command import refused
from refusal import refusal_of

from lightning_vq.errors import UserError
from lightning_vq.sources.files import read_interactions

ROWS = ["user,item,rating,timestamp", "ann,x,5,100", "bob,y,3,102", "ann,z,1,101"]


def text_file(folder: Path, rows: list[str], name: str = "mine.csv", end: str = "\n") -> Path:
    text = ("\n".join(rows) + end).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder / name


def parquet_file(folder: Path, **columns: Any) -> Path:
    pa.parquet.write_table(pa.table(columns), folder / "mine.parquet")
    return folder / "mine.parquet"


refusal = partial(refusal_of, read_interactions)


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz", "mine.tsv", "mine.tsv.gz"])
def test_text_files(tmp_path: Path, name: str) -> None:
    rows = [row.replace(",", "\t") for row in ROWS] if ".tsv" in name else ROWS
    raw = read_interactions(text_file(tmp_path, rows, name))
    assert raw.user_ids.to_pylist() == ["ann", "bob"]
    assert raw.item_ids.to_pylist() == ["x", "y", "z"]
    assert raw.users.tolist() == [0, 1, 0]
    assert raw.items.tolist() == [0, 1, 2]
    assert raw.order.tolist() == [100, 102, 101]
    assert raw.row_number.tolist() == [2, 3, 4]
    assert raw.split is None


def test_parquet_with_integer_ids_and_dates(tmp_path: Path) -> None:
    days = [datetime(2020, 1, 2), datetime(2020, 1, 1)]
    raw = read_interactions(parquet_file(tmp_path, user=[7, 7], item=[40, 30], timestamp=days, split=["test", "train"]))
    assert raw.user_ids.to_pylist() == [7]
    assert raw.item_ids.to_pylist() == [40, 30]
    assert raw.order[0] - raw.order[1] == 86_400 * 10**6
    assert raw.split.tolist() == ["test", "train"]
    assert raw.row_number.tolist() == [1, 2]


def test_parquet_categories_without_rows_are_no_users(tmp_path: Path) -> None:
    users = pa.DictionaryArray.from_arrays(pa.array([2, 0]), pa.array(["ann", "nobody", "bob"]))
    assert read_interactions(parquet_file(tmp_path, user=users, item=[1, 2])).user_ids.to_pylist() == ["bob", "ann"]


def test_column_mapping_and_least_rating(tmp_path: Path) -> None:
    path = text_file(tmp_path, ["who,what,stars", "1,a,5", "1,b,2", "2,b,4"])
    raw = read_interactions(path, {"user": "who", "item": "what", "rating": "stars"}, min_rating=4)
    assert raw.user_ids.to_pylist() == [1, 2]
    assert raw.item_ids.to_pylist() == ["a", "b"]
    assert raw.row_number.tolist() == [2, 4]


def test_ids_that_turn_to_text_late_stay_whole(tmp_path: Path) -> None:
    path = text_file(tmp_path, ["user,item", *(f"{i},{i}" for i in range(200_000)), "u7,3"])
    raw = read_interactions(path)
    assert raw.user_ids[-1].as_py() == "u7"
    assert raw.user_ids[0].as_py() == "0"


@pytest.mark.parametrize(("keep", "rows"), [("first", [2, 3]), ("last", [3, 4])])
def test_without_times_the_first_or_last_row_is_kept(tmp_path: Path, keep: str, rows: list[int]) -> None:
    raw = read_interactions(text_file(tmp_path, ["user,item", "a,x", "a,y", "a,x"]), duplicates=keep)
    assert raw.row_number.tolist() == rows


def test_a_whole_file_without_a_last_newline_is_read(tmp_path: Path) -> None:
    assert len(read_interactions(text_file(tmp_path, ROWS, end="")).users) == 3


# -- what is refused ---------------------------------------------------------------------------------------------------

BAD_ROWS = {
    "no user column": (["usr,item", "1,2"], "no column 'user' for the user; did you mean 'usr'?"),
    "column twice": (["user,item,user", "1,2,1"], "column 'user' for the user stands more than once"),
    "header only": (["user,item"], "no interactions"),
    "missing number": (["user,item", "1,2", ",3"], ", row 3: the user is missing"),
    "missing text": (["user,item", "ann,x", "bob,"], ", row 3: the item is missing"),
    "NaN rating": (["user,item,rating", "1,2,3", "1,3,NaN"], ", row 3: the rating is missing or NaN"),
    "word as rating": (["user,item,rating", "1,2,3", "1,3,good"], ", row 3: the rating must be a number, not 'good'"),
    "odd rating": (["user,item,rating", "1,2,3", "1,3,1.2.3"], ", row 3: the rating must be a number, not '1.2.3'"),
    "time of day": (["user,item,timestamp", "1,2,12:30:00"], ", row 2: the timestamp must be a number"),
    "no date": (["user,item,timestamp", "1,2,2024-01-31", "1,3,soon"], "row 3: the timestamp must be a number, or"),
    "no dashes": (["user,item,timestamp", "1,2,2024-01-31", "1,3,2024-02-01", "1,4,20240203"], "row 4: the timestamp"),
    "no zone": (["user,item,timestamp", "1,2,2024-01-31T07:00Z", "1,3,2024-02-01T07:00Z", "1,4,soon"], ", row 4: the"),
    "no day": (["user,item,timestamp", "1,2,2024-01-31 07:00", "1,3,2024-02-31"], "row 3: the timestamp"),
    "duplicate": (["user,item", "7,x", "7,y", "7,x"], ", row 4: user 7 and item 'x' stand in row 2 already"),
    "unknown split": (["user,item,split", "1,2,train", "1,3,tets"], ", row 3: unknown split 'tets'; did you mean"),
    "no split": (["user,item,split", "1,2,train", "1,3,"], ", row 3: unknown split ''; choose from dev, test, train"),
    "too many columns": (["user,item", "1,2", "1,3,4"], "Row #3: Expected 2 columns, got 3: 1,3,4"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows(tmp_path: Path, case: str) -> None:
    rows, expected = BAD_ROWS[case]
    assert expected in refusal(text_file(tmp_path, rows))


def test_days_and_times_of_days_go_together(tmp_path: Path) -> None:
    rows = ["user,item,timestamp", "1,2,2024-01-31 07:00", "1,3,2024-01-31", "1,4,2024-01-31T08:00:00.5"]
    raw = read_interactions(text_file(tmp_path, rows))
    assert raw.order is not None
    assert (raw.order - raw.order[1]).tolist() == [7 * 3600 * 10**6, 0, 8 * 3600 * 10**6 + 500_000]


def test_duplicates_say_which_option_mends_them(tmp_path: Path) -> None:
    assert "--data.init_args.duplicates=first" in refusal(text_file(tmp_path, ["user,item", "1,2", "1,2"]))


def test_mapped_column_that_is_not_there(tmp_path: Path) -> None:
    message = refusal(text_file(tmp_path, ROWS), columns={"timestamp": "time"})
    assert "no column 'time' for the timestamp; did you mean 'timestamp'?" in message
    assert "--data.init_args.columns.timestamp=NAME" in message


def test_a_column_of_two_roles(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("user,item\nu,i\n")
    with pytest.raises(UserError, match="columns: 'user' has two roles; each needs a column of its own"):
        read_interactions(tmp_path / "mine.csv", {"user": "user", "item": "user"})


def test_unknown_role(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no role 'usr'; did you mean 'user'"):
        read_interactions(text_file(tmp_path, ROWS), columns={"usr": "user"})


def test_least_rating_that_no_row_has(tmp_path: Path) -> None:
    assert "no row has a rating of at least 9" in refusal(text_file(tmp_path, ROWS), min_rating=9)


def test_missing_empty_and_unknown_files(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert "empty" in refusal(tmp_path / "empty.csv")
    assert ".csv, .tsv, .csv.gz, .tsv.gz, .parquet" in refusal(text_file(tmp_path, ROWS, "mine.txt"))
    with pytest.raises(UserError, match=r"no file at .*nowhere\.csv"):
        read_interactions(tmp_path / "nowhere.csv")


def test_semicolons_under_a_name_of_commas(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("user;item\nu;i\n")
    with pytest.raises(UserError, match="looks separated by semicolons: save it with commas, or with tabs"):
        read_interactions(tmp_path / "mine.csv")


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz"])
def test_tabs_under_a_name_of_commas(tmp_path: Path, name: str) -> None:
    rows = [row.replace(",", "\t") for row in ROWS]
    assert refusal(text_file(tmp_path, rows, name)).startswith(": the file looks tab-separated")
    assert len(read_interactions(text_file(tmp_path, ["user,item,a\tb", "ann,x,1"])).users) == 1


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("user,item\nJosé,x\n".encode("latin-1"))
    assert "invalid UTF8" in refusal(tmp_path / "latin.csv")


# -- files that break off ----------------------------------------------------------------------------------------------


def test_gzip_that_breaks_off(tmp_path: Path) -> None:
    path = text_file(tmp_path, ["user,item", *(f"{i * 7919 % 1009},{i}" for i in range(5000))], "mine.csv.gz")
    whole = path.read_bytes()
    for size in (12, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        assert "cannot be read to its end" in refusal(path)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("ann,z", "Row #4: Expected 4 columns, got 2: ann,z"),
        ("ann,z,1,1", ", row 4: the file seems to break off in the middle of this row"),
        ("ann,z,1,", ", row 4: the file seems to break off in the middle of this row"),
    ],
)
def test_csv_that_breaks_off_in_a_row(tmp_path: Path, last: str, expected: str) -> None:
    assert expected in refusal(text_file(tmp_path, [*ROWS[:-1], last], end=""))


def test_parquet_that_breaks_off(tmp_path: Path) -> None:
    path = parquet_file(tmp_path, user=list(range(1000)), item=list(range(1000)))
    whole = path.read_bytes()
    for size in (3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "cannot be read to its end" in refusal(path)


def test_parquet_with_missing_values_and_lists(tmp_path: Path) -> None:
    assert ", row 2: the user is missing" in refusal(parquet_file(tmp_path, user=[1.0, float("nan")], item=[1, 2]))
    text = parquet_file(tmp_path, user=[1, 2], item=[1, 2], rating=["4.5", None])
    assert ", row 2: the rating is missing" in refusal(text)
    assert "must hold numbers or UTF-8 text" in refusal(parquet_file(tmp_path, user=[[1], [2]], item=[1, 2]))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("user: listener, item: track", "--columns: must map roles to columns, as '{user: listener, item: track}'"),
        (
            "{user: listener, item: trak}",
            "no column 'trak' for the item; did you mean 'track'? (--columns '{item: NAME}')",
        ),
    ],
)
def test_data_info_tells_its_own_options(
    tmp_path: Path, columns: str, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plays.csv").write_text("listener,track\na,b\na,c\n")
    assert said in refused(monkeypatch, capfd, "data", "info", str(tmp_path / "plays.csv"), "--columns", columns)


@pytest.mark.parametrize(("keep", "kept"), [("first", [10, 5]), ("last", [30, 5])])
def test_what_stands_twice_counts_by_its_time_and_not_its_row(tmp_path: Path, keep: str, kept: list[int]) -> None:
    rows = ["user,item,timestamp", "ann,x,20", "ann,x,30", "ann,x,10", "ann,y,5"]
    raw = read_interactions(text_file(tmp_path, rows), duplicates=keep)
    assert raw.order is not None
    assert sorted(raw.order.tolist(), reverse=True) == kept
