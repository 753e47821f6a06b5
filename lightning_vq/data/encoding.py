"""A table of samples as numbers: read once in batches, split, and encoded by what its training rows show.

Everything that is learned of the data (vocabularies and their counts, means, deviations, buckets) comes from training
rows. In memory and on disk do the same, the one in arrays, the other in files of the same content.
Shapes: E rows of the table, F categorical fields, M numbers, Q sequences of T values, V values of a vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from lightning_vq.data.arrays import Growing, Store, chunks
from lightning_vq.data.numeric import Numeric
from lightning_vq.data.shares import Split, divided
from lightning_vq.data.splits import TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.columns import PARTS, Ids, joined, labels, numbers, parts_of, sequences
from lightning_vq.sources.feed import Feed
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.schema import Schema
from lightning_vq.types import CATEGORY, FIRST, Samples


class Encoded(NamedTuple):
    """Samples by part, and what their numbers mean."""

    samples: dict[int, Samples]  # of TRAIN, DEV, TEST, in the order of the table
    group_ids: pa.Array | None  # of a group column
    vocabularies: dict[str, pa.Array]  # (V,) the ids behind a field's rows
    counts: dict[str, Array]  # (V,) int64 occurrences in training
    moments: dict[str, tuple[float, float]]  # mean and deviation of standardised columns


class _Read(NamedTuple):
    """The table as it was read: numbers by first appearance, over all rows that are not dropped."""

    fields: Array  # (E, categorical) int32, -1 for what is missing
    sequences: Array  # (E, Q, T) int32, -1 after the last
    numbers: Array  # (E, standardised, then bucketed) float64
    labels: Array  # (E,) int8
    cases: Array  # (E,) int64 place in the table
    split: Array  # (E,) int8; of the last three the ones that are asked for
    times: Array  # (E,) float64
    groups: Array  # (E,) int32


def encode(feed: Feed, schema: Schema, split: Split, folder: Path | None = None) -> Encoded:
    """Read a table and encode it.

    Args:
        feed: the table.
        schema: what its columns are.
        split: how its rows are divided.
        folder: for the arrays, and for what was read until they are made; None keeps them in memory.

    Raises:
        UserError: a column that is not there, a value that cannot be what the schema says, a part without rows.
    """
    schema.check()
    feed.check(schema.columns(split.kind))
    store = Store(folder)
    ids, group_ids = {name: Ids() for name in schema.ids()}, Ids()
    read = _read(feed, schema, split.kind, store, ids, group_ids)
    part_of = divided(feed.where, split, len(read.labels), read.split, read.times, read.groups)
    values, places = joined(schema.ids(), ids)
    counts = _counted(schema, read, values, places, part_of)
    known = {vocab: count >= max(1, schema.min_count) for vocab, count in counts.items()}
    for vocab, kept in known.items():
        if not kept.any():
            raise UserError(f"{feed.where}: no value of {vocab!r} stands in {schema.min_count} training rows")
    numeric = Numeric.fitted(schema, read.numbers, part_of)
    rows_of = {name: _renumbered(known[vocab], places[name]) for name, vocab in schema.ids().items()}
    samples = _written(schema, read, part_of, rows_of, numeric, store)
    return Encoded(
        samples,
        group_ids.values if schema.group is not None else None,
        {vocab: values[vocab].filter(pa.array(kept)) for vocab, kept in known.items()} | numeric.vocabularies(),
        {vocab: counts[vocab][kept] for vocab, kept in known.items()} | numeric.counts,
        numeric.moments,
    )


def _read(feed: Feed, schema: Schema, kind: str, store: Store, ids: dict[str, Ids], group_ids: Ids) -> _Read:
    numeric = [*schema.standardised, *schema.bucketed]
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "fields": ((len(schema.categorical),), np.int32),
        "sequences": ((len(schema.sequence), schema.max_length), np.int32),
        "numbers": ((len(numeric),), np.float64),
        "labels": ((), np.int8),
        "cases": ((), np.int64),
        "split": ((), np.int8),
        "times": ((), np.float64),
        "groups": ((), np.int32),
    }
    growing = {name: Growing(store, name, *shape) for name, shape in shapes.items()}
    place = 0
    for part in feed.parts(list(schema.columns(kind))):
        rows, count = part.rows, len(part.rows)
        clicked, kept = labels(part, schema.label, rows[schema.label], schema.label_above, schema.label_drop)
        found = {
            "labels": clicked,
            "cases": np.arange(place, place + count),
            "fields": _side_by_side([ids[n].codes(part, n, rows[n]) for n in schema.categorical], count),
            "numbers": _side_by_side([numbers(part, n, rows[n]) for n in numeric], count),
        }
        lists = [
            sequences(part, name, rows[name], ids[name], schema.separator, schema.max_length)
            for name in schema.sequence
        ]
        found["sequences"] = np.stack(lists, 1) if lists else np.empty((count, 0, schema.max_length))
        if kind == "given" and schema.split is not None:
            found["split"] = parts_of(part, schema.split, rows[schema.split])
        if kind == "time" and schema.timestamp is not None:
            found["times"] = numbers(part, schema.timestamp, rows[schema.timestamp])
            if np.isnan(found["times"]).any():
                raise UserError(f"{part.at(int(np.isnan(found['times']).argmax()))}: {schema.timestamp!r} is missing")
        if schema.group is not None:
            found["groups"] = group_ids.codes(part, schema.group, rows[schema.group])
        for name, values in found.items():
            growing[name].append(values if kept.all() else values[kept])
        place += count
    if not growing["labels"].rows:
        raise UserError(f"{feed.where}: there are no rows" + (" but those of schema.label_drop" if place else ""))
    return _Read(**{name: column.whole() for name, column in growing.items()})


def _side_by_side(columns: Sequence[Array], rows: int) -> Array:
    return np.stack(columns, 1) if columns else np.empty((rows, 0))


def _counted(
    schema: Schema, read: _Read, values: dict[str, pa.Array], places: dict[str, Array], part_of: Array
) -> dict[str, Array]:
    """Return how often each value of a vocabulary (V,) stands in training rows."""
    counts, vocab_of = {vocab: np.zeros(len(known), np.int64) for vocab, known in values.items()}, schema.ids()
    for rows in chunks(len(part_of)):
        trained = part_of[rows] == TRAIN
        columns = [(name, read.fields[rows, i][trained]) for i, name in enumerate(schema.categorical)]
        columns += [(name, read.sequences[rows, i][trained].ravel()) for i, name in enumerate(schema.sequence)]
        for name, codes in columns:
            place = places[name]  # each once
            counts[vocab_of[name]][place] += np.bincount(codes[codes >= 0], minlength=len(place))
    return counts


def _written(
    schema: Schema, read: _Read, part_of: Array, rows_of: dict[str, Array], numeric: Numeric, store: Store
) -> dict[int, Samples]:
    """Return the samples of each part, by final numbers."""
    lists_of = {name: np.append(rows_of[name][:-1], np.int32(-1)) for name in schema.sequence}
    total, samples = len(schema.fields()), {}
    for part, word in enumerate(PARTS):
        size = int((part_of == part).sum())
        fields = store.empty(f"{word}-fields", (size, total), np.int32)
        values = store.empty(f"{word}-numbers", (size, len(schema.standardised)), np.float32)
        lists = store.empty(f"{word}-sequences", (size, len(schema.sequence), schema.max_length), np.int32)
        kinds = {"labels": np.float32, "cases": np.int64} | ({"groups": np.int64} if schema.group is not None else {})
        rest = {name: store.empty(f"{word}-{name}", (size,), kind) for name, kind in kinds.items()}
        end = 0
        for rows in chunks(len(part_of)):
            mine = part_of[rows] == part
            start, end = end, end + int(mine.sum())
            at = slice(start, end)
            for i, name in enumerate(schema.categorical):
                fields[at, i] = rows_of[name][read.fields[rows, i][mine]]
            values[at], fields[at, len(schema.categorical) :] = numeric.encoded(read.numbers[rows][mine])
            for i, name in enumerate(schema.sequence):
                lists[at, i] = lists_of[name][read.sequences[rows, i][mine]]
            for column, made in rest.items():
                made[at] = getattr(read, column)[rows][mine]
        arrays = {"fields": fields, "numbers": values, "sequences": lists} | rest
        samples[part] = Samples(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    return samples


def _renumbered(kept: Array, place: Array) -> Array:
    """Return the final number of each of a column's values, and of -1: kept ones in their order, N for others.

    Args:
        kept: (V,) flags of the vocabulary.
        place: of the column's values there.
    """
    size = int(kept.sum())
    return np.append(np.where(kept, np.cumsum(kept) - 1, size)[place], size).astype(np.int32)


def refuse_names(schema: Schema) -> None:
    """Refuse fields whose tables could not have their names.

    Raises:
        UserError: with the column.
    """
    taken = {*dir(nn.ModuleDict()), *dir(nn.ParameterDict())}
    for name in [*schema.fields(), *schema.sequence]:
        if name.endswith((FIRST, CATEGORY)):
            why = f"names that end in {FIRST} or {CATEGORY} are those of tables beside a field's"
        elif "." in name:
            why = "a name with a dot cannot be a table's"
        elif name in taken:
            why = "torch has that name for itself"
        else:
            continue
        raise UserError(f"the column {name!r} cannot be a field: {why}; give it another name in the table")
