"""Data sets known by name: what they are, where they come from, how their files become interactions."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.download import Remote, download, unpack_whole
from lightning_vq.sources.interactions import Interactions
from lightning_vq.sources.liked import read_liked
from lightning_vq.sources.mind import unpack_mind
from lightning_vq.sources.official import unpack_grocery, unpack_ml_1m, unpack_ml_100k
from lightning_vq.sources.official_lists import unpack_attlist, unpack_car
from lightning_vq.sources.readers import lists_only, no_interactions, read_grocery, read_movielens, read_ordered

ROOT_VARIABLE = "LIGHTNING_VQ_DATA"


class Source(NamedTuple):
    """A named data set."""

    name: str
    about: str
    licence: str
    remotes: tuple[Remote, ...]  # none where there is no official address
    unpack: Callable[[Path, Path], None]
    read: Callable[[Path], Interactions]
    counts: tuple[int, int, int] | None  # interactions, users, items as published; none of samples and lists
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


def unpack_nothing(fetched: Path, made: Path) -> None:
    """Stand in where there is nothing to fetch."""


_MIND = "https://huggingface.co/datasets/Recommenders/MIND/resolve/main/MINDsmall_"
_MIND_LICENCE = "Microsoft Research License Terms, to be accepted at msnews.github.io: research, no redistribution"
_CAR = "https://raw.githubusercontent.com/heyunh2015/ListContinuation_WSDM2020/HEAD/data/"
_CAR_LICENCE = (
    'no data licence was published (Y. He et al., WSDM 2020: "welcome to use our datasets and cite our paper")'
)
_ATTLIST = (
    "https://raw.githubusercontent.com/heyunh2015/AttList/HEAD/AttList_cikm2019/data/spotify/listItem_spotify.txt"
)
_GROCERY = "https://raw.githubusercontent.com/THUwangcy/ReChorus/master/data/Grocery_and_Gourmet_Food/"


def _car(name: str, their: str, about: str) -> Source:
    """Return a data set of CAR, whatever its branch is called; of the lists' files only AotM's name has been seen."""
    remotes = tuple(Remote(f"{_CAR}{their}{end}") for end in (".txt.zip", "_creator_list.dict"))
    return Source(name, about, _CAR_LICENCE, remotes, unpack_car, lists_only, None)


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
        "ml-1m-liked", "MovieLens 1M: films rated 4 or 5, in time order",
        "research use, no redistribution (GroupLens)",
        (), unpack_nothing, read_liked, None,
        "it is made from ml-1m: python -m lightning_vq data download ml-1m; where ml-1m lies without times, ml-1m-seq "
        "beside it tells the order", "ml-1m",
    ),
    Source(
        "ml-1m-seq", "MovieLens 1M in time order: ratings of at least 3, the place of each in its user's history",
        "research use, no redistribution (GroupLens)",
        (), unpack_nothing, read_ordered, (835_789, 6_038, 3_307),
        "it was made from ml-1m, whose official file has the times themselves. Put there interactions.csv.gz "
        "(user,item,position: the place in the user's history) and, for titles, items.csv.gz (item,title,genres)",
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
        (), unpack_nothing, read_ordered, (167_597, 19_412, 11_924),
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
    _car("aotm", "AotM", "Art of the Mix: 81,798 playlists of 64,181 songs, and who made them"),
    Source(
        "attlist-spotify", "AttList: 7,787 playlists of Spotify; other ones than those of spotify",
        "no data licence was published (Y. He et al., CIKM 2019)",
        (Remote(_ATTLIST),), unpack_attlist, lists_only, None,
    ),
    _car("zhihu", "Zhihu", "Zhihu: collections of answers, and who made them"),
    _car("spotify", "Spotify", "Spotify: playlists, and who made them"),
    _car("goodreads", "Goodreads", "Goodreads: lists of books, and who made them"),
)  # fmt: skip
