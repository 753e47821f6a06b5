"""What is wrong with a table of samples is told in one line: the file, the row, the column, the nearest right name."""

import gzip
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_tables import SCHEMA, as_text, encoded, sample_table, written
from refusal import refusal_of

from lightning_vq.data import ClickThroughData
from lightning_vq.data.encoding import refuse_names
from lightning_vq.errors import UserError
from lightning_vq.sources import feed
from lightning_vq.sources.schema import Schema

PLAIN = Schema(["u"], {"x": "standardised"}, split="part")


def changed(row: int, **values: Any) -> pa.Table:
    """Return the sample table, lists as text, with other values in a row."""
    table = as_text(sample_table(40))
    for name, value in values.items():
        column = table[name].to_pylist()
        column[row] = value
        table = table.set_column(table.column_names.index(name), name, pa.array(column))
    return table


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"clicked": 2}, "the label 'clicked' is 2; it must be 0 or 1 (or give data.init_args.schema.label_above, "),
        ({"clicked": 0.5}, "the label 'clicked' is 0.5; it must be 0 or 1"),
        ({"clicked": None}, "the label 'clicked' is missing"),
        ({"part": "tests"}, "unknown split 'tests' in the column 'part'; did you mean 'test'?"),
        ({"part": None}, "unknown split '' in the column 'part'; choose from dev, test, train"),
    ],
)
@pytest.mark.parametrize(("name", "first"), [("t.csv", 2), ("t.parquet", 1), ("t", 1)])
def test_a_wrong_value_in_a_row(tmp_path: Path, name: str, first: int, change: dict[str, Any], told: str) -> None:
    path = written(changed(20, **change), tmp_path / name)
    where = f", row {first + 20}: "
    if name == "t":  # three files of 14 rows
        where = "/part-1.parquet, row 7: "
    assert refusal_of(encoded, path).startswith(where + told)


@pytest.mark.parametrize(
    ("value", "told"),
    [("12..5", "'12..5', not a number"), ("cheap", "'cheap', not a number"), ("-inf", "'-inf', which is not finite"),
     ("1e999", "'1e999', which is not finite")],
)  # fmt: skip
def test_text_among_numbers_far_into_a_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    monkeypatch.setattr(feed, "BLOCK", 1 << 18)  # bytes, of more than a million
    rows = [f"train,{n % 2},u{n % 9},{n % 7}" for n in range(80_000)]
    rows[1], rows[2], rows[3] = "train,0,u1,nan", "train,0,u1,+.5", "train,0,u1, "  # which are no mistakes
    rows[71_001] = f"train,0,u1,{value}"
    if "finite" not in told:
        rows[75_000] = "train,0,u1,later"
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["part,label,u,x", *rows, ""]))
    assert refusal_of(encoded, path, schema=PLAIN) == f", row 71003: the column 'x' holds {told}"


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"u": [1.0, 2.5, 3.0]}, ", row 2: the column of ids 'u' holds 2.5, which is no id; a numeric column belongs"),
        ({"u": [1.0, float("inf"), 3.0]}, ", row 2: the column of ids 'u' holds inf, which is no id"),
        ({"u": [[1], [2], [3]]}, ": the column 'u' holds list<"),
        ({"x": [[1], [2], [3]]}, ": the column 'x' holds list<"),
        ({"x": [1.0, float("nan"), float("-inf")]}, ", row 3: the column 'x' holds -inf, which is not finite"),
        ({"part": [[1], [2], [3]]}, ": the column 'part' holds list<"),
        ({"part": [0, 1, 2]}, ", row 1: unknown split '0' in the column 'part'; choose from dev, test, train"),
        ({"label": ["1", "no", "0"]}, ", row 2: the column 'label' holds 'no', not a number"),
        ({"seen": [[1.0, 2.0], [], [3.0, 4.5]]}, ", row 3: the column of ids 'seen' holds 4.5, which is no id"),
        ({"seen": [1, 2, 3]}, ": the sequence column 'seen' holds int64, neither text nor lists"),
        ({"t": [1, None, 3]}, ", row 2: 't' is missing"),
    ],
)
def test_types_of_parquet_that_do_not_fit(tmp_path: Path, columns: dict[str, list[Any]], told: str) -> None:
    whole: dict[str, list[Any]] = {"label": [0, 1, 0], "u": [1, 2, 3], "x": [1, 2, 3]}
    whole |= {"part": ["train", "dev", "test"], "seen": [[1], [], [2]], "t": [1, 2, 3], **columns}
    path = written(pa.table(whole), tmp_path / "t.parquet")
    schema = replace(PLAIN, sequence={"seen": "u"}, timestamp="t")
    assert refusal_of(encoded, path, schema=schema, kind="time" if "t" in columns else "given").startswith(told)


