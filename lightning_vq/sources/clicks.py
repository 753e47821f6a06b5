"""Named sources as samples for click-through rate: which columns are fields, what is a click, what was published.

Shapes: E samples.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.columns import Ids, joined, labels, sequences
from lightning_vq.sources.feed import Feed, feed_of
from lightning_vq.sources.mind import mind_clicks
from lightning_vq.sources.named import located, named_source
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.sources.planted_clicks import planted_clicks
from lightning_vq.sources.schema import Schema


class Tally(NamedTuple):
    """Counts of a table of samples."""

    samples: int
    clicks: int
    values: dict[str, int]  # of each vocabulary

    @property
    def told(self) -> str:
        """Return the counts in words."""
        return f"{self.samples:,} samples, {self.clicks:,} clicked; {self.fields}"

    @property
    def fields(self) -> str:
        """Return the vocabularies in words."""
        return ", ".join(f"{name} {count:,}" for name, count in self.values.items())


class Clicks(NamedTuple):
    """A named source as samples."""

    read: Callable[[Path], tuple[Feed, Schema]]
    expected: Tally  # of mind-small as CAGE's appendix A has it, of others as they were first read


def ml_100k_clicks(folder: Path) -> tuple[Feed, Schema]:
    """Return ratings as samples, of which those above 3 are clicks; users are ranked."""
    schema = Schema(categorical=["user", "item"], label="rating", label_above=3, timestamp="timestamp", group="user")
    return feed_of(folder / "interactions.csv.gz"), schema


def frappe_clicks(folder: Path) -> tuple[Feed, Schema]:
    """Return contexts of app use. Its own split is not used, as the training part is not among what is at hand."""
    return feed_of(folder / "interactions.csv.gz"), Schema(categorical=[f"f{i}" for i in range(10)])


_FRAPPE = (913, 4_082, 7, 7, 2, 3, 2, 9, 76, 227)

CLICKS = {
    "ml-100k": Clicks(ml_100k_clicks, Tally(100_000, 55_375, {"user": 943, "item": 1_682})),
    "frappe": Clicks(frappe_clicks, Tally(86_582, 28_599, {f"f{i}": count for i, count in enumerate(_FRAPPE)})),
    "mind-small": Clicks(mind_clicks, Tally(9_993_270, 1_756_555, {"user": 94_057, "item": 65_238})),
    "mind-small-sample": Clicks(mind_clicks, Tally(326_311, 144_494, {"user": 4_637, "item": 22_592})),
}


def click_source(name: str, root: str | None) -> tuple[Feed, Schema]:
    """Return the samples of a named source, downloading it where it is not on disk, and what its columns are.

    Args:
        name: "planted" or a named source that has samples.
        root: folder of named sources; else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq.

    Raises:
        UserError: there is no such source, or none of samples, or it cannot be downloaded.
    """
    if name == "planted":
        return planted_clicks(PlantedOptions())
    source = named_source(name)
    if name not in CLICKS:
        raise UserError(f"{name} has no samples for click-through rate{nearest(name, ['planted', *CLICKS])}")
    return CLICKS[name].read(located(source, root))


def tally(feed: Feed, schema: Schema) -> tuple[Tally, dict[str, int]]:
    """Return the counts of a table, and how many samples each part of its given split has.

    Args:
        feed: the table.
        schema: what its columns are.

    Raises:
        UserError: a column that is not there, a value that cannot be what the schema says, no samples.
    """
    columns = schema.columns("ratio" if schema.split is None else "given")
    feed.check(columns)
    of, ids = schema.ids(), {name: Ids() for name in schema.ids()}
    samples, clicks, parts = 0, 0, dict[str, int]()
    for part in feed.parts(list(columns)):
        clicked, kept = labels(part, schema.label, part.rows[schema.label], schema.label_above, schema.label_drop)
        rows = part.rows.filter(pa.array(kept))
        samples += len(rows)
        clicks += int(clicked[kept].sum())
        for name in of:
            if name in schema.sequence:
                sequences(part, name, rows[name], ids[name], schema.separator, schema.max_length)
            else:
                ids[name].codes(part, name, rows[name], np.flatnonzero(kept))
        if schema.split is not None:
            for one in pc.value_counts(rows[schema.split]).to_pylist():
                parts[one["values"]] = parts.get(one["values"], 0) + one["counts"]
    if not samples:
        raise UserError(f"{feed.where}: there are no rows")
    return Tally(samples, clicks, {vocab: len(values) for vocab, values in joined(of, ids)[0].items()}), parts
