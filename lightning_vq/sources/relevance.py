"""Pairs of items with a score of how relevant the one is to the other, and reading them from a user's file.

Shapes: E pairs, U items that are asked about, N items that may be related to them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from lightning_vq.errors import UserError
from lightning_vq.sources.files import column_names, read_table
from lightning_vq.sources.interactions import Array, numbered
from lightning_vq.sources.roles import columns_by_role, whole_numbers, with_numbers

ROLES = ("item", "related", "score")
Duplicates = Literal["refuse", "mean"]


class RawRelevance(NamedTuple):
    """Scored pairs in the order of their source, each (item, related item) once; the other way round is another pair.

    The two sides are numbered apart, as tables `user` and `item` of a backbone are.
    """

    where: str  # file they come from, for messages
    user_ids: pa.Array  # (U,) original ids of the items that are asked about
    item_ids: pa.Array  # (N,) of those that may be related
    users: Array  # (E,) int64
    items: Array  # (E,) int64
    scores: Array  # (E,) float64
    rows: Array  # (E,) int64 place in the table, 0 is its first row
    truth: Array | None = None  # (E,) float64 the best possible prediction, where it was planted
    categories: dict[str, Array] = {}  # known truth about the items of either side by level, coarse last


def read_relevance(
    path: Path, columns: Mapping[str, str] | None = None, duplicates: Duplicates = "refuse"
) -> RawRelevance:
    """Read scored pairs from a file.

    Args:
        path: CSV, TSV (plain or gzipped) or Parquet with a header.
        columns: {role: name in the file} for roles item, related, score; a role that is not given is looked for under
            its own name.
        duplicates: what to do with a pair that stands in several rows: "refuse", or keep the first with the "mean" of
            their scores.

    Raises:
        UserError: a column that is not there, a missing id, a score that is no finite number, duplicates.
    """
    given = dict(columns or {})
    text = [given.get(role, role) for role in ROLES]  # of a CSV: "007" is an id, and a date is no score
    table = columns_by_role(path, read_table(path, text), given, ROLES, ROLES)
    if not len(table):
        raise UserError(f"{path}: no pairs")
    if pa.types.is_temporal(table["score"].type):
        raise UserError(f"{path}: the score column holds {table['score'].type}, not numbers")
    # Row numbers are line numbers in a CSV with a header; row 1 of a Parquet file is its first.
    lines = np.arange(len(table)) + (1 if path.suffix == ".parquet" else 2)
    table = with_numbers(str(path), table.append_column("row", pa.array(lines)), "score")
    scores = table["score"].to_numpy().astype(np.float64)
    infinite = np.flatnonzero(~np.isfinite(scores))
    if len(infinite):
        raise UserError(f"{path}, row {lines[infinite[0]]}: the score is {scores[infinite[0]]}, which is not finite")
    user_ids, users = numbered(str(path), "item", whole_numbers(table["item"]), lines)
    item_ids, items = numbered(str(path), "related item", whole_numbers(table["related"]), lines)
    raw = RawRelevance(str(path), user_ids, item_ids, users, items, scores, np.arange(len(table)))
    return _each_once(raw, lines, duplicates)


def has_scores(path: Path, columns: Mapping[str, str] | None = None) -> bool:
    """Return whether a file's columns are those of scored pairs, as they are given or by their names.

    Raises:
        UserError: it is not there.
    """
    given = set(columns or {})
    if given:
        return bool(given & {"related", "score"})
    return set(ROLES) <= set(column_names(path))


def _each_once(raw: RawRelevance, lines: Array, duplicates: Duplicates) -> RawRelevance:
    """Return the pairs, each once, in the order of their first rows.

    Args:
        raw: as the file has them.
        lines: (E,) number of each row, for messages.
        duplicates: as of `read_relevance`.

    Raises:
        UserError: a pair stands twice and is not to.
    """
    keys = raw.users * len(raw.item_ids) + raw.items
    _, first, of = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(keys):
        return raw
    again = np.flatnonzero(first[of] != np.arange(len(keys)))
    if duplicates == "refuse":
        row = again[0]
        item, related = raw.user_ids[int(raw.users[row])].as_py(), raw.item_ids[int(raw.items[row])].as_py()
        raise UserError(
            f"{raw.where}, row {lines[row]}: item {item!r} and related item {related!r} stand in row "
            f"{lines[first[of[row]]]} already ({len(again)} such rows); keep one row a pair, or take the mean of its "
            "scores with --data.init_args.duplicates=mean"
        )
    means, kept = np.bincount(of, raw.scores) / np.bincount(of), np.sort(first)
    return raw._replace(users=raw.users[kept], items=raw.items[kept], scores=means[of[kept]], rows=raw.rows[kept])
