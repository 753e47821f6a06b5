"""What runs made of the same held-out interactions: read from their folders, checked, brought into one order.

Shapes: U test users, P held-out interactions, N entities of a vocabulary.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lightning_vq.errors import UserError
from lightning_vq.runs import checked_run, read_json, read_parquet

Array = np.ndarray[Any, Any]


class HeldOut(NamedTuple):
    """The test of a finished run."""

    folder: Path
    monitor: str  # as "val/ndcg@10/full"
    case: str  # what is held out: "item", or "row" of a table of samples
    users: pa.Table  # (U) by rising user: user (as text), "<metric>@<k>/<protocol>", "mse/user"
    cases: pa.Table  # (P) by rising user and case: user, item or row and its item (as text), "rank/<protocol>",
    # "squared_error"

    def metrics(self) -> list[str]:
        return [name for name in self.users.column_names if name != "user"]

    def values(self, metrics: list[str]) -> Array:
        """Return the users' metrics (U, C)."""
        return np.stack([self.users[name].to_numpy().astype(float) for name in metrics], axis=1)

    def ranks(self, protocol: str) -> Array:
        """Return the ranks (P,) of the held-out interactions."""
        return self.cases[f"rank/{protocol}"].to_numpy()

    def squared_errors(self) -> Array:
        """Return the squared errors (P,) of held-out scores, whose mean over a user's cases is her "mse/user"."""
        return self.cases["squared_error"].to_numpy()

    def case_users(self) -> Array:
        """Return the place (P,) in `users` of every case's user."""
        return positions(self.cases["user"], self.users["user"])


def read_held_out(folder: Path) -> HeldOut:
    """Read the test of a run.

    Raises:
        UserError: it is not a run folder, has not finished, or has no test of this version.
    """
    checked_run(folder, "config.yaml")
    told = folder / "metrics.json"
    summary = read_json(told) if told.is_file() else {"state": "running"}
    if summary["state"] != "finished":
        raise UserError(
            f"{folder} has not finished (its state is {summary['state']!r}); "
            f"to go on with it: python -m lightning_vq fit --run {folder}"
        )
    users, cases = _read(folder, "test_users.parquet"), _read(folder, "test_cases.parquet")
    case = "row" if "row" in cases.column_names else "item"
    users, cases = _keyed(folder, "test_users", users, "user"), _keyed(folder, "test_cases", cases, "user", case)
    if len(pc.unique(users["user"])) != len(users) or not pc.unique(cases["user"]).equals(pc.unique(users["user"])):
        raise UserError(
            f"{folder}: test_users.parquet has not one row for each user of test_cases.parquet; {_anew(folder)}"
        )
    for protocol in {name.partition("/")[2] for name in users.column_names if "@" in name}:
        if f"rank/{protocol}" not in cases.column_names:
            raise UserError(f"{folder}: test_cases.parquet has no column 'rank/{protocol}'; {_anew(folder)}")
    return HeldOut(folder, summary["monitor"], case, users, cases)


def _anew(folder: Path) -> str:
    return f"both are written by: python -m lightning_vq test --run {folder}"


def _read(folder: Path, name: str) -> pa.Table:
    path = folder / name
    if (folder / "semantic_ids").is_dir():
        raise UserError(f"{folder} has coded vectors, which no user is tested by: metrics.json tells what they lose")
    if not path.is_file():
        raise UserError(f"{folder} has no {name}: another version of lightning_vq tested it; {_anew(folder)}")
    table = read_parquet(path)
    if not table.column_names:
        raise UserError(f"{folder} ranked nothing in its test, for data.init_args.schema.group names no column")
    return table


def _keyed(folder: Path, name: str, table: pa.Table, *keys: str) -> pa.Table:
    for key in keys:
        if key not in table.column_names:
            raise UserError(f"{folder / name}.parquet has no column {key!r}; {_anew(folder)}")
        table = table.set_column(table.column_names.index(key), key, table[key].cast(pa.string()))
    return table.sort_by([(key, "ascending") for key in keys])


def refuse_different(one: HeldOut, other: HeldOut) -> None:
    """Accept two runs that were tested on the same held-out interactions, and no others.

    Raises:
        UserError: their test users or a user's held-out items differ; with how many, and one of them.
    """
    _same(one, other, one.users["user"], other.users["user"], "test users")
    pairs = [pc.binary_join_element_wise(t.cases["user"], t.cases[t.case], "\0") for t in (one, other)]
    _same(one, other, pairs[0], pairs[1], "held-out interactions")
    if not pairs[0].equals(pairs[1]):
        raise UserError(f"{one.folder} and {other.folder} hold out an interaction a different number of times")


def _same(one: HeldOut, other: HeldOut, ours: pa.ChunkedArray, theirs: pa.ChunkedArray, what: str) -> None:
    for run, against, mine, yours in ((one, other, ours, theirs), (other, one, theirs, ours)):
        lone = mine.filter(pc.invert(pc.is_in(mine, yours.combine_chunks())))
        if len(lone):
            example = " with item ".join(repr(part) for part in lone[0].as_py().split("\0"))
            raise UserError(
                f"{one.folder} and {other.folder} cannot be paired: {len(lone):,} of the {len(mine):,} {what} of "
                f"{run.folder} are not in {against.folder}, user {example} for one"
            )


def positions(ids: pa.ChunkedArray, known: pa.Array | pa.ChunkedArray) -> Array:
    """Return the place (P,) in `known` (N) of ids (P), both as text; -1 where an id is not there."""
    known = known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known
    return pc.fill_null(pc.index_in(ids, known), -1).to_numpy()
