"""A table of samples in every form that it is read from, for tests of click-through data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from lightning_vq.data.encoding import Encoded, encode
from lightning_vq.data.shares import Kind, Split
from lightning_vq.sources.feed import feed_of, feed_of_table
from lightning_vq.sources.schema import Schema

SCHEMA = Schema(
    ["user", "item"],
    numeric={"price": "standardised", "age": 4},
    sequence={"history": "item", "words": "words"},
    label="clicked",
    split="part",
    timestamp="time",
    group="user",
    max_length=4,
)

KINDS: tuple[Kind, ...] = ("given", "ratio", "time", "group")
GIVEN = Split("given", (0.8, 0.1, 0.1), 0)


def sample_table(rows: int = 300, seed: int = 0) -> pa.Table:
    """Return rows with gaps in every column of features, and with ids that stand in one split alone."""
    draw = np.random.default_rng(seed)

    def gaps(values: Any) -> list[Any]:
        return [None if gap else value for value, gap in zip(values, draw.random(rows) < 0.06)]

    parts = draw.choice(["train", "dev", "test"], rows, p=[0.7, 0.15, 0.15])
    lists = [draw.integers(0, 45, draw.integers(0, 8)).tolist() for _ in range(rows)]
    words = [[f"w{w}" for w in draw.integers(0, 9, draw.integers(0, 3))] for _ in range(rows)]
    return pa.table(
        {
            "part": parts,
            "clicked": draw.integers(0, 2, rows),
            "user": draw.integers(0, 25, rows),
            "item": pa.array(gaps(draw.integers(0, 40, rows).tolist()), pa.int64()),
            "price": pa.array(gaps(draw.normal(20, 5, rows).round(3).tolist()), pa.float64()),
            "age": pa.array(gaps(draw.integers(10, 80, rows).tolist()), pa.int64()),
            "history": pa.array(gaps(lists), pa.list_(pa.int64())),
            "words": pa.array(gaps(words), pa.list_(pa.string())),
            "time": draw.integers(0, 90, rows),
            "left_out": ["a, \"b\"\n"] * rows,
        }
    )  # fmt: skip


def as_text(table: pa.Table) -> pa.Table:
    """Return a table whose lists are written with spaces between."""
    for i, name in enumerate(table.column_names):
        if pa.types.is_list(table[name].type):
            rows = [None if row is None else " ".join(map(str, row)) for row in table[name].to_pylist()]
            table = table.set_column(i, name, pa.array(rows, pa.string()))
    return table


def written(table: pa.Table, path: Path) -> Path:
    """Write a table as the name tells: CSV, TSV, Parquet, or a folder of three Parquet files."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=70)
    elif path.suffix:
        options = pyarrow.csv.WriteOptions(delimiter="\t" if ".tsv" in path.suffixes else ",")
        with pa.output_stream(str(path)) as file:  # gzip by the name
            pyarrow.csv.write_csv(as_text(table), file, options)
    else:
        path.mkdir()
        for i, start in enumerate(range(0, len(table), -(-len(table) // 3))):
            pq.write_table(table.slice(start, -(-len(table) // 3)), path / f"part-{i}.parquet")
    return path


def encoded(
    path: Path, schema: Schema = SCHEMA, kind: Kind = "given", folder: Path | None = None, seed: int = 0
) -> Encoded:
    return encode(feed_of(path), schema, Split(kind, (0.7, 0.15, 0.15), seed), folder)


def of_rows(schema: Schema, split: Split = GIVEN, **columns: list[Any]) -> Encoded:
    """Return the encoding of columns in memory."""
    return encode(feed_of_table("here", pa.table(columns)), schema, split)


def bytes_of(found: Encoded) -> dict[str, Any]:
    """Return everything of an encoding in a form that == compares to the last bit."""
    groups = None if found.group_ids is None else list(map(str, found.group_ids.to_pylist()))
    told: dict[str, Any] = {"moments": found.moments, "group_ids": groups}
    for part, samples in found.samples.items():
        tensors = {name: column for name, column in samples._asdict().items() if column is not None}
        told |= {f"{part} {name}": (t.dtype, t.shape, t.numpy().tobytes()) for name, t in tensors.items()}
    told |= {f"ids of {name}": [str(i) for i in ids.to_pylist()] for name, ids in found.vocabularies.items()}
    return told | {f"counts of {name}": count.tolist() for name, count in found.counts.items()}


def chunks_of(size: int, rows: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, rows, size))
