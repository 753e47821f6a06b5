"""`python -m lightning_vq compare A B [C ...]`: do runs differ from run A, on which metrics, and for whom?

Shapes: U test users, P held-out interactions, C columns, G groups.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_vq.comparison import Array, Comparison, holm, paired
from lightning_vq.comparison_report import show, write_csv, write_markdown
from lightning_vq.errors import UserError, nearest
from lightning_vq.figures import draw_comparison
from lightning_vq.groups import GROUPS, by_group, case_values, frequency_groups, list_shares
from lightning_vq.held_out import HeldOut, positions, read_held_out, refuse_different
from lightning_vq.parser import Parser
from lightning_vq.vocabulary import has_vocabulary, read_vocabulary


class Family(NamedTuple):
    """Columns that are corrected together: the same of every run."""

    columns: list[tuple[str, str, str, int]]  # (C) of, group, metric, n
    values: list[Array]  # of each run, (U, C)


def main(arguments: list[str]) -> None:
    """Run the verb.

    Raises:
        UserError: a wrong argument, a folder that is not a finished run of this version, runs that were not tested on
            the same held-out interactions or have no metric in common.
    """
    about = (
        "Say with paired tests over users whether runs differ from the first, on which metrics, and for which users "
        "and items. A run may be RUN/baseline too."
    )
    parser = Parser(prog="python -m lightning_vq compare", description=about, allow_abbrev=False)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="two or more run folders")
    parser.add_argument(
        "--out", type=Path, default=Path("comparison"), metavar="DIR",
        help="comparison.md, .csv and .png are written there (default: comparison)",
    )  # fmt: skip
    parser.add_argument(
        "--metric", metavar="NAME", help="by group, as ndcg@10/full (default: the one that chose the first run's epoch)"
    )
    options = parser.parse_args(arguments)
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out={options.out} is a file: name a folder")
    rows, metric = compare(options.runs, options.metric)
    write_csv(options.out / "comparison.csv", rows)
    draw_comparison(options.out / "comparison.png", rows, metric)
    write_markdown(options.out / "comparison.md", rows, metric)
    show(rows, metric)
    print(f"Written: {options.out}/comparison.md, comparison.csv, comparison.png")


def compare(folders: Sequence[Path], metric: str | None) -> tuple[list[Comparison], str]:
    """Return every comparison of runs with the first, and the metric that was looked at by group.

    Args:
        folders: of two or more runs.
        metric: to look at by group; None is the first run's monitor.

    Raises:
        UserError: as `main`.
    """
    if len(folders) < 2:
        base = folders[0] / "baseline"
        pair = f"{base} {folders[0]}" if base.is_dir() else f"{folders[0]} OTHER_RUN"
        raise UserError(f"compare needs two runs or more, as: compare {pair}")
    names = short_names(folders)
    runs = [read_held_out(folder) for folder in folders]
    for run in runs[1:]:
        refuse_different(runs[0], run)
    metrics = [name for name in runs[0].metrics() if all(name in run.metrics() for run in runs)]
    if not metrics:
        raise UserError(
            f"{folders[0]} and {folders[-1]} have no metric in common: see their metrics, ks, eval_protocols"
        )
    monitor = runs[0].monitor.removeprefix("val/")
    chosen = metric or (monitor if "@" in monitor else metrics[-1])  # an AUC is of all rows, and no user has one
    if chosen not in metrics:
        raise UserError(f"--metric={chosen} is not a test metric of all these runs{nearest(chosen, metrics)}")
    counts = (~np.isnan(runs[0].values(metrics))).sum(0).tolist()  # a list of few items has no metric at a higher k
    columns = [("all", "", name, count) for name, count in zip(metrics, counts)]
    whole = Family(columns, [run.values(metrics) for run in runs])
    return _rows(names, [whole, by_frequency(runs, chosen)]), chosen


def by_frequency(runs: Sequence[HeldOut], metric: str) -> Family:
    """Return a metric by groups of users and of held-out items, as the first run's training counted them.

    Groups without a case are left out, and users where they have no vocabulary (lists are nobody's). Of a table of
    samples users are what its column of groups holds and items those of its column `item`, where they have a
    vocabulary; one that training did not see is among the cold.

    Raises:
        UserError: the first run's vocabulary is not there or not of its test, or items have no such metric.
    """
    first, protocol = runs[0], metric.partition("/")[2]
    size = len(first.users)
    columns, values = [], [np.empty((size, 0)) for _ in runs]
    of_samples = first.case == "row"
    of_all = [("users", first.users["user"], protocol if of_samples else "user")]
    of_all += [("items", first.cases["item"], "item")] if "item" in first.cases.column_names else []
    for of, ids, vocab in of_all:
        if (of_samples or vocab == "user") and not has_vocabulary(first.folder, vocab):
            continue
        vocabulary = read_vocabulary(first.folder, vocab)
        at = positions(ids, vocabulary.ids.cast(ids.type))
        if (at < 0).any() and not of_samples:
            raise UserError(f"{first.folder}: vocab/{vocab}.parquet is not that of its test")
        groups = np.where(at < 0, GROUPS.index("cold"), frequency_groups(vocabulary.counts)[at])
        users = np.arange(size) if of == "users" else first.case_users()
        there = ~np.isnan(first.values([metric])[:, 0])[users]  # a list that is too short has no such metric
        groups, users = groups[there], users[there]
        counted = np.bincount(groups, minlength=len(GROUPS))
        kept = np.flatnonzero(counted)
        columns += [(of, GROUPS[group], metric, int(counted[group])) for group in kept]
        for i, run in enumerate(runs):
            told = (run.values([metric])[:, 0] if of == "users" else _of_cases(run, metric))[there]
            made = by_group(told, groups, users, size)
            if protocol == "list" and of == "items":
                made = list_shares(made, groups, users, metric.partition("/")[0])
            values[i] = np.hstack([values[i], made[:, kept]])
    return Family(columns, values)


def _of_cases(run: HeldOut, metric: str) -> Array:
    """Return a metric of single cases (P,)."""
    name, _, protocol = metric.partition("/")
    return run.squared_errors() if name == "mse" else case_values(run.ranks(protocol), name)


def _rows(names: Sequence[str], families: Sequence[Family]) -> list[Comparison]:
    """Return a row for each run and column: all are resampled at once, and each family is corrected by itself."""
    wide = [np.hstack([family.values[i] for family in families]) for i in range(len(names))]
    found = paired(np.hstack([wide[0]] * (len(names) - 1)), np.hstack(wide[1:]))
    numbers = np.stack(found, axis=1).reshape(len(names) - 1, -1, len(found))  # run, column, statistic
    rows, start = [], 0
    for family in families:
        part = numbers[:, start : start + len(family.columns)]
        corrected = holm(part[:, :, -1].ravel()).reshape(part.shape[:2])
        for i, name in enumerate(names[1:]):
            for j, column in enumerate(family.columns):
                told = [float(number) for number in part[i, j]]
                rows.append(Comparison._make((name, names[0], *column, *told, float(corrected[i, j]))))
        start += len(family.columns)
    return rows


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' paths without the parts that all share; the last two of a path are kept.

    >>> short_names([Path("runs/cove_lgcn/1/baseline"), Path("runs/cove_lgcn/1")])
    ['cove_lgcn/1/baseline', 'cove_lgcn/1']

    Raises:
        UserError: two are the same.
    """
    for i, folder in enumerate(folders):
        if folder.resolve() in [earlier.resolve() for earlier in folders[:i]]:
            raise UserError(f"{folder} is named twice: a run does not differ from itself")
    whole = [Path(os.path.abspath(folder)) for folder in folders]
    shared = os.path.commonpath([path.parent.parent for path in whole])
    return [path.relative_to(shared).as_posix() for path in whole]
