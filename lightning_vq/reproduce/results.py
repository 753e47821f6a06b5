"""What a table's runs have come to: beside the paper's figures, beside the row they are said to beat, and by group.

Shapes: S seeds, G groups of entities.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.stats import t as student

from lightning_vq.comparison import holm
from lightning_vq.groups import GROUPS, by_group, case_values, frequency_groups
from lightning_vq.held_out import positions, read_held_out
from lightning_vq.reproduce.paper import Paper, Row
from lightning_vq.runs import read_json
from lightning_vq.vocabulary import read_vocabulary


class Result(NamedTuple):
    """What a table keeps of a finished run, whose folder may be gone."""

    metrics: dict[str, Any]  # metrics.json
    groups: dict[str, float]  # "tail items" -> mean of the table's first test metric


Results = Mapping[int, Result]  # by seed


class Figure(NamedTuple):
    """A column of a row."""

    row: str
    column: str
    paper: float | None
    values: list[float]  # of each seed
    asked: int  # seeds
    tolerance: float | None  # None: the paper's figure is of something else
    status: str  # "" where there are values; else why not

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; NaN for one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    @property
    def difference(self) -> float:
        """The mean less the paper's figure, as a share of it."""
        return self.mean / self.paper - 1 if self.paper and self.values else math.nan

    @property
    def verdict(self) -> str:
        """Return what can be said: nothing counts as reproduced that did not run whole."""
        if self.status:
            return self.status
        if len(self.values) < self.asked:
            return f"{len(self.values)} of {self.asked} seeds"
        if self.paper is None:
            return ""
        if self.tolerance is None:
            return "not comparable"
        if abs(self.difference) <= self.tolerance:
            return "reproduced"
        return "above the paper" if self.difference > 0 else "below the paper"


class Gain(NamedTuple):
    """A row beside the one that it is said to beat, on the seeds of both."""

    row: str
    over: str
    column: str  # or "<group> users", "<group> items"
    paper: float | None  # relative gain
    base: float  # mean
    gain: float  # mean difference, as a share of the base
    low: float  # 95 % interval of it by Student's t over seeds, taking the base's mean as given; NaN for one seed
    high: float
    p: float
    n: int  # seeds

    @property
    def verdict(self) -> str:
        if self.n < 2 or math.isnan(self.gain):
            return "one seed" if self.n < 2 else ""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "not settled"


def figures(paper: Paper, row: Row, results: Results, asked: int) -> list[Figure]:
    """Return a row's figures, column by column."""
    get = row.at_hand()
    status = f"not at hand: {get}" if get is not None else ("" if results else "not run")
    tolerance = paper.tolerance if row.comparable else None
    return [
        Figure(
            row.name,
            column,
            row.paper.get(column),
            [_value(one, name) for one in results.values()],
            asked,
            tolerance,
            status,
        )
        for column, name in paper.columns.items()
    ]


def _value(result: Result, name: str) -> float:
    return float(result.metrics["test"][name] if name.startswith("test/") else result.metrics[name])


def paired_gain(names: tuple[str, str, str], paper: float | None, base: list[float], values: list[float]) -> Gain:
    """Return the gain of some seeds' values over those of the same seeds' base.

    Args:
        names: row, over, column.
        paper: its relative gain.
        base, values: (S).

    >>> round(paired_gain(("b", "a", "x"), None, [1.0, 1.0, 1.0], [1.1, 1.2, 1.3]).p, 4)
    0.0742
    """
    differences, mean = np.array(values) - np.array(base), float(np.mean(base))
    n, gap = len(differences), float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    half = float(student.ppf(0.975, n - 1)) * error if n > 1 else math.nan
    p = float(2 * student.sf(abs(gap) / error, n - 1)) if n > 1 and error > 0 else math.nan
    shares = [x / mean if mean else math.nan for x in (gap, gap - half, gap + half)]
    return Gain(*names, paper, mean, shares[0], shares[1], shares[2], p, n)


def gains(paper: Paper, row: Row, over: Row, results: Results, base: Results) -> list[Gain]:
    """Return the gains of a row over another, column by column, then by group of the first test metric."""
    seeds = [seed for seed in results if seed in base]
    if not seeds:
        return []
    ours, theirs = ([of[seed] for seed in seeds] for of in (results, base))
    found = []
    for column, name in paper.columns.items():
        both = (row.paper.get(column), over.paper.get(column))
        said = both[0] / both[1] - 1 if both[0] is not None and both[1] else None
        names = (row.name, over.name, column)
        found.append(paired_gain(names, said, [_value(t, name) for t in theirs], [_value(o, name) for o in ours]))
    for label in theirs[0].groups:
        if all(label in one.groups for one in (*theirs, *ours)):
            values = ([one.groups[label] for one in theirs], [one.groups[label] for one in ours])
            found.append(paired_gain((row.name, over.name, label), None, *values))
    return found


def read_result(paper: Paper, run: Path) -> Result:
    """Return what a table keeps of a finished run."""
    metric = next((n.removeprefix("test/") for n in paper.columns.values() if n.startswith("test/")), None)
    return Result(read_json(run / "metrics.json"), {} if metric is None else _group_means(run, metric))


def _group_means(run: Path, metric: str) -> dict[str, float]:
    """Return a test metric's mean in each group of users and of items that has cases."""
    held = read_held_out(run)
    name, _, protocol = metric.partition("/")
    means = {}
    of_users = held.values([metric])[:, 0]
    user, item = (read_vocabulary(run, vocab) for vocab in ("user", "item"))
    groups = frequency_groups(user.counts)[positions(held.users["user"], user.ids.cast(pa.string()))]
    for place, group in enumerate(GROUPS):
        if (groups == place).any():
            means[f"{group} users"] = float(of_users[groups == place].mean())
    groups = frequency_groups(item.counts)[positions(held.cases["item"], item.ids.cast(pa.string()))]
    of_items = by_group(case_values(held.ranks(protocol), name), groups, held.case_users(), len(held.users))
    for place, group in enumerate(GROUPS):
        if not np.isnan(of_items[:, place]).all():
            means[f"{group} items"] = float(np.nanmean(of_items[:, place]))
    return means


def corrected(found: list[Gain]) -> list[float]:
    """Return p of each gain by Holm over all those with a p."""
    p = np.array([gain.p for gain in found])
    out = np.full(len(p), np.nan)
    out[~np.isnan(p)] = holm(p[~np.isnan(p)])
    return [float(value) for value in out]
