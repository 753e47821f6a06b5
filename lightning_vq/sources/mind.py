"""MIND, news impressions of Microsoft News: official files to three tables, and those to one table of samples.

A user's history, what she clicked before the weeks of the log, is not a field: each of its items becomes a positive
sample of training (CAGE, 5.1.2: "transformed into a list of user-item pairs, which are subsequently included in the
training set"), once per user. A history never changes within MIND and ends before the first impression, so nothing
held out is told by it. A paper's counts are of this table: 9,993,270 samples are the 8,584,442 rows of impressions and
1,408,828 pairs, its 1,756,555 "interactions" the 347,727 clicks among them and the same pairs.

Shapes: E rows of impressions, L impressions, P pairs of user and item.
"""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lightning_vq.errors import UserError
from lightning_vq.sources.feed import Feed, Part, feed_of
from lightning_vq.sources.files import read_table
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.schema import Schema

COLUMNS = ("impression", "user", "item", "label", "timestamp", "split")
LOG = ("impression", "user", "time", "history", "shown")  # of behaviors.tsv, which has no header
NEWS = ("item", "category", "subcategory", "title")  # the first of news.tsv
SLICE = 20_000  # impressions that are unpacked at a time
SHARES = (0.8, 0.9)  # of the impressions by time, where dev and where test begin


