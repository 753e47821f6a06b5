"""Clicks in the planted world, whose true probability is known: samples for click-through rate, batch by batch.

A user is shown an item, half of the time from a leaf that she likes, else by popularity. She clicks by a logistic
probability: how near the item's leaf is to hers, how good the item is, on which device she is, what it costs. The best
possible AUC follows from the probabilities alone. What she clicked last is known to every sample after it; it says who
she is, and has no part in the truth.

Shapes: E samples of a batch, U users, N items, K earlier clicks.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from lightning_vq.errors import UserError
from lightning_vq.sources.feed import Feed, Part
from lightning_vq.sources.files import SUFFIXES
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.planted import PlantedOptions, World, make_world
from lightning_vq.sources.schema import Schema

ROWS = 1 << 18  # of a batch: a part of what a seed means, as each batch has a generator of its own
RECENT = 5  # K
DEVICES = 6
SHOWN = 0.5  # share of samples from a leaf that the user likes
LEAF, SIBLING, ELSEWHERE = 0.6, -0.6, -2.6  # logits of an item in a leaf that the user likes, beside it, anywhere else
QUALITY = 0.5  # deviation of an item's logit
DEVICE = 1.2  # logits of devices are spread evenly between minus and plus this
PRICE, SPREAD, SLOPE = 20.0, 5.0, -0.12  # mean and deviation of prices, logit of one unit above the mean
START = 1_600_000_000  # time of the first sample; one follows each second

KINDS = {
    "user": pa.string(), "item": pa.string(), "device": pa.string(), "price": pa.float64(),
    "recent": pa.list_(pa.string()), "label": pa.int8(), "timestamp": pa.int64(),
}  # fmt: skip


class ClickWorld(NamedTuple):
    """The truth."""

    world: World
    quality: Array  # (N,) logit of each item
    devices: Array  # (DEVICES,) logit of each device

    def probability(self, users: Array, items: Array, devices: Array, prices: Array) -> Array:
        """Return the probability (E,) of a click."""
        siblings = self.world.branching[-1]
        leaf, own = self.world.item_leaf[items][:, None], self.world.user_leaves[users]
        beside = np.where((leaf // siblings == own // siblings).any(axis=1), SIBLING, ELSEWHERE)
        near = np.where((leaf == own).any(axis=1), LEAF, beside)
        logits = near + self.quality[items] + self.devices[devices] + SLOPE * (prices - PRICE)
        return 1 / (1 + np.exp(-logits))


def make_click_world(options: PlantedOptions) -> ClickWorld:
    """Draw the truth.

    Raises:
        UserError: an option out of its range.
    """
    world = make_world(options)
    rng = np.random.default_rng([options.seed, 3])
    quality = rng.normal(0, QUALITY, options.items)
    return ClickWorld(world, quality, rng.permutation(np.linspace(-DEVICE, DEVICE, DEVICES)))


class _Drawn(NamedTuple):
    """A batch as numbers."""

    users: Array  # (E,)
    items: Array  # (E,)
    devices: Array  # (E,)
    prices: Array  # (E,)
    probability: Array  # (E,)
    labels: Array  # (E,) bool
    recent: Array  # (E, K) items that the user clicked last, oldest first; -1 before the first


def _batches(options: PlantedOptions, samples: int) -> Iterator[_Drawn]:
    truth = make_click_world(options)
    order = np.argsort(truth.world.item_leaf, kind="stable")
    weight = np.cumsum(truth.world.popularity[order])
    ends = np.cumsum(np.bincount(truth.world.item_leaf))  # in `order`, of each leaf
    upper = weight[ends - 1]
    lower = np.append(0.0, upper[:-1])
    last = np.full((options.users, RECENT), -1, np.int64)
    for batch, start in enumerate(range(0, samples, ROWS)):
        rng = np.random.default_rng([options.seed, 4, batch])
        rows = min(ROWS, samples - start)
        users = (options.users * rng.random(rows) ** 1.5).astype(np.int64)  # some come more often than others
        liked = np.minimum(rng.geometric(0.6, rows) - 1, options.favourites - 1)
        leaf = truth.world.user_leaves[users, liked]
        own, place = rng.random(rows) < SHOWN, rng.random(rows)
        aim = np.where(own, lower[leaf] + place * (upper - lower)[leaf], place * weight[-1])
        found = np.searchsorted(weight, aim, side="right")
        items = order[np.minimum(found, np.where(own, ends[leaf], len(order)) - 1)]
        devices = rng.integers(DEVICES, size=rows)
        prices = np.round(rng.normal(PRICE, SPREAD, rows), 2)
        probability = truth.probability(users, items, devices, prices)
        labels = rng.random(rows) < probability
        recent, last = _recent(users, items, labels, last)
        yield _Drawn(users, items, devices, prices, probability, labels, recent)


def _recent(users: Array, items: Array, labels: Array, last: Array) -> tuple[Array, Array]:
    """Return the items (E, K) that each sample's user clicked last before it, and those (U, K) after the batch."""
    k = last.shape[1]
    order = np.argsort(users, kind="stable")
    clicked = labels[order]
    counts = np.bincount(users[labels], minlength=len(last))
    # The clicks of each user stand in one row of numbers, after the K that she came with.
    starts = np.cumsum(counts + k) - counts - k
    row = np.empty(len(last) * k + int(counts.sum()), np.int64)
    row[starts[:, None] + np.arange(k)] = last
    before = np.cumsum(clicked) - clicked  # clicks of whomever, in the order of users
    before -= (np.cumsum(counts) - counts)[users[order]]
    place = starts[users[order]] + before
    row[place[clicked] + k] = items[order][clicked]
    recent = np.empty((len(users), k), np.int64)
    recent[order] = row[place[:, None] + np.arange(k)]
    return recent, row[(starts + counts)[:, None] + np.arange(k)]


