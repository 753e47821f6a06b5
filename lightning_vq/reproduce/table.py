"""A table of fits: run what is missing of it, and tell what came of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lightning_vq.errors import UserError, nearest
from lightning_vq.reproduce.check import refusals
from lightning_vq.reproduce.deadline import Deadline
from lightning_vq.reproduce.figure import draw_more
from lightning_vq.reproduce.gains import Family, Gain, families, gains, paired_seeds
from lightning_vq.reproduce.paper import Paper, Row, read_paper
from lightning_vq.reproduce.report import HEAD, figure_cells, gain_cells, gains_head, notes, show, write
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
        brief: print no tables, which are in files too.
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
    brief: bool = False
    deadline: Deadline = field(default_factory=Deadline)


class Ran(NamedTuple):
    """What there is of a part, whenever it ran."""

    done: int  # rows with all seeds that were asked for, or commands
    of: int
    absent: int  # whose data is not at hand
    seconds: float  # of the fits, tuning not counted
    failed: list[str]
    written: Path  # the table, or the folder of what commands have made


def run_table(name: str, asked: Asked) -> Ran:
    """Run what is missing of a table, write all of it that has run, and print the rows that were asked for.

    Raises:
        UserError: a table that is not there or says what none may; an unknown row or budget.
    """
    shown, (name, paper) = name, read_paper(name)
    if asked.smoke:
        paper = smoke_test(paper)
        print(paper.about)
    budget = asked.budget or next(iter(paper.budgets))
    if budget not in paper.budgets:
        raise UserError(f"--budget {budget!r}: {name} has none of that name{nearest(budget, paper.budgets)}")
    rows, folder = paper.chosen(asked.rows), asked.out / name / budget
    every: dict[str, RowRuns] = {}
    for row in paper.rows:
        tuning = every[row.refit_of] if row.refit_of is not None else None
        every[row.name] = RowRuns(paper, row, paper.budgets[budget], folder / row.slug, tuning, asked.tuned)
    begin_warm()
    failed = refusals(paper, [every[row.name] for row in rows])
    for refused, why in failed.items():
        print(f"{refused}: {why}", file=sys.stderr)
    possible = [every[row.name] for row in rows if row.at_hand(paper.root(row)) is None]
    began = not asked.report and not failed
    if began:
        with asked.deadline.interrupting():
            _run(possible, asked, failed)
    told = notes(shown, paper, (budget, paper.budgets[budget]), asked.seeds)
    results, unread = _results(paper, every, asked.seeds)
    written = _tell(paper, results, rows, asked, folder, told + _tuned_before(every), {**unread, **failed})
    if failed and not asked.brief:
        stop = "could not run" if began else "cannot run, and nothing was trained"
        raise UserError(f"{len(failed)} of {len(rows)} rows {stop}: {', '.join(failed)}")
    done = sum(len(results[row.name]) >= paper.asked(row, asked.seeds) for row in rows)
    spent = sum(float(one.metrics["seconds"]) for row in rows for one in results[row.name].values())
    return Ran(done, len(rows), len(rows) - len(possible), spent, list(failed), written)


def _run(rows: Sequence[RowRuns], asked: Asked, failed: dict[str, str]) -> None:
    """Run what is missing of rows, and note why some could not run."""
    for one in rows:
        if asked.deadline.over:
            break
        try:
            seeds = one.paper.asked(one.row, asked.seeds)
            one.run(seeds, asked.parallel, lambda text: print(f"\n{text}", flush=True))
        except UserError as error:  # the others may run all the same
            failed[one.row.name] = str(error)
            print(f"{one.row.name}: {error}", file=sys.stderr)


def _results(
    paper: Paper, every: dict[str, RowRuns], seeds: int | None
) -> tuple[dict[str, dict[int, Result]], dict[str, str]]:
    """Return what all rows have of the seeds that are asked for, and why some cannot be read."""
    found, unread = {}, dict[str, str]()
    for row in paper.rows:
        try:
            kept = every[row.name].results()
        except (UserError, OSError) as error:  # of other settings than the table's now, or its base is gone
            kept, unread[row.name] = {}, str(error)
        found[row.name] = {seed: one for seed, one in kept.items() if seed <= paper.asked(row, seeds)}
    return found, unread


def _tuned_before(every: dict[str, RowRuns]) -> list[str]:
    """Return what a reader must know of rows whose settings were tuned elsewhere."""
    taken = {name: there for name, one in every.items() if (there := one.tuned_in()) is not None}
    return [f"Settings tuned before, in {there}: {name}." for name, there in taken.items()]


def _tell(
    paper: Paper,
    results: dict[str, dict[int, Result]],
    chosen: Sequence[Row],
    asked: Asked,
    folder: Path,
    told: list[str],
    failed: dict[str, str],
) -> Path:
    """Write the whole table, whatever part of it has run, and print the chosen rows."""
    found: list[Figure] = []
    against: list[Gain] = []
    by_name = {row.name: row for row in paper.rows}
    for row in paper.rows:
        found += figures(paper, row, results[row.name], paper.asked(row, asked.seeds), failed.get(row.name))
        if row.over is not None:
            against += gains(paper, row, by_name[row.over], results[row.name], results[row.over])
            _, apart = paired_seeds(results[row.name], results[row.over])
            if apart:
                told.append(
                    f"{row.name}: not compared with {row.over} on seed{'s' * (len(apart) > 1)} "
                    f"{', '.join(map(str, apart))}, since the stages before were made anew between their fits."
                )
    by_family = families(paper, against)
    if not asked.brief:
        _show(paper, {row.name for row in chosen}, found, by_family, told)
    more = [folder / "drawing.png"] if draw_more(folder / "drawing.png", paper, found, results) else []
    written = write(folder, paper, found, by_family, told, more)
    if not asked.brief:
        for path in written:
            print(f"Written: {path}")
    return written[0]


def _show(paper: Paper, names: set[str], found: list[Figure], by_family: list[Family], told: list[str]) -> None:
    """Print the rows of some names."""
    print()
    show(paper.title, HEAD, figure_cells([figure for figure in found if figure.row in names]))
    for family in by_family:
        part = [(gain, p) for gain, p in zip(family.gains, family.p_holm) if gain.row in names]
        if part:
            some = Family(family.title, [g for g, _ in part], [p for _, p in part])
            show(family.title, gains_head(paper.margin), gain_cells(some, paper.margin))
    for line in told[1:]:
        print(line)
