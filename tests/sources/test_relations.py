"""Relations between items: read from a file made by hand, and followed through filtering."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from lightning_vq.errors import UserError
from lightning_vq.sources.files import read_interactions
from lightning_vq.sources.interactions import Interactions, core
from lightning_vq.sources.relations import with_relations


def related(folder: Path, text: str) -> Interactions:
    """Return items x, y, z (rows 0, 1, 2; only x is touched once) with the relations of a text."""
    (folder / "mine.csv").write_text("user,item\na,x\na,y\nb,z\nb,y\nc,z\n")
    (folder / "relations.csv.gz").write_bytes(gzip.compress(text.encode()))
    return with_relations(read_interactions(folder / "mine.csv"), folder)


def plain(raw: Interactions) -> dict[str, list[list[int]]]:
    return {name: [heads.tolist(), tails.tolist()] for name, (heads, tails) in raw.relations.items()}


TEXT = "head,relation,tail\ny,complement,z\nx,complement,y\ny,complement,z\nz,substitute,w\nz,complement,y\nw,also,w\n"


def test_each_once_and_none_of_other_items(tmp_path: Path) -> None:
    raw = related(tmp_path, TEXT)
    assert plain(raw) == {"complement": [[1, 0, 2], [2, 1, 1]], "substitute": [[], []], "also": [[], []]}
    assert raw.relations["complement"][0].dtype == np.int64


def test_they_follow_their_items_through_filtering(tmp_path: Path) -> None:
    kept = core(related(tmp_path, TEXT), 1, 2)
    assert kept.item_ids.to_pylist() == ["y", "z"]
    assert plain(kept)["complement"] == [[0, 1], [1, 0]]


def test_no_file_no_relations(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("user,item\na,x\n")
    assert with_relations(read_interactions(tmp_path / "mine.csv"), tmp_path).relations == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("head,relatoin,tail\nx,a,y\n", "no column 'relation'; did you mean 'relatoin'"),
        ("head,relation,tail\nx,a,y\nx,,z\n", "row 3: the relation is missing"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        related(tmp_path, text)