def unpack_mind(fetched: Path, made: Path) -> None:
    """Write interactions, history and items from MINDsmall_train.zip and MINDsmall_dev.zip.

    The official train file is train. The official dev file is the day after it; its earlier half of impressions by
    time is dev, its later half test, as the official test file has no labels. Both files number impressions from 1:
    "dev-1" is the first of the dev file.
    """
    train, dev = (_behaviors(fetched / f"MINDsmall_{part}.zip") for part in ("train", "dev"))
    dev = dev.set_column(0, "impression", pc.binary_join_element_wise("dev", dev["impression"], "-"))
    later = _ranks(dev["timestamp"], dev["impression"]) >= len(dev) // 2
    log = pa.concat_tables(
        [
            train.append_column("split", pa.repeat("train", len(train))),
            dev.append_column("split", pa.array(np.where(later, "test", "dev"))),
        ]
    )
    schema = pa.schema([(name, pa.int64() if name == "timestamp" else pa.string()) for name in COLUMNS])
    with (
        pa.CompressedOutputStream(str(made / "interactions.csv.gz"), "gzip") as file,
        pyarrow.csv.CSVWriter(file, schema) as writer,
    ):
        for start in range(0, len(log), SLICE):
            writer.write_table(_samples(log.slice(start, SLICE)).select(COLUMNS).cast(schema))
    _write(made / "history.csv.gz", log.select(["impression", "user", "history"]))
    news = pa.concat_tables([_read(fetched / f"MINDsmall_{part}.zip", "news.tsv", NEWS) for part in ("train", "dev")])
    _, first = np.unique(news["item"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    _write(made / "items.csv.gz", news.take(np.sort(first)))


def _write(path: Path, table: pa.Table) -> None:
    with pa.CompressedOutputStream(str(path), "gzip") as file:
        pyarrow.csv.write_csv(table, file)


def _read(path: Path, name: str, columns: Sequence[str]) -> pa.Table:
    """Return the first columns of a file without header that lies somewhere in an archive, as written."""
    with zipfile.ZipFile(path) as archive:
        (inside,) = [one for one in archive.namelist() if one.rsplit("/", 1)[-1] == name]
        with archive.open(inside) as file:
            table = pyarrow.csv.read_csv(
                file,
                pyarrow.csv.ReadOptions(autogenerate_column_names=True),
                pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
                pyarrow.csv.ConvertOptions(column_types={f"f{i}": pa.string() for i in range(len(columns))}),
            )
    return table.select(range(len(columns))).rename_columns(columns)


def _behaviors(path: Path) -> pa.Table:
    log = _read(path, "behaviors.tsv", LOG)
    time = pc.strptime(log["time"], format="%m/%d/%Y %I:%M:%S %p", unit="s")  # of no zone
    return log.append_column("timestamp", time.cast(pa.int64()))


def _samples(log: pa.Table) -> pa.Table:
    """Return the rows (E) of impressions (L): "N1-1 N2-0" are two items, the first of which was clicked."""
    lists = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(log["shown"])).combine_chunks()
    shown = pc.list_flatten(lists)
    if not pc.all(pc.match_substring_regex(shown, "^.+-[01]$")).as_py():
        raise ValueError("an impression holds something else than items followed by -0 or -1")
    rows = log.select(["impression", "user", "timestamp", "split"]).take(pc.list_parent_indices(lists))
    rows = rows.append_column("item", pc.utf8_slice_codeunits(shown, 0, -2))
    return rows.append_column("label", pc.utf8_slice_codeunits(shown, -1))


def _ranks(times: pa.ChunkedArray, names: pa.ChunkedArray) -> Array:
    """Return the place (L,) of each impression in time, of equal times by name."""
    order = pc.sort_indices(pa.table({"time": times, "name": names}), [("time", "ascending"), ("name", "ascending")])
    ranks = np.empty(len(order), np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    return ranks


def mind_clicks(folder: Path) -> tuple[Feed, Schema]:
    """Return the samples of a folder: the rows of impressions, then the pairs of histories, which are training.

    Pairs have no impression and no timestamp. Where interactions.csv.gz has no column `split`, as in the sample, the
    earliest 8 tenths of its impressions are train, the next tenth dev, the last test.

    Args:
        folder: interactions.csv.gz (impression,user,item,label,timestamp,split) and history.csv.gz
            (impression,user,history: ids with blanks between them).

    Raises:
        UserError: a file or column that is not there.
    """
    path, history = folder / "interactions.csv.gz", folder / "history.csv.gz"
    shown, past = feed_of(path), feed_of(history)
    for feed, names in ((shown, COLUMNS[:-1]), (past, ("user", "history"))):
        feed.check(dict.fromkeys(names, "of MIND"))

    def parts(columns: Sequence[str]) -> Iterator[Part]:
        made = "split" in columns and "split" not in shown.columns
        names, cut = _cut(path) if made else (None, None)
        wanted = [name for name in columns if name in shown.columns]
        for part in shown.parts(list(dict.fromkeys([*wanted, "impression"])) if made else wanted):
            rows = part.rows
            if made:
                split = pc.take(cut, pc.index_in(rows["impression"], names))
                rows = rows.append_column("split", split)
            yield part._replace(rows=rows.select(list(columns)))
        pairs = _pairs(history)
        known = {"user": pairs["user"], "item": pairs["item"]}
        known |= {name: pa.repeat(value, len(pairs)) for name, value in (("label", "1"), ("split", "train"))}
        arrays = [known.get(name, pa.nulls(len(pairs), pa.string())) for name in columns]
        yield Part(f"{history}: pairs", 1, pa.RecordBatch.from_arrays(arrays, list(columns)))

    schema = Schema(categorical=["user", "item"], split="split", timestamp="timestamp", group="impression")
    return Feed(str(path), COLUMNS, parts), schema


def _cut(path: Path) -> tuple[pa.Array, pa.Array]:
    """Return impressions (L) and the split of each."""
    log = read_table(path, ["impression"])
    log = log.group_by("impression", use_threads=False).aggregate([("timestamp", "min")])
    times = log["timestamp_min"]
    if not pa.types.is_integer(times.type):
        raise UserError(f"{path}: the column 'timestamp' holds {times.type}; it must hold whole numbers")
    places = np.searchsorted(np.multiply(SHARES, len(log)), _ranks(times, log["impression"]), side="right")
    return log["impression"].combine_chunks(), pa.array(np.array(["train", "dev", "test"])[places])


def _pairs(path: Path) -> pa.RecordBatch:
    """Return user and item (P) of all histories, each pair once, in the order of the file."""
    table = read_table(path, ["user", "history"])
    lists = pc.utf8_split_whitespace(table["history"]).combine_chunks()
    flat, owners = pc.list_flatten(lists), pc.list_parent_indices(lists)
    kept = pc.not_equal(flat, "")  # what an empty history is split into
    users = table["user"].combine_chunks().dictionary_encode()
    items = flat.filter(kept).dictionary_encode()
    mine, theirs = users.indices.take(owners.filter(kept)).to_numpy(), items.indices.to_numpy()
    _, first = np.unique(mine.astype(np.int64) * len(items.dictionary) + theirs, return_index=True)
    first.sort()
    arrays = [users.dictionary.take(pa.array(mine[first])), items.dictionary.take(pa.array(theirs[first]))]
    return pa.RecordBatch.from_arrays(arrays, ["user", "item"])
