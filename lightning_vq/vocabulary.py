"""vocab/ of a run folder: the original id, training frequency and metadata of every row of a table.

Shapes: N entities.
"""

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lightning_vq.errors import UserError
from lightning_vq.runs import read_parquet, write_parquet
from lightning_vq.sources.interactions import Array, Metadata


class Vocabulary(NamedTuple):
    """The entities behind the rows of a table."""

    ids: pa.Array  # (N,) original ids
    counts: Array  # (N,) int64 interactions in training
    metadata: Metadata | None  # (N) titles and categories, where the source has them


def _path(run: Path, name: str) -> Path:
    return run / "vocab" / f"{name}.parquet"


def write_vocabulary(run: Path, name: str, vocabulary: Vocabulary) -> None:
    """Write vocab/<name>.parquet of a run: id, row, count and, with metadata, title and categories."""
    columns = {"id": vocabulary.ids, "row": pa.array(range(len(vocabulary.ids))), "count": pa.array(vocabulary.counts)}
    if vocabulary.metadata is not None:
        columns["title"] = pa.array(vocabulary.metadata.titles, pa.string())
        columns["categories"] = pa.array(vocabulary.metadata.categories, pa.list_(pa.string()))
    write_parquet(_path(run, name), columns)


def has_vocabulary(run: Path, name: str) -> bool:
    return _path(run, name).is_file()


def read_vocabulary(run: Path, name: str) -> Vocabulary:
    """Read vocab/<name>.parquet of a run.

    Raises:
        UserError: it is not there, or was written by a version that did not count.
    """
    path = _path(run, name)
    if not path.is_file():
        raise UserError(f"{run} is not a whole run folder: it has no vocab/{path.name}")
    table = read_parquet(path)
    if not {"id", "count"} <= set(table.column_names):
        raise UserError(
            f"{path} has no counts: another version of lightning_vq made this run; make it anew with: "
            f"python -m lightning_vq fit --config {run / 'config.yaml'}"
        )
    metadata = None
    if {"title", "categories"} <= set(table.column_names):
        metadata = Metadata(table["title"].to_pylist(), table["categories"].to_pylist())
    return Vocabulary(table["id"].combine_chunks(), table["count"].to_numpy(), metadata)
