"""Lines of a table of timings, with a list of repeats for every number."""

import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A line of the table; a list has one value per repeat, `rival` and `figure` none where the rival did not run."""

    name: str
    unit: str  # of ours, rival and floor; ".../s" is a rate
    ours: list[float]
    rival: list[float]
    floor: list[float]
    figure: list[float]  # what the target is about
    says: str  # what the figure is; beside a rival it is to be at least the target, else at most
    target: float | None  # None: there is none

    def met(self) -> bool | None:
        if not self.figure or self.target is None:
            return None
        return median(self.figure) >= self.target if self.against_rival() else median(self.figure) <= self.target

    def against_rival(self) -> bool:
        return bool(self.rival)

    def times_floor(self) -> list[float]:
        """Return how many times the floor's time ours takes."""
        if not self.floor:
            return []
        return divided(self.floor, self.ours) if self.unit.endswith("/s") else divided(self.ours, self.floor)


def divided(a: list[float], b: list[float]) -> list[float]:
    return [x / y for x, y in zip(a, b)]


def intervals(starts: list[float]) -> float:
    """Return the median seconds between starts, the first interval left out."""
    return median(b - a for a, b in pairwise(starts[1:]))


def timed(work: Callable[[], Any], times: int) -> float:
    """Return the median seconds of a call over `times` of them, after one that does not count."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


def cell(values: list[float]) -> str:
    """Return "median [least, most]"."""
    if not values:
        return "-"
    digits = 0 if median(values) >= 1000 else 2
    middle, least, most = (f"{v:,.{digits}f}" for v in (median(values), min(values), max(values)))
    return f"{middle} [{least}, {most}]"


def table(rows: list[Row], rival: str) -> str:
    """Return Markdown: median [least, most] over repeats."""

    lines = [f"| What | Unit | Ours | {rival} | Floor | Ours / floor, in time | Figure | Target | Met |"]
    lines.append("|---" * 9 + "|")
    for r in rows:
        cells = [r.name, r.unit, *map(cell, (r.ours, r.rival, r.floor, r.times_floor())), f"{cell(r.figure)} {r.says}"]
        sign = "at least" if r.against_rival() else "at most"
        if r.target is None:
            cells += ["-", "-"]
        else:
            cells += [f"{sign} {r.target:g}", {True: "yes", False: "NO", None: "not run"}[r.met()]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
