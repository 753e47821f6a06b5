"""Unpacks the official files of MovieLens and ReChorus' Grocery into tables with a header, gzipped."""

import gzip
import zipfile
from collections.abc import Iterable
from pathlib import Path

from lightning_vq.sources.files import read_text
from lightning_vq.sources.rechorus import related


def _write(path: Path, header: str, rows: Iterable[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(header + "\n")
        file.writelines(row + "\n" for row in rows)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def unpack_ml_100k(fetched: Path, made: Path) -> None:
    with zipfile.ZipFile(fetched / "ml-100k.zip") as archive:
        ratings = archive.read("ml-100k/u.data").decode().splitlines()
        items = archive.read("ml-100k/u.item").decode("latin-1").splitlines()
        genres = [line.split("|")[0] for line in archive.read("ml-100k/u.genre").decode().splitlines() if line]
    _write(made / "interactions.csv.gz", "user,item,rating,timestamp", (line.replace("\t", ",") for line in ratings))
    rows = (line.split("|") for line in items)
    _write(
        made / "items.csv.gz", "item,title,genres",
        (f"{r[0]},{_quoted(r[1])},{'|'.join(g for g, flag in zip(genres, r[5:]) if flag == '1')}" for r in rows),
    )  # fmt: skip


def unpack_ml_1m(fetched: Path, made: Path) -> None:
    with zipfile.ZipFile(fetched / "ml-1m.zip") as archive:
        ratings = archive.read("ml-1m/ratings.dat").decode().splitlines()
        items = archive.read("ml-1m/movies.dat").decode("latin-1").splitlines()
    _write(made / "interactions.csv.gz", "user,item,rating,timestamp", (line.replace("::", ",") for line in ratings))
    rows = (line.split("::") for line in items)
    _write(made / "items.csv.gz", "item,title,genres", (f"{r[0]},{_quoted(r[1])},{r[2]}" for r in rows))


def unpack_grocery(fetched: Path, made: Path) -> None:
    interactions, negatives = [], []
    for part in ("train", "dev", "test"):
        header, *lines = (fetched / f"{part}.csv").read_text().splitlines()
        names = header.split("\t")
        for line in lines:
            row = dict(zip(names, line.split("\t"), strict=True))
            interactions.append(f"{row['user_id']},{row['item_id']},{row['time']},{part}")
            if "neg_items" in row:
                items = row["neg_items"].strip("[]").replace(",", "").split()
                negatives.append(f"{row['user_id']},{part},{' '.join(items)}")
    _write(made / "interactions.csv.gz", "user,item,timestamp,split", interactions)
    if negatives:
        _write(made / "negatives.csv.gz", "user,split,negatives", negatives)
    meta = read_text(fetched / "item_meta.csv")
    ids, relations = related(fetched / "item_meta.csv", meta)
    pairs = zip(ids.to_pylist(), meta["i_category"].to_pylist())
    _write(made / "items.csv.gz", "item,category", (f"{item},{category}" for item, category in pairs))
    triples = (
        f"{head},{name},{tail}"
        for name, (rows, tails) in relations.items()
        for head, tail in zip(ids.take(rows).to_pylist(), tails.to_pylist())
    )
    _write(made / "relations.csv.gz", "head,relation,tail", triples)
