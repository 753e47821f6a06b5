"""What a table's rows gain over those that they are said to beat: on the seeds of both, with tests.

Shapes: S seeds.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from lightning_vq.comparison import ALPHA, holm
from lightning_vq.direction import lower_is_better
from lightning_vq.reproduce.paper import COSTS, Paper, Row
from lightning_vq.reproduce.results import Results, value_of


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


def paired_seeds(results: Results, base: Results) -> tuple[list[int], list[int]]:
    """Return the seeds of both rows that are compared, and those that are not, since the stages before differ.

    A stage that both rows share must be one run: if it was made anew in between, though from the same seed and
    settings, part of their difference is that of its two runs.
    """
    both = [seed for seed in results if seed in base]
    apart = [
        seed for seed in both
        if any(base[seed].stages.get(stage, run) != run for stage, run in results[seed].stages.items())
    ]  # fmt: skip
    return [seed for seed in both if seed not in apart], apart


def gains(paper: Paper, row: Row, over: Row, results: Results, base: Results) -> list[Gain]:
    """Return the gains of a row over another, column by column, then by group of the first test metric."""
    seeds, _ = paired_seeds(results, base)
    if not seeds:
        return []
    ours, theirs = ([of[seed] for seed in seeds] for of in (results, base))
    found = []
    for column, name in paper.columns.items():
        both = (row.paper.get(column), over.paper.get(column))
        said = both[0] / both[1] - 1 if both[0] is not None and both[1] else None
        names = (row.name, over.name, column)
        pairs = [(value_of(t, name), value_of(o, name)) for t, o in zip(theirs, ours)]
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