# -- columns and files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "key", "told"),
    [
        ({"categorical": ["user", "items"]}, "categorical", "; did you mean 'item'?"),
        ({"numeric": {"prize": 3}}, "numeric", "; did you mean 'price'?"),
        ({"sequence": {"histroy": "item"}}, "sequence", "; did you mean 'history'?"),
        ({"label": "clik"}, "label", "; did you mean 'clicked'?"),
        ({"split": "parts"}, "split", "; did you mean 'part'?"),
        (
            {"group": "zzz"},
            "group",
            "; choose from age, clicked, history, item, left_out, part, price, time, user, words",
        ),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_column_that_is_not_there(tmp_path: Path, name: str, change: dict[str, Any], key: str, told: str) -> None:
    path = written(sample_table(40), tmp_path / name)
    absent = change[key] if isinstance(change[key], str) else list(change[key])[-1]
    expected = f": there is no column {absent!r} (data.init_args.schema.{key}){told}"
    schema = replace(SCHEMA, sequence={}, **change) if key != "sequence" else replace(SCHEMA, **change)
    assert refusal_of(encoded, path, schema=schema) == expected


def test_a_timestamp_is_asked_for_where_the_split_goes_by_it(tmp_path: Path) -> None:
    path, schema = written(sample_table(40), tmp_path / "t.csv"), replace(SCHEMA, timestamp="tim", split="absent")
    assert refusal_of(encoded, path, schema=schema, kind="time").endswith("schema.timestamp); did you mean 'time'?")
    encoded(path, schema, "ratio")  # reads neither


def test_a_folder_of_files_that_are_not_of_one_kind(tmp_path: Path) -> None:
    folder = written(sample_table(90), tmp_path / "t")
    second = folder / "part-1.parquet"
    table = pq.read_table(second)
    pq.write_table(table.rename_columns([name.replace("price", "prices") for name in table.column_names]), second)
    told = refusal_of(encoded, folder)
    assert told == "/part-1.parquet: there is no column 'price', which part-0.parquet has; did you mean 'prices'?"
    pq.write_table(table.set_column(table.column_names.index("item"), "item", table["item"].cast(pa.string())), second)
    assert refusal_of(encoded, folder) == "/part-1.parquet: the column 'item' holds string, in part-0.parquet int64"
    pq.write_table(table.select(list(reversed(table.column_names))), second)
    encoded(folder)  # another order is no other kind
    second.write_bytes(second.read_bytes()[:300])
    assert refusal_of(encoded, folder).startswith("/part-1.parquet: is no readable Parquet file: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    table = sample_table(40)
    csv, zipped = (written(table, tmp_path / name) for name in ("t.csv", "t.csv.gz"))
    with pytest.raises(UserError, match=r"^no file at .*absent\.csv$"):
        encoded(tmp_path / "absent.csv")
    zipped.write_bytes(zipped.read_bytes()[:200])
    assert "cannot be read" in refusal_of(encoded, zipped)
    lines = csv.read_text().split("\n")
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("part,label,u,x\n" + "train,1,a,2\n" * 3 + "dev,1,a\n" + "test,0,a,2\n")
    assert re.match(r", row 5: Expected 4 columns, got 3", refusal_of(encoded, ragged, schema=PLAIN))
    for name, text, told in (
        ("empty.csv", "", ": the file is empty"),
        ("head.csv", lines[0] + "\n", ": there are no rows"),
        (
            "twice.csv",
            "part,label,u,x,x\ntrain,1,a,2,3\n",
            ": the column 'x' (data.init_args.schema.numeric) stands more",
        ),
    ):
        (tmp_path / name).write_text(text)
        schema = PLAIN if name == "twice.csv" else SCHEMA
        assert refusal_of(encoded, tmp_path / name, schema=schema).startswith(told), name
    (tmp_path / "folder").mkdir()
    assert refusal_of(encoded, tmp_path / "folder") == ": the folder has no .parquet files"
    (tmp_path / "t.json").write_text("{}")
    assert refusal_of(encoded, tmp_path / "t.json").startswith(
        ": unknown kind of file; the name must end in one of .csv"
    )
    with gzip.open(tmp_path / "good.csv.gz", "wt") as file:
        file.write("part,label,u,x\ntrain,1,a,2\ndev,1,a,3\ntest,0,a,2\n")
    encoded(tmp_path / "good.csv.gz", PLAIN)


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_part_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("part,label,u,x,t\ntrain,1,a,2,5\ntest,1,a,3,5\ntest,0,a,2,5\n")
    assert refusal_of(encoded, path, schema=PLAIN) == ": the dev part is empty (3 rows, split=given)"
    assert refusal_of(encoded, path, schema=PLAIN, kind="ratio") == ": the test part is empty (3 rows, split=ratio)"
    schema = replace(PLAIN, timestamp="t")
    assert refusal_of(encoded, path, schema=schema, kind="time") == ": the dev part is empty (3 rows, split=time)"
    dropped = replace(PLAIN, label_drop=[0, 1])
    assert refusal_of(encoded, path, schema=dropped) == ": there are no rows but those of schema.label_drop"


def test_groups_and_values_that_training_lacks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("part,label,u,x,g\ntrain,1,a,2,5\ndev,1,b,3,5\ntest,0,a,2,\n")
    grouped = replace(PLAIN, group="g")
    assert refusal_of(encoded, path, schema=grouped, kind="group") == ": 1 rows have no group to be split by"
    rare = replace(PLAIN, min_count=2)
    assert refusal_of(encoded, path, schema=rare) == ": no value of 'u' stands in 2 training rows"


# -- schema ------------------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"schema": Schema()}, "data.init_args.schema names no categorical, numeric or sequence column"),
    ({"schema": Schema(["u", "u"])}, "data.init_args.schema: the column 'u' is named twice"),
    ({"schema": Schema(["u"], {"u": 3})}, "data.init_args.schema: the column 'u' is named twice"),
    ({"schema": Schema(["label"])}, "data.init_args.schema: the column 'label' is named twice"),
    ({"schema": Schema(["u"], {"x": 1})}, "data.init_args.schema.numeric.x is 1; it must be at least 2 buckets, or "),
    (
        {"schema": Schema(["u"], {"x": "log"})},
        "data.init_args.schema.numeric.x is 'log'; it must be at least 2 buckets",
    ),
    (
        {"schema": Schema(["u"], sequence={"s": "v"})},
        "data.init_args.schema.sequence.s is 'v'; it must be a categorical",
    ),
    ({"schema": Schema(["u"], min_count=0)}, "data.init_args.schema.min_count is 0; it must be at least 1"),
    ({"schema": Schema(["u"], max_length=0)}, "data.init_args.schema.max_length is 0; it must be at least 1"),
    ({"schema": Schema(["u"], separator="")}, "data.init_args.schema.separator is empty"),
    ({"split": "time"}, "data.init_args.split is 'time', but data.init_args.schema.timestamp names no column"),
    ({"split": "given"}, "data.init_args.split is 'given', but data.init_args.schema.split names no column"),
    ({"split": "group"}, "data.init_args.split is 'group', but data.init_args.schema.group names no column"),
    ({"ratio": (0.9, 0.1, 0.0)}, "data.init_args.ratio is [0.9, 0.1, 0.0]; each share must be above 0"),
    ({"batch_size": 0}, "data.init_args.batch_size is 0; it must be at least 1"),
    ({"eval_batch_size": -1}, "data.init_args.eval_batch_size is -1; it must be at least 1"),
    ({"schema": None}, "data.init_args.schema is missing: it tells what the columns of t.csv are"),
]


@pytest.mark.parametrize(("options", "told"), WRONG)
def test_mistakes_are_told_before_anything_is_read(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        ClickThroughData(**{"source": "t.csv", "schema": Schema(["u"]), **options})
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["type", "keys", "a.b", "user_first", "item_category"])
def test_fields_whose_tables_could_not_have_their_names(name: str) -> None:
    with pytest.raises(UserError, match=f"the column '{name}' cannot be a field"):
        refuse_names(Schema(categorical=["user", name]))
