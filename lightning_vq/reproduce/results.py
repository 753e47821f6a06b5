"""What a table's runs have come to: beside the paper's figures, beside the row they are said to beat, and by group.

Shapes: S seeds, G groups of entities.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from lightning_vq.compare_command import by_frequency
from lightning_vq.comparison import ALPHA, holm
from lightning_vq.direction import lower_is_better
from lightning_vq.held_out import read_held_out
from lightning_vq.reproduce.paper import COSTS, Paper, Row
from lightning_vq.runs import read_json


class Result(NamedTuple):
    """What a table keeps of a finished run, whose folder may be gone."""

    metrics: dict[str, Any]  # metrics.json
    groups: dict[str, float]  # "tail items" -> mean of the table's first test metric
    drawn: dict[str, Any] = {}  # what its drawing needs
    told_beside: dict[str, Any] = {}  # of which metric groups are, of which drawing drawn is, if told: see Paper

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
    words: tuple[str, str]  # for more and for less of it

    def within(self, margin: float) -> str:
        """Return whether the interval leaves no larger loss than a share of the base: "yes", "no", or nothing.

        Nothing is said of costs, of fewer than three seeds, and of differences without a spread.
        """
        worst = {"worse": self.low, "better": -self.high}.get(self.words[1])  # of what has a better and a worse
        if worst is None or self.n < 3 or math.isnan(self.p):
            return ""
        return "yes" if worst > -margin else "no"

    def verdict(self, holm: float) -> str:
        """Return what p after Holm's correction leaves to be said."""
        if self.n < 2:
            return "one seed"
        if math.isnan(holm) or holm >= ALPHA:
            return "not settled" if holm >= ALPHA else ""
        return self.words[self.gain < 0]


class Family(NamedTuple):
    """Gains that are told, and tested, together."""

    title: str
    gains: list[Gain]
    p_holm: list[float]  # NaN where a gain has no p


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
        values = [value for one in results.values() if (value := _value(one, name)) is not None]
        why = "" if values else f"its runs have no {name}" if results else status
        found.append(Figure(row.name, column, row.paper.get(column), values, asked, tolerance, why, row.comparable))
    return found


def _value(result: Result, name: str) -> float | None:
    of = result.metrics["test"] if name.startswith("test/") else result.metrics
    if name.startswith("random/"):
        _, name, protocol = name.split("/")
        of = of.get("random", {}).get(protocol, {})
    return None if name not in of else float(of[name])


def paired_gain(
    names: tuple[str, str, str],
    paper: float | None,
    base: list[float],
    values: list[float],
    words: tuple[str, str] = ("better", "worse"),
) -> Gain:
    """Return the gain of some seeds' values over those of the same seeds' base.

    Args:
        names: row, over, column.
        paper: its relative gain.
        base, values: (S).
        words: for more and for less of what is measured.

    >>> round(paired_gain(("b", "a", "x"), None, [1.0, 1.0, 1.0], [1.1, 1.2, 1.3]).p, 4)
    0.0742
    """
    differences, mean = np.array(values) - np.array(base), float(np.mean(base))
    n, gap = len(differences), float(np.mean(differences))
    error = float(np.std(differences, ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    error = error if error > 1e-9 * abs(mean) else 0.0  # equal differences, rounded: nothing to test with
    half = float(student.ppf(0.975, n - 1)) * error if n > 1 else math.nan
    p = float(2 * student.sf(abs(gap) / error, n - 1)) if n > 1 and error > 0 else math.nan
    shares = [x / mean if mean else math.nan for x in (gap, gap - half, gap + half)]
    return Gain(*names, paper, mean, shares[0], shares[1], shares[2], p, n, words)


def words_of(name: str) -> tuple[str, str]:
    """Return what more and less of a column are called.

    >>> words_of("test/logloss"), words_of("test_seconds")
    (('worse', 'better'), ('more', 'less'))
    """
    if name in COSTS:
        return "more", "less"
    return ("worse", "better") if lower_is_better(name) else ("better", "worse")


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
        pairs = [(_value(t, name), _value(o, name)) for t, o in zip(theirs, ours)]
        whole = [(a, b) for a, b in pairs if a is not None and b is not None]
        if whole:
            values = ([a for a, _ in whole], [b for _, b in whole])
            found.append(paired_gain(names, said, *values, words_of(name)))
    for label in theirs[0].groups:
        if all(label in one.groups for one in (*theirs, *ours)):
            values = ([one.groups[label] for one in theirs], [one.groups[label] for one in ours])
            if not any(values[0] + values[1]):  # cold items that no model ever hits
                continue
            found.append(paired_gain((row.name, over.name, label), None, *values, words_of(str(paper.grouped()))))
    return found


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


def families(paper: Paper, found: list[Gain]) -> list[Family]:
    """Return the tables of gains, each with p corrected by Holm over those of its own that have one."""
    by_title = {
        "Gains": [gain for gain in found if gain.column in paper.columns],
        f"Gains by group: {paper.grouped_column()}": [gain for gain in found if gain.column not in paper.columns],
    }
    out = []
    for title, some in by_title.items():
        p = np.array([gain.p if paper.tests(gain.column) else math.nan for gain in some])
        p[~np.isnan(p)] = holm(p[~np.isnan(p)])
        if some:
            out.append(Family(title, some, p.tolist()))
    return out
