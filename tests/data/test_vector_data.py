"""Vectors that are given: what of a file is read, and what is refused with its row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lightning_vq.data import VectorData
from lightning_vq.errors import UserError


def written(folder: Path, **columns: Any) -> VectorData:
    pq.write_table(pa.table(columns), folder / "item.parquet")
    return VectorData({"item": str(folder / "item.parquet")})


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.int32())])
def test_lists_of_any_kind(kind: pa.DataType, tmp_path: Path) -> None:
    data = written(tmp_path, item=["a", "b", "c"], vector=pa.array([[1, 2], [3, 4], [5, 6]], kind))
    data.setup()
    assert torch.equal(data.tables["item"], torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
    assert data.told(frozenset()) == "files: 3 items, vectors of 2 numbers"
    assert data.vocabularies()["item"].ids.to_pylist() == ["a", "b", "c"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"id": ["a"], "vector": [[1.0]]}, "there is no column 'item' among"),
    ({"item": ["a"], "vec": [[1.0]]}, "there is no column 'vector' among"),
    ({"item": ["a"], "vector": ["1 2"]}, "holds string, not lists of numbers"),
    ({"item": ["a", "a"], "vector": [[1.0], [2.0]]}, r"the item 'a' stands in several rows \(1 such ids\)"),
    ({"item": ["a", "b"], "vector": [[1.0], None]}, "each with an id and a vector"),
    ({"item": ["a", "b"], "vector": [[1.0], [2.0, 3.0]]}, "row 2: the vector has 2 numbers, that of row 1 1"),
    (
        {"item": ["a", "b"], "vector": [[1.0], [float("nan")]]},
        r"row 2: the vector holds NaN or infinity \(1 such rows\)",
    ),
]


@pytest.mark.parametrize(("columns", "message"), REFUSED)
def test_what_is_refused(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        written(tmp_path, **columns).setup()


def test_a_folder_without_vectors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no representations/: give the folder of a finished run"):
        VectorData(str(tmp_path)).setup()


def test_vectors_of_two_widths(tmp_path: Path) -> None:
    for name, vector in (("user", [1.0]), ("item", [1.0, 2.0])):
        pq.write_table(pa.table({name: ["a"], "vector": [vector]}), tmp_path / f"{name}.parquet")
    data = VectorData({name: str(tmp_path / f"{name}.parquet") for name in ("user", "item")})
    with pytest.raises(UserError, match="must be of one width"):
        data.setup()


def test_every_entity_is_trained_on_once_an_epoch(tmp_path: Path) -> None:
    data = written(tmp_path, item=list(range(50)), vector=[[float(i)] for i in range(50)])
    data.batch_size, data.block = 8, 2
    data.setup()
    rows = torch.cat([block.rows.rows for block in data.train_dataloader()])
    assert sorted(rows.tolist()) == list(range(50))