def planted_clicks(options: PlantedOptions, samples: int = 100_000) -> tuple[Feed, Schema]:
    """Return samples with fields user, item and device, the number price and the sequence recent.

    They are drawn anew, to the same, whenever they are read. The column `probability` is the truth and no field.

    Args:
        options: of the world; mean_length, loyalty and sibling say nothing here.
        samples: how many.

    Raises:
        UserError: an option out of its range.
    """
    if samples < 1:
        raise UserError(f"planted.samples is {samples}; it must be at least 1")
    make_world(options)  # refuses
    names = {
        "user": pa.array([f"u{i}" for i in range(options.users)]),
        "item": pa.array([f"i{i}" for i in range(options.items)]),
        "device": pa.array([f"d{i}" for i in range(DEVICES)]),
    }

    def parts(columns: Sequence[str]) -> Iterator[Part]:
        row = 1
        for drawn in _batches(options, samples):
            arrays = [_column(drawn, name, names, row) for name in columns]
            yield Part("planted", row, pa.RecordBatch.from_arrays(arrays, list(columns)))
            row += len(drawn.users)

    schema = Schema(
        categorical=["user", "item", "device"], numeric={"price": "standardised"}, sequence={"recent": "item"},
        timestamp="timestamp", group="user", max_length=RECENT,
    )  # fmt: skip
    return Feed("planted", (*KINDS, "probability"), parts), schema


def _column(drawn: _Drawn, name: str, names: dict[str, pa.Array], row: int) -> pa.Array:
    if name == "recent":
        there = drawn.recent >= 0
        ends = np.append(0, np.cumsum(there.sum(axis=1))).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), names["item"].take(pa.array(drawn.recent[there])))
    if name == "timestamp":
        return pa.array(START + row - 1 + np.arange(len(drawn.users)))
    if name == "label":
        return pa.array(drawn.labels.astype(np.int8))
    numbers = {"price": drawn.prices, "probability": drawn.probability}
    if name in numbers:
        return pa.array(numbers[name])
    return names[name].take(pa.array({"user": drawn.users, "item": drawn.items, "device": drawn.devices}[name]))


def write_planted_clicks(path: Path, rows: int, options: PlantedOptions = PlantedOptions()) -> None:  # noqa: B008
    """Write samples to a file, a batch at a time; in text, the items of `recent` stand between blanks.

    Args:
        path: .csv, .tsv, .csv.gz, .tsv.gz or .parquet.
        rows: how many.
        options: of the world.

    Raises:
        UserError: another kind of file, an option out of its range.
    """
    if not path.name.endswith(SUFFIXES):
        raise UserError(f"{path}: unknown kind of file; the name must end in one of {', '.join(SUFFIXES)}")
    feed, _ = planted_clicks(options, rows)
    if path.suffix == ".parquet":
        with pyarrow.parquet.ParquetWriter(path, pa.schema(KINDS)) as writer:
            for part in feed.parts(list(KINDS)):
                writer.write_batch(part.rows)
        return
    schema = pa.schema(KINDS | {"recent": pa.string()})
    how = pyarrow.csv.WriteOptions(delimiter="\t" if ".tsv" in path.suffixes else ",")
    with (
        pa.output_stream(path, compression="gzip" if path.suffix == ".gz" else None) as file,
        pyarrow.csv.CSVWriter(file, schema, write_options=how) as writer,
    ):
        at = list(KINDS).index("recent")
        for part in feed.parts(list(KINDS)):
            writer.write_batch(part.rows.set_column(at, "recent", pc.binary_join(part.rows["recent"], " ")))


def bayes_auc(probability: Array) -> float:
    """Return the AUC, expected over labels, of samples scored by their true probabilities (E,): none can be better."""
    p = np.sort(probability)
    misses = np.append(0.0, np.cumsum(1 - p))
    below, upto = (misses[np.searchsorted(p, p, side=side)] for side in ("left", "right"))
    alone = (p * (1 - p)).sum()  # of each sample with itself
    return float((p @ (below + upto) - alone) / 2 / (p.sum() * misses[-1] - alone))
