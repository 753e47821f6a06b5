"""Data sets known by name: what they are, where they come from, how their files become interactions."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.download import Remote, download, unpack_whole
from lightning_vq.sources.files import ids_to_rows, read_interactions, read_table
from lightning_vq.sources.interactions import Interactions
from lightning_vq.sources.metadata import with_items
from lightning_vq.sources.mind import unpack_mind
from lightning_vq.sources.official import unpack_grocery, unpack_ml_1m, unpack_ml_100k
from lightning_vq.sources.relations import with_relations

ROOT_VARIABLE = "LIGHTNING_VQ_DATA"


class Source(NamedTuple):
    """A named data set."""

    name: str
    about: str
    licence: str
    remotes: tuple[Remote, ...]  # none where there is no official address
    unpack: Callable[[Path, Path], None]
    read: Callable[[Path], Interactions]
    counts: tuple[int, int, int] | None  # interactions, users, items as published; none of what is samples only
    by_hand: str = ""  # what to put into the source's folder, where there are no remotes
    place: str = ""  # name of its folder, where that is not the source's name

    def folder(self, root: str | None) -> Path:
        """Return where it lies, or would lie."""
        return data_root(root) / (self.place or self.name)

    @property
    def how(self) -> str:
        """Return what brings the data set to its folder: a command, or words."""
        return f"python -m lightning_vq data download {self.name}" if self.remotes else self.by_hand


def data_root(root: str | None) -> Path:
    """Return the folder of named sources: the one given, else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq."""
    return Path(root or os.environ.get(ROOT_VARIABLE) or "~/.cache/lightning_vq").expanduser()


def named_source(name: str) -> Source:
    """Return the source of that name.

    Raises:
        UserError: there is none.
    """
    for source in SOURCES:
        if source.name == name:
            return source
    names = ["planted", *(s.name for s in SOURCES)]
    raise UserError(f"there is no source {name!r}{nearest(name, names)} (or a file: .csv, .tsv, .parquet; or a folder)")


def located(source: Source, root: str | None) -> Path:
    """Return the folder of a source, downloading it where it is not on disk.

    Raises:
        UserError: it cannot be downloaded.
    """
    folder = source.folder(root)
    if not folder.is_dir():
        _refuse_by_hand(source, folder)
        download(source.name, source.licence, source.remotes, source.unpack, folder)
    return folder


def from_local_files(source: Source, fetched: Path, root: str | None) -> Path:
    """Make a source's folder from official files that the user fetched herself."""
    folder = source.folder(root)
    _refuse_by_hand(source, folder)
    if folder.exists():
        raise UserError(f"{folder} exists already")
    for remote in source.remotes:
        if not (fetched / remote.name).is_file():
            raise UserError(f"{fetched} has no {remote.name} (from {remote.url})")
    unpack_whole(source.unpack, fetched, str(fetched), folder)
    return folder


def _refuse_by_hand(source: Source, folder: Path) -> None:
    if not source.remotes:
        raise UserError(f"{source.name} cannot be downloaded: {source.by_hand}; it belongs in {folder}")


def _part(folder: Path, name: str) -> Path:
    """Return a file of a source's folder."""
    if not (folder / name).is_file():
        raise UserError(
            f"{folder} lacks {name}: put it there, or remove the folder and run: "
            f"python -m lightning_vq data download {folder.name}"
        )
    return folder / name


def read_movielens(folder: Path) -> Interactions:
    """Read ml-100k or ml-1m. Where a leave-one-out split with stored negatives lies beside it, that one is used."""
    raw = with_items(read_interactions(_part(folder, "interactions.csv.gz")), folder)
    path = folder / "leave_one_out.csv.gz"
    if not path.is_file():
        return raw
    held = read_table(path)
    users = ids_to_rows(raw.user_ids, held["user"], str(path), "user")
    items = ids_to_rows(raw.item_ids, held["item"], str(path), "item")
    keys, wanted = (u * len(raw.item_ids) + i for u, i in ((raw.users, raw.items), (users, items)))
    order = np.argsort(keys)
    rows = order[np.searchsorted(keys, wanted, sorter=order).clip(max=len(keys) - 1)]
    strange = np.flatnonzero(keys[rows] != wanted)
    if len(strange):
        user, item = (held[role][int(strange[0])] for role in ("user", "item"))
        raise UserError(f"{path}, row {strange[0] + 2}: user {user} and item {item} are not among the interactions")
    split = np.full(len(keys), "train", dtype=object)
    split[rows] = held["split"].to_numpy()
    return raw._replace(split=split, negatives=read_negatives(_part(folder, "leave_one_out_negatives.csv.gz"), raw))


