"""Lists in a user's own file: what is read, and that each bad input is one message with the file and the row."""

import gzip
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from ragged import as_lists
from refusal import refusal_of

from lightning_vq.errors import UserError
from lightning_vq.sources.list_files import read_folder_of_lists, read_lists

ROWS = ["list,position,item", "7,2,x", "8,0,y", "7,0,z", "7,1,x", "8,0,x"]


def text_file(folder: Path, rows: list[str], name: str = "mine.csv") -> Path:
    text = ("\n".join(rows) + "\n").encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder / name


refusal = partial(refusal_of, read_lists)


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz", "mine.tsv", "mine.tsv.gz"])
def test_text_files(tmp_path: Path, name: str) -> None:
    rows = [row.replace(",", "\t") for row in ROWS] if ".tsv" in name else ROWS
    raw = read_lists(text_file(tmp_path, rows, name))
    assert as_lists(raw) == {7: ["z", "x", "x"], 8: ["y", "x"]}  # by position, ties by row; repeats stay
    assert raw.item_ids.to_pylist() == ["x", "y", "z"]
    assert raw.starts.tolist() == [0, 3, 5]
    assert raw.where == str(tmp_path / name)


def test_parquet_and_columns_of_other_names(tmp_path: Path) -> None:
    table = pa.table({"playlist": ["b", "a", "b"], "track": [40, 30, 30], "nr": [1.5, 0.0, 0.5]})
    pa.parquet.write_table(table, tmp_path / "mine.parquet")
    raw = read_lists(tmp_path / "mine.parquet", {"list": "playlist", "item": "track", "position": "nr"})
    assert as_lists(raw) == {"b": [30, 40], "a": [30]}


def test_a_log_is_read_as_histories(tmp_path: Path) -> None:
    path = text_file(tmp_path, ["user,item,timestamp", "ann,x,30", "bob,y,1", "ann,x,10", "ann,y,20"])
    assert as_lists(read_lists(path)) == {"ann": ["x", "y", "x"], "bob": ["y"]}
    path = text_file(tmp_path, ["user,item,position,timestamp", "ann,x,0,30", "ann,y,1,10"])
    assert as_lists(read_lists(path)) == {"ann": ["x", "y"]}


def test_lists_without_positions_are_as_their_rows_are(tmp_path: Path) -> None:
    assert as_lists(read_lists(text_file(tmp_path, ["item,list", "b,1", "a,2", "a,1"]))) == {1: ["b", "a"], 2: ["a"]}


def test_ids_that_are_no_plain_numbers_stay_text(tmp_path: Path) -> None:
    raw = read_lists(text_file(tmp_path, ["list,item", "1,007", "2,3"]))
    assert as_lists(raw) == {1: ["007"], 2: ["3"]}


def test_a_folder_with_creators_and_titles(tmp_path: Path) -> None:
    text_file(tmp_path, ROWS, "interactions.csv.gz")
    assert read_folder_of_lists(tmp_path).creators is None
    text_file(tmp_path, ["list,creator", "9,ann", "8,bob"], "users.csv.gz")
    text_file(tmp_path, ["item,title", "y,Song"], "items.csv.gz")
    raw = read_folder_of_lists(tmp_path)
    assert raw.creators.to_pylist() == [None, "bob"]
    assert raw.item_metadata is not None
    assert raw.item_metadata.titles == [None, "Song", None]
    text_file(tmp_path, ["list,creator", "8,ann", "8,bob"], "users.csv.gz")
    with pytest.raises(UserError, match=r"users\.csv\.gz: 1 rows name a list that another row names"):
        read_folder_of_lists(tmp_path)


# -- what is refused ---------------------------------------------------------------------------------------------------

BAD_ROWS = {
    "no list column": (["lst,item", "1,2"], ": there is no column 'list' for the list; did you mean 'lst'?"),
    "no item column": (["list,itm", "1,2"], ": there is no column 'item' for the item; did you mean 'itm'?"),
    "column twice": (["list,item,list", "1,2,1"], "column 'list' for the list stands more than once"),
    "a log without times": (["user,item", "1,2"], ": there is no column 'position' for the position; choose from"),
    "header only": (["list,position,item"], ": no lists"),
    "no list": (["list,item", "1,2", ",3"], ", row 3: the list is missing (1 such rows)"),
    "no item": (["list,item", "a,x", "b,", "c,"], ", row 3: the item is missing (2 such rows)"),
    "no position": (["list,position,item", "1,0,2", "1,,3"], ", row 3: the position is missing or NaN"),
    "a word as position": (["list,position,item", "1,0,2", "1,1st,3"], ", row 3: the position must be a number, not"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows(tmp_path: Path, case: str) -> None:
    rows, expected = BAD_ROWS[case]
    assert expected in refusal(text_file(tmp_path, rows))


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = text_file(tmp_path, ROWS)
    message = refusal(path, columns={"position": "positon"})
    assert (
        "no column 'positon' for the position; did you mean 'position'? (--data.init_args.columns.position=NAME)"
        in message
    )
    with pytest.raises(UserError, match="columns: there is no role 'users'; choose from item, list, position"):
        read_lists(path, {"users": "list"})


def test_histories_by_the_roles_of_other_families(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("u,i,t\na,x,2\na,y,1\nb,x,1\nb,z,2\n")
    raw = read_lists(path, {"user": "u", "timestamp": "t", "item": "i"})
    assert raw.item_ids.take(pa.array(raw.items)).to_pylist() == ["y", "x", "x", "z"]
    with pytest.raises(UserError, match="position"):
        read_lists(path, {"user": "u", "item": "i"})


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file at .*nowhere\.csv"):
        read_lists(tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match=r"lacks interactions\.csv\.gz: put it there, or remove the folder and run: "):
        read_folder_of_lists(tmp_path)
