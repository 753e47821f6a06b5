"""A user's own file of scored pairs: what is read, and that each bad input is one message with the file and the row."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from refusal import refusal_of
from relevances import relevance_file

from lightning_vq.sources.relevance import read_relevance

LINES = ["007,b,1.5", "a,007,-100", "007,c,2"]
refusal = partial(refusal_of, read_relevance)


@pytest.mark.parametrize("name", ["mine.csv", "mine.tsv"])
def test_text_files(tmp_path: Path, name: str) -> None:
    mark = "\t" if name.endswith(".tsv") else ","
    lines = [line.replace(",", mark) for line in LINES]
    raw = read_relevance(relevance_file(tmp_path, lines, f"item{mark}related{mark}score", name=name))
    assert raw.user_ids.to_pylist() == ["007", "a"]
    assert raw.item_ids.to_pylist() == ["b", "007", "c"]  # numbered apart
    assert (raw.users.tolist(), raw.items.tolist()) == ([0, 1, 0], [0, 1, 2])
    assert raw.scores.tolist() == [1.5, -100.0, 2.0]
    assert raw.rows.tolist() == [0, 1, 2]
    assert raw.truth is None


def test_parquet_with_columns_of_other_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.parquet"
    pa.parquet.write_table(pa.table({"left": [3, 5], "right": [7, 3], "rated": [1, -2], "item": ["x", "y"]}), path)
    raw = read_relevance(path, {"item": "left", "related": "right", "score": "rated"})
    assert (raw.user_ids.to_pylist(), raw.item_ids.to_pylist()) == ([3, 5], [7, 3])
    assert raw.scores.tolist() == [1.0, -2.0]


def test_scores_of_any_writing_and_the_reverse_is_another_pair(tmp_path: Path) -> None:
    raw = read_relevance(relevance_file(tmp_path, ["a,b, 1e1 ", "b,a,-.5", "a,c,+3"]))
    assert raw.scores.tolist() == [10.0, -0.5, 3.0]


def test_the_mean_of_a_pairs_scores(tmp_path: Path) -> None:
    lines = ["z,b,1", "a,b,4", "z,c,7", "a,b,6", "z,b,2", "a,b,-1"]
    raw = read_relevance(relevance_file(tmp_path, lines), duplicates="mean")
    assert raw.user_ids.take(pa.array(raw.users)).to_pylist() == ["z", "a", "z"]
    assert raw.item_ids.take(pa.array(raw.items)).to_pylist() == ["b", "b", "c"]
    assert raw.scores.tolist() == [1.5, 3.0, 7.0]
    assert raw.rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a,b,1", "a,c,good"], ", row 3: the score must be a number, not 'good'"),
        (["a,b,1", "a,c,NaN"], ", row 3: the score must be a number, not 'NaN'"),
        (["a,b,1", "a,c,inf"], ", row 3: the score must be a number, not 'inf'"),
        (["a,b,1", "a,c,2020-01-01"], ", row 3: the score must be a number, not '2020-01-01'"),
        (["a,b,1", "a,c,"], ", row 3: the score must be a number, not ''"),
        (["a,b,1", "a,c,1e999"], ", row 3: the score is inf, which is not finite"),
        (["a,b,1", ",c,2"], ", row 3: the item is missing (1 such rows)"),
        (["a,,1"], ", row 2: the related item is missing (1 such rows)"),
        (["a,b,1", "a,c,1", "a,b,2", "a,b,2"],
         ", row 4: item 'a' and related item 'b' stand in row 2 already (2 such rows); keep one row a pair, or take "
         "the mean of its scores with --data.init_args.duplicates=mean"),
        ([], ": no pairs"),
    ],
)  # fmt: skip
def test_what_is_refused_with_its_row(tmp_path: Path, lines: list[str], said: str) -> None:
    assert refusal(relevance_file(tmp_path, lines)) == said


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"score": "scor"}, "there is no column 'scor' for the score; did you mean 'score'?"),
        ({"item": "left"}, "there is no column 'left' for the item"),
    ],
)
def test_columns_that_are_not_there(tmp_path: Path, columns: dict[str, str], said: str) -> None:
    assert said in refusal(relevance_file(tmp_path, LINES), columns=columns)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([1.0, None], ", row 2: the score is missing or NaN (1 such rows)"),
        ([float("nan"), 2.0], ", row 1: the score is missing or NaN (1 such rows)"),
        ([1.0, float("inf")], ", row 2: the score is inf, which is not finite"),
        ([datetime(2020, 1, 1)] * 2, ": the score column holds timestamp[us], not numbers"),
        ([True, False], ", row 1: the score must be a number, not 'true'"),
        ([[1.0], [2.0]], ": the score column holds list<element: double>; it must hold numbers or UTF-8 text"),
    ],
)
def test_parquet_scores_that_are_no_numbers(tmp_path: Path, scores: list[Any], said: str) -> None:
    pa.parquet.write_table(pa.table({"item": [1, 2], "related": [2, 1], "score": scores}), tmp_path / "mine.parquet")
    assert refusal(tmp_path / "mine.parquet") == said
