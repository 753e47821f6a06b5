"""How the files in the folder of a named source become interactions."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.sources.files import ids_to_rows, read_interactions, read_table
from lightning_vq.sources.interactions import Interactions
from lightning_vq.sources.metadata import with_items
from lightning_vq.sources.relations import with_relations


def part(folder: Path, name: str) -> Path:
    """Return a file of a source's folder."""
    if not (folder / name).is_file():
        raise UserError(
            f"{folder} lacks {name}: put it there, or remove the folder and run: "
            f"python -m lightning_vq data download {folder.name}"
        )
    return folder / name


def read_movielens(folder: Path) -> Interactions:
    """Read ml-100k or ml-1m. Where a leave-one-out split with stored negatives lies beside it, that one is used."""
    raw = with_items(read_interactions(part(folder, "interactions.csv.gz")), folder)
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
    return raw._replace(split=split, negatives=read_negatives(part(folder, "leave_one_out_negatives.csv.gz"), raw))


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
    raw = with_relations(with_items(read_interactions(part(folder, "interactions.csv.gz")), folder), folder)
    negatives = folder / "negatives.csv.gz"
    return raw._replace(negatives=read_negatives(negatives, raw)) if negatives.is_file() else raw


def read_ordered(folder: Path) -> Interactions:
    """Read a source in which a user's history has an order and no times."""
    path = part(folder, "interactions.csv.gz")
    return with_items(read_interactions(path, {"timestamp": "position"}), folder)._replace(clock=False)


def no_interactions(folder: Path) -> Interactions:
    """Stand in where a source has samples only."""
    raise UserError(
        f"{folder} holds samples for click-through rate (lightning_vq.data.ClickThroughData), not interactions"
    )


def lists_only(folder: Path) -> Interactions:
    """Stand in where a source has lists only."""
    raise UserError(f"{folder} holds lists of items (lightning_vq.data.ListData), not interactions of users")
