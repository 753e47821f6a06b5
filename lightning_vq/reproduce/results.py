"""What a table's runs have come to, as a whole and by group of entities, beside the paper's figures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightning_vq.compare_command import by_frequency
from lightning_vq.held_out import read_held_out
from lightning_vq.reproduce.paper import Paper, Row
from lightning_vq.runs import read_json


class Result(NamedTuple):
    """What a table keeps of a finished run, whose folder may be gone."""

    metrics: dict[str, Any]  # metrics.json
    groups: dict[str, float]  # "tail items" -> mean of the table's first test metric
    drawn: dict[str, Any] = {}  # what its drawing needs
    told_beside: dict[str, Any] = {}  # of which metric groups are, of which drawing drawn is, if told: see Paper
    stages: dict[str, str] = {}  # which runs it reads, by what those were asked for: see runs_of

    def of(self, now: dict[str, Any]) -> "Result":
        """Return it without what is told of another metric, or drawn by another drawing, than now."""
        before = self.told_beside
        return self._replace(
            groups=self.groups if before.get("groups") == now["groups"] else {},
            drawn=self.drawn if before.get("drawing") == now["drawing"] else {},
        )


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
    comparable: bool = True  # the paper's figure is of the same data

    @property
    def mean(self) -> float:
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def spread(self) -> float:
        """The standard deviation over seeds; NaN for one."""
        if len(set(self.values)) == 1 < len(self.values):
            return 0.0  # and not what rounding makes of it
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    @property
    def difference(self) -> float:
        """The mean less the paper's figure, as a share of it."""
        return self.mean / self.paper - 1 if self.paper and self.values and self.comparable else math.nan

    @property
    def verdict(self) -> str:
        """Return what can be said of the level; nothing is within reach of the paper that did not run whole."""
        if self.status:
            return self.status
        if len(self.values) < self.asked:
            return f"{len(self.values)} of {self.asked} seeds"
        if self.paper is None:
            return ""
        if self.tolerance is None:
            return "not comparable"
        if abs(self.difference) <= self.tolerance:
            return f"within {self.tolerance:.0%}"
        return "above" if self.difference > 0 else "below"


def figures(paper: Paper, row: Row, results: Results, asked: int, failed: str | None) -> list[Figure]:
    """Return a row's figures, column by column.

    Args:
        paper: the table.
        row: of it.
        results: of the row.
        asked: seeds.
        failed: why it could not run, if it could not.
    """
    get = row.at_hand(paper.root(row))
    status = f"failed: {failed}" if failed else "not run" if get is None else f"not at hand: {get}"
    tolerance = paper.tolerance if row.comparable else None
    found = []
    for column, name in paper.columns.items():
        values = [value for one in results.values() if (value := value_of(one, name)) is not None]
        why = "" if values else f"its runs have no {name}" if results else status
        found.append(Figure(row.name, column, row.paper.get(column), values, asked, tolerance, why, row.comparable))
    return found


def value_of(result: Result, name: str) -> float | None:
    of = result.metrics["test"] if name.startswith("test/") else result.metrics
    if name.startswith("random/"):
        _, name, protocol = name.split("/")
        of = of.get("random", {}).get(protocol, {})
    return None if name not in of else float(of[name])


def read_result(paper: Paper, run: Path) -> Result:
    """Return what a table keeps of a finished run."""
    metrics, metric = read_json(run / "metrics.json"), paper.grouped()
    there = metric is not None and f"test/{metric}" in metrics["test"]
    drawn = paper.drawing.keep(run) if paper.drawing is not None else {}
    return Result(metrics, _group_means(run, str(metric)) if there else {}, drawn, paper.told_beside())


def _group_means(run: Path, metric: str) -> dict[str, float]:
    """Return a test metric's mean in each group of users and of items that has cases."""
    family = by_frequency([read_held_out(run)], metric)
    return {
        f"{group} {of}": float(np.nanmean(values))
        for (of, group, _, _), values in zip(family.columns, family.values[0].T)
    }
