"""Titles and categories of items, from the real files and from files made by hand."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lightning_vq.data import CollaborativeData, ListData
from lightning_vq.errors import UserError
from lightning_vq.sources.files import read_interactions
from lightning_vq.sources.interactions import Metadata, core
from lightning_vq.sources.metadata import read_metadata
from lightning_vq.sources.named import ROOT_VARIABLE, data_root, named_source
from lightning_vq.sources.planted import PlantedOptions, planted_interactions

FILE = """item,title,year,genres
7,187,1997,Drama
3,"Good, the Bad",,Western|Comedy
5,,1999,
1,Of no interest,1990,Drama
"""


def written(folder: Path, text: str) -> Path:
    (folder / "items.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder / "items.csv.gz"


def test_aligned_with_the_ids_asked_for(tmp_path: Path) -> None:
    found = read_metadata(written(tmp_path, FILE), pa.array([3, 9, 7, 5]))
    assert found == Metadata(["Good, the Bad", None, "187 (1997)", None], [["Western", "Comedy"], [], ["Drama"], []])


def test_text_ids_and_numbered_categories(tmp_path: Path) -> None:
    path = written(tmp_path, "item,category\n01,4\nb,12\nc,0\n")
    assert read_metadata(path, pa.array(["b", "1", "01", "c"])) == Metadata(
        [None] * 4, [["category 12"], [], ["category 4"], []]
    )


def test_a_zero_is_a_genre_like_another(tmp_path: Path) -> None:
    assert read_metadata(written(tmp_path, "item,genres\n1,0|7\n"), pa.array([1])) == Metadata(
        [None], [["category 0", "category 7"]]
    )


def test_nothing_known(tmp_path: Path) -> None:
    assert read_metadata(tmp_path / "items.csv.gz", pa.array([1])) is None
    assert read_metadata(written(tmp_path, "item,colour\n1,red\n"), pa.array([1])) == Metadata([None], [[]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("id,title\n1,a\n", "no column 'item'"), ("item,title\n1,a\n2,b\n1,c\n", "the item 1 stands in 2 rows")],
)
def test_files_that_are_wrong(text: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=expected):
        read_metadata(written(tmp_path, text), pa.array([1, 2]))


def test_metadata_follows_its_items_through_filtering(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("user,item\na,x\na,y\nb,z\nb,y\nc,z\n")
    raw = read_interactions(tmp_path / "mine.csv")
    assert raw.item_ids.to_pylist() == ["x", "y", "z"]
    raw = raw._replace(item_metadata=Metadata(["X", None, "Z"], [["p"], [], ["q", "p"]]))
    kept = core(raw, 1, 2)
    assert kept.item_ids.to_pylist() == ["y", "z"]
    assert kept.item_metadata == Metadata([None, "Z"], [[], ["q", "p"]])


def test_attributes_are_categories(tmp_path: Path) -> None:
    path = written(tmp_path, "item,attributes\n1,399 2\n2,\n")
    assert read_metadata(path, pa.array([2, 1])) == Metadata([None] * 2, [[], ["attribute 399", "attribute 2"]])


def test_planted_items_name_their_group() -> None:
    raw = planted_interactions(PlantedOptions(users=60, items=40, branching=(3, 2), mean_length=8))
    assert raw.item_metadata is not None
    assert raw.item_metadata.categories == [[f"group {g}"] for g in raw.item_categories["group"]]
    assert set(raw.item_metadata.titles) == {None}


@pytest.mark.parametrize(
    ("name", "item", "title", "categories", "kinds", "named"),
    [
        ("ml-100k", 1, "Toy Story (1995)", ["Animation", "Children's", "Comedy"], 19, 1682),
        ("ml-1m", 2, "Jumanji (1995)", ["Adventure", "Children's", "Fantasy"], 18, 3706),
        ("amazon-grocery", 3, None, ["category 21"], 56, 364),  # all others have category 0, which is none
    ],
)
def test_real_sources(name: str, item: int, title: str | None, categories: list[str], kinds: int, named: int) -> None:
    folder = data_root(None) / name
    if not os.environ.get(ROOT_VARIABLE) or not (folder / "items.csv.gz").is_file():
        pytest.skip(f"{folder} is not there")
    raw = named_source(name).read(folder)
    known = raw.item_metadata
    assert known is not None
    row = raw.item_ids.to_pylist().index(item)
    assert (known.titles[row], known.categories[row]) == (title, categories)
    assert len(known.titles) == len(known.categories) == len(raw.item_ids)
    assert len({one for some in known.categories for one in some}) == kinds
    assert sum(bool(some) for some in known.categories) == named


@pytest.mark.parametrize("kind", [CollaborativeData, ListData])
def test_a_file_of_items_of_ones_own(kind: Callable[..., Any], tmp_path: Path) -> None:
    rows = [f"u{u},i{(u + at) % 9},{at}" for u in range(12) for at in range(5)]
    (tmp_path / "mine.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
    items = tmp_path / "items.csv"
    items.write_text("\n".join(["item,title,category", "i3,Third,red | green", "i7,,0", "i1,,Web 2.0", ""]))
    held = kind(source=str(tmp_path / "mine.csv"), item_file=str(items))
    held.setup()
    known = held.vocabularies()["item"]
    place = known.ids.to_pylist().index
    assert known.metadata.titles[place("i3")] == "Third"
    assert known.metadata.categories[place("i3")] == ["red", "green"]
    assert known.metadata.categories[place("i7")] == ["category 0"]
    assert known.metadata.categories[place("i1")] == ["Web 2.0"]
    assert known.metadata.categories[place("i2")] == []
    for text, said in (
        ("item,colour\ni3,red", "tells nothing of the 9 items of the interactions, such as i0: it needs a column"),
        ("item,category\n3,red", "tells nothing of the 9 items"),
        ("article,category\ni3,red", "there is no column 'item'"),
    ):
        items.write_text(text + "\n")
        with pytest.raises(UserError, match=said):
            kind(source=str(tmp_path / "mine.csv"), item_file=str(items)).setup()
    with pytest.raises(UserError, match=r"there is no file .*/elsewhere\.csv"):
        kind(source=str(tmp_path / "mine.csv"), item_file=str(tmp_path / "elsewhere.csv")).setup()