def read_negatives(path: Path, raw: Interactions) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read stored negatives (user, split, ids joined by spaces); repeats are kept, since each counts."""
    table = read_table(path)
    stored = {}
    for part in ("dev", "test"):
        rows = table.filter(pc.equal(table["split"], part))
        lists = pc.split_pattern(rows["negatives"], " ").combine_chunks()
        lengths = np.unique(np.diff(lists.offsets.to_numpy()))
        if len(lengths) != 1:
            raise UserError(f"{path}: the {part} rows hold {lengths.tolist()} negatives; all must hold as many")
        items = ids_to_rows(raw.item_ids, pa.chunked_array([lists.flatten()]), str(path), "item")
        stored[part] = (ids_to_rows(raw.user_ids, rows["user"], str(path), "user"), items.reshape(-1, lengths[0]))
    return stored


def read_grocery(folder: Path) -> Interactions:
    """Read ReChorus' Grocery_and_Gourmet_Food with its own leave-one-out split."""
    raw = with_relations(with_items(read_interactions(_part(folder, "interactions.csv.gz")), folder), folder)
    negatives = folder / "negatives.csv.gz"
    return raw._replace(negatives=read_negatives(negatives, raw)) if negatives.is_file() else raw


def read_toys(folder: Path) -> Interactions:
    """Read Toys and Games, in which a user's history has an order and no times."""
    path = _part(folder, "interactions.csv.gz")
    return with_items(read_interactions(path, {"timestamp": "position"}), folder)


def no_interactions(folder: Path) -> Interactions:
    """Stand in where a source has samples only."""
    raise UserError(
        f"{folder} holds samples for click-through rate (lightning_vq.data.ClickThroughData), not interactions"
    )


def unpack_nothing(fetched: Path, made: Path) -> None:
    """Stand in where there is nothing to fetch."""


_MIND = "https://huggingface.co/datasets/Recommenders/MIND/resolve/main/MINDsmall_"
_MIND_LICENCE = "Microsoft Research License Terms, to be accepted at msnews.github.io: research, no redistribution"
_GROCERY = "https://raw.githubusercontent.com/THUwangcy/ReChorus/master/data/Grocery_and_Gourmet_Food/"

SOURCES = (
    Source(
        "ml-100k", "MovieLens 100K: 943 users rate 1,682 films, 1997-98",
        "research use, no redistribution (GroupLens)",
        (Remote("https://files.grouplens.org/datasets/movielens/ml-100k.zip", "0e33842e24a9c977be4e0107933c0723"),),
        unpack_ml_100k, read_movielens, (100_000, 943, 1_682),
    ),
    Source(
        "ml-1m", "MovieLens 1M: 6,040 users rate 3,706 films, 2000-03",
        "research use, no redistribution (GroupLens)",
        (Remote("https://files.grouplens.org/datasets/movielens/ml-1m.zip", "c4d9eecfca2ab87c1945afe126590906"),),
        unpack_ml_1m, read_movielens, (1_000_209, 6_040, 3_706),
    ),
    Source(
        "amazon-grocery", "Amazon Grocery and Gourmet Food, 5-core, with ReChorus' leave-one-out split",
        "no data licence was published (Amazon reviews, J. McAuley; split by ReChorus)",
        tuple(Remote(_GROCERY + f"{part}.csv") for part in ("train", "dev", "test", "item_meta")),
        unpack_grocery, read_grocery, (151_254, 14_681, 8_713),
    ),
    Source(
        "amazon-toys", "Amazon Toys and Games, 5-core of 2014 in time order, with item attributes",
        "no data licence was published (Amazon reviews, J. McAuley)",
        (), unpack_nothing, read_toys, (167_597, 19_412, 11_924),
        "the 5-core reviews are at snap.stanford.edu/data/amazon/productGraph/categoryFiles, but this numbering of "
        "users and items has no official address. Put there interactions.csv.gz (user,item,position: the place in "
        "the user's history) and, for attributes, items.csv.gz (item,attributes: ids with blanks between them)",
    ),
    Source(
        "frappe", "Frappe: whether a user opens an app in a context of ten fields; validation and test parts",
        "no data licence was published (L. Baltrunas)",
        (), unpack_nothing, no_interactions, None,
        "the public split is Frappe_x1.zip of huggingface.co/datasets/reczoo/Frappe_x1. Put there interactions.csv.gz "
        "(label,f0,...,f9,split) with its validation and test parts", "frappe-ctr-libfm",
    ),
    Source(
        "mind-small", "MIND-small: which news 94,057 users of Microsoft News clicked, by impression, 2019",
        _MIND_LICENCE,
        (
            Remote(
                _MIND + "train.zip", sha256="6ef97a271580b98ccfc4301ada55cc639423cb0576a78b8dcfcf74a4dbcc3194"
            ),
            Remote(_MIND + "dev.zip", sha256="d6ce515dcaa6b6d47ddf0a326eebc8a31b84735ae410285c9882ca2a06eec669"),
        ),
        unpack_mind, no_interactions, None,
    ),
    Source(
        "mind-small-sample", "MIND-small: 5,000 impressions of its train file, to try a pipeline on",
        _MIND_LICENCE,
        (), unpack_nothing, no_interactions, None,
        "it was drawn from mind-small. Put there interactions.csv.gz (impression,user,item,label,timestamp) and "
        "history.csv.gz (impression,user,history: ids with blanks between them)",
    ),
)  # fmt: skip
