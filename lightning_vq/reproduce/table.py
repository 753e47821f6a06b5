"""A table of fits: run what is missing of it, and tell what came of it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lightning_vq.errors import UserError, nearest
from lightning_vq.reproduce.check import refusals
from lightning_vq.reproduce.deadline import Deadline
from lightning_vq.reproduce.figure import draw_more
from lightning_vq.reproduce.gains import Family, Gain, families, gains, paired_seeds
from lightning_vq.reproduce.paper import Row, read_paper
from lightning_vq.reproduce.report import HEAD, figure_cells, gain_cells, gains_head, notes, number, show, write
from lightning_vq.reproduce.results import Figure, Result, figures
from lightning_vq.reproduce.runs import RowRuns
from lightning_vq.reproduce.smoke import smoke_test
from lightning_vq.sweep.processes import begin_warm


@dataclass(frozen=True)
class Asked:
    """What of a table is to be run, and where.

    Args:
        out: folder of all tables' results.
        rows: patterns of names; none: all.
        seeds: fits of each tuned config; None: as the table says.
        budget: of the table; None: its first.
        parallel: fits at a time.
        tuned: folder of results whose tuned settings are taken; None: rows are tuned.
        smoke: planted data, two epochs.
        report: run nothing.
        deadline: when it ends.
    """

    out: Path
    rows: list[str] = field(default_factory=list)
    seeds: int | None = None
    budget: str | None = None
    parallel: int = 1
    tuned: Path | None = None
    smoke: bool = False
    report: bool = False
    deadline: Deadline = field(default_factory=Deadline)


class Ran(NamedTuple):
    """What there is of a part, whenever it ran."""

    done: int  # rows with all seeds that were asked for, or commands
    of: int
    absent: int  # of the others, those whose data is not at hand
    seconds: float  # of the fits, tuning not counted

    @property
    def left(self) -> int:
        """Return how many can be run."""
        return self.of - self.done - self.absent


class Table:
    """A table, as far as it has run.

    Args:
        name: of conf/papers, or a file.
        asked: which rows, and so on.

    Raises:
        UserError: a table that is not there or says what none may; an unknown row or budget.
    """

    def __init__(self, name: str, asked: Asked) -> None:
        self.shown, (self.name, paper) = name, read_paper(name)
        self.asked, self.paper = asked, smoke_test(paper) if asked.smoke else paper
        self.budget = asked.budget or next(iter(self.paper.budgets))
        budgets = self.paper.budgets
        if self.budget not in budgets:
            raise UserError(
                f"--budget {self.budget!r}: {self.name} has none of that name{nearest(self.budget, budgets)}"
            )
        self.rows, self.folder = self.paper.chosen(asked.rows), asked.out / self.name / self.budget
        self.every: dict[str, RowRuns] = {}
        for row in self.paper.rows:
            tuning = self.every[row.refit_of] if row.refit_of is not None else None
            folder = self.folder / row.slug
            self.every[row.name] = RowRuns(self.paper, row, budgets[self.budget], folder, tuning, asked.tuned)
        self.possible = [self.every[row.name] for row in self.rows if row.at_hand(self.paper.root(row)) is None]

    def refused(self) -> dict[str, str]:
        """Return why rows cannot run, by their names, and say so."""
        begin_warm()
        failed = refusals(self.paper, [self.every[row.name] for row in self.rows])
        for name, why in failed.items():
            print(f"{name}: {why}", file=sys.stderr)
        return failed

    def run(self, besides: Mapping[str, str]) -> dict[str, str]:
        """Run what is missing of the rows, but for some, and return why others could not run."""
        failed = dict[str, str]()
        with self.asked.deadline.interrupting():
            for one in self.possible:
                if one.row.name in besides:
                    continue
                if self.asked.deadline.over:
                    break
                try:
                    seeds = self.paper.asked(one.row, self.asked.seeds)
                    before = len(one.results())
                    one.run(seeds, self.asked.parallel, lambda text: print(f"\n{text}", flush=True))
                    if len(one.results()) > before:
                        print(f"{one.row.name}: {self._line(one, seeds)}", flush=True)
                except UserError as error:  # the others may run all the same
                    failed[one.row.name] = str(error)
                    print(f"{one.row.name}: {error}", file=sys.stderr)
        return failed

    def _line(self, one: RowRuns, seeds: int) -> str:
        """Return what a row has come to."""
        results = {seed: result for seed, result in one.results().items() if seed <= seeds}
        found = figures(self.paper, one.row, results, seeds, None)
        told = (f"{of.column} {number(of.mean)}" + (f" (paper {number(of.paper)})" if of.paper else "") for of in found)
        return f"{', '.join(told)}; {len(results)} of {seeds} seed{'s' * (seeds > 1)}"

    def ran(self) -> Ran:
        """Return what there is of the rows that were asked for."""
        results, _ = self._results(self.asked.seeds)
        asked, possible = self.asked.seeds, {one.row.name for one in self.possible}
        lacking = [row.name for row in self.rows if len(results[row.name]) < self.paper.asked(row, asked)]
        absent = sum(name not in possible for name in lacking)
        spent = sum(float(one.metrics["seconds"]) for row in self.rows for one in results[row.name].values())
        return Ran(len(self.rows) - len(lacking), len(self.rows), absent, spent)

    def tell(self, failed: Mapping[str, str], seeds: int | None, brief: bool = False) -> Path:
        """Write the whole table, whatever part of it has run, and print the rows that were asked for.

        Args:
            failed: why rows could not run.
            seeds: that are told of each row; None: as many as the table says.
            brief: print nothing.
        """
        results, unread = self._results(seeds)
        why = {**unread, **failed}
        told = notes(
            self.shown, self.paper, (self.budget, self.paper.budgets[self.budget]), seeds, self._tuned_before()
        )
        found: list[Figure] = []
        against: list[Gain] = []
        by_name = {row.name: row for row in self.paper.rows}
        for row in self.paper.rows:
            found += figures(self.paper, row, results[row.name], self.paper.asked(row, seeds), why.get(row.name))
            if row.over is not None:
                against += gains(self.paper, row, by_name[row.over], results[row.name], results[row.over])
                told += _apart(row, results)
        by_family = families(self.paper, against)
        if not brief:
            self._show(found, by_family, told)
        drawing = self.folder / "drawing.png"
        more = [drawing] if draw_more(drawing, self.paper, found, results) else []
        written = write(self.folder, self.paper, found, by_family, told, more)
        if not brief:
            for path in written:
                print(f"Written: {path}")
        return written[0]

    def _results(self, seeds: int | None) -> tuple[dict[str, dict[int, Result]], dict[str, str]]:
        """Return what all rows have of some seeds, and why rows cannot be read."""
        found, unread = {}, dict[str, str]()
        for row in self.paper.rows:
            try:
                kept = self.every[row.name].results()
            except (UserError, OSError) as error:  # of other settings than the table's now, or its base is gone
                kept, unread[row.name] = {}, str(error)
            found[row.name] = {seed: one for seed, one in kept.items() if seed <= self.paper.asked(row, seeds)}
        return found, unread

    def _tuned_before(self) -> dict[str, str]:
        """Return where settings of rows were tuned, of those that were not tuned here."""
        return {name: there for name, one in self.every.items() if (there := one.tuned_in()) is not None}

    def _show(self, found: list[Figure], by_family: list[Family], told: list[str]) -> None:
        """Print the rows that were asked for."""
        names = {row.name for row in self.rows}
        print()
        show(self.paper.title, HEAD, figure_cells([figure for figure in found if figure.row in names]))
        for family in by_family:
            part = [(gain, p) for gain, p in zip(family.gains, family.p_holm) if gain.row in names]
            if part:
                some = Family(family.title, [g for g, _ in part], [p for _, p in part])
                show(family.title, gains_head(self.paper.margin), gain_cells(some, self.paper.margin))
        for line in told[1:]:
            print(line)


def _apart(row: Row, results: Mapping[str, dict[int, Result]]) -> list[str]:
    """Return which seeds of a row are not compared with those of the row that it is said to be better than."""
    assert row.over is not None
    _, apart = paired_seeds(results[row.name], results[row.over])
    if not apart:
        return []
    return [
        f"{row.name}: not compared with {row.over} on seed{'s' * (len(apart) > 1)} {', '.join(map(str, apart))}, since "
        "the stages before were made anew between their fits."
    ]


def run_table(name: str, asked: Asked) -> None:
    """Run what is missing of a table, write all of it that has run, and print the rows that were asked for.

    Raises:
        UserError: a table that is not there or says what none may; an unknown row or budget; rows that failed.
    """
    table = Table(name, asked)
    if asked.smoke:
        print(table.paper.about)
    failed, stop = table.refused(), "cannot run, and nothing was trained"
    if not asked.report and not failed:
        failed, stop = table.run({}), "could not run"
    table.tell(failed, asked.seeds)
    if failed:
        raise UserError(f"{len(failed)} of {len(table.rows)} rows {stop}: {', '.join(failed)}")
