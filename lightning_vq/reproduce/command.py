"""`python -m lightning_vq reproduce cage/table2`: run what is missing of a paper's table, and say what came of it."""

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning_vq.errors import UserError, nearest
from lightning_vq.parser import Parser
from lightning_vq.reproduce.check import refusals
from lightning_vq.reproduce.figure import draw_more
from lightning_vq.reproduce.files import FOLDER, every_name, part_file, part_name
from lightning_vq.reproduce.gains import Family, Gain, families, gains, paired_seeds
from lightning_vq.reproduce.paper import Paper, Row, read_paper
from lightning_vq.reproduce.report import HEAD, figure_cells, gain_cells, gains_head, notes, show, write
from lightning_vq.reproduce.results import Figure, Result, figures
from lightning_vq.reproduce.runs import RowRuns
from lightning_vq.reproduce.smoke import smoke_test
from lightning_vq.reproduce.steps import read_steps, run_steps
from lightning_vq.sweep.processes import begin_warm


def main(arguments: list[str]) -> None:
    """Run the verb.

    Raises:
        UserError: a wrong argument, or a table that is not there or says what none may.
    """
    about = "Run what is missing of a paper's table, and hold it against the paper."
    parser = Parser(prog="python -m lightning_vq reproduce", description=about, allow_abbrev=False)
    parser.add_argument("table", nargs="?", help=f"of {FOLDER}, such as cage/table2, or a YAML of your own; none: list")
    parser.add_argument("--list", action="store_true", help="list what there is")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="these rows only; * and ? are wildcards")
    parser.add_argument("--seeds", type=int, metavar="N", help="fits of each tuned config; else as the table says")
    parser.add_argument("--budget", metavar="NAME", help="of the table, such as small or paper; else its first")
    parser.add_argument("--hours", type=float, metavar="H", help="begin no row after so many")
    parser.add_argument("--parallel", type=int, metavar="N", help="fits at a time (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/papers"), metavar="DIR", help="where it all goes")
    parser.add_argument("--smoke", action="store_true", help="all rows on planted data, two epochs: do they run?")
    parser.add_argument("--report", action="store_true", help="run nothing: tell of what has run")
    options = parser.parse_args(arguments)
    if options.table is None or options.list:
        return _list()
    part = read_steps(options.table)
    if part is not None and part.same_as is not None:
        print(f"{part.title}: the runs of {part.same_as}. {part.about}\n")
        options.table = part.same_as
        part = read_steps(options.table)
    if part is not None:
        chosen = [key for key in ("rows", "seeds", "budget", "hours", "parallel", "smoke") if getattr(options, key)]
        if chosen:
            raise UserError(
                f"--{chosen[0]}: {options.table} has commands, not rows of fits; it takes --out and --report"
            )
        with _advised(arguments):
            return run_steps(part, options.out / part_name(part_file(options.table)), options.report)
    name, paper = read_paper(options.table)
    if options.smoke:
        paper = smoke_test(paper)
        print(paper.about)
    budget = options.budget or next(iter(paper.budgets))
    if budget not in paper.budgets:
        raise UserError(f"--budget {budget!r}: {name} has none of that name{nearest(budget, paper.budgets)}")
    seeds: int | None = options.seeds
    for key, value in (("--seeds", seeds), ("--parallel", options.parallel)):
        if value is not None and value < 1:
            raise UserError(f"{key} is {value}; it must be at least 1")
    if options.hours is not None and not options.hours > 0:
        raise UserError(f"--hours is {options.hours:g}; it must be above 0")
    rows, folder = paper.chosen(options.rows), options.out / name / budget
    every: dict[str, RowRuns] = {}
    for row in paper.rows:
        tuning = every[row.refit_of] if row.refit_of is not None else None
        every[row.name] = RowRuns(paper, row, paper.budgets[budget], folder / row.slug, tuning)
    begin_warm()
    failed = refusals(paper, [every[row.name] for row in rows])
    for name, why in failed.items():
        print(f"{name}: {why}", file=sys.stderr)
    stop = "cannot run, and nothing was trained" if failed else "could not run"
    if not options.report and not failed:
        possible = [every[row.name] for row in rows if row.at_hand(paper.root(row)) is None]
        with _advised(arguments):
            failed = _run(possible, seeds, options.parallel or 1, options.hours)
    told = notes(options.table, paper, (budget, paper.budgets[budget]), seeds)
    _tell(paper, every, rows, seeds, folder, told, failed)
    if failed:
        raise UserError(f"{len(failed)} of {len(rows)} rows {stop}: {', '.join(failed)}")
    return None


@contextmanager
def _advised(arguments: list[str]) -> Iterator[None]:
    """Tell who stops it how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["python", "-m", "lightning_vq", "reproduce", *arguments])
        print(f"To go on: {again}", file=sys.stderr)
        raise


def _run(rows: Sequence[RowRuns], seeds: int | None, parallel: int, hours: float | None) -> dict[str, str]:
    """Run what is missing of rows, and return why some could not run."""
    began, failed = time.time(), dict[str, str]()
    for one in rows:
        if hours is not None and time.time() - began > 3600 * hours:
            break
        try:
            one.run(one.paper.asked(one.row, seeds), parallel, lambda text: print(f"\n{text}", flush=True))
        except UserError as error:  # the others may run all the same
            failed[one.row.name] = str(error)
            print(f"{one.row.name}: {error}", file=sys.stderr)
    return failed


def _tell(
    paper: Paper,
    every: dict[str, RowRuns],
    chosen: Sequence[Row],
    seeds: int | None,
    folder: Path,
    told: list[str],
    failed: dict[str, str],
) -> None:
    """Write the whole table, whatever part of it has run, and print the chosen rows."""
    found: list[Figure] = []
    against: list[Gain] = []
    by_name = {row.name: row for row in paper.rows}
    results: dict[str, dict[int, Result]] = {}
    for row in paper.rows:
        why, asked = failed.get(row.name), paper.asked(row, seeds)
        try:
            kept = every[row.name].results()
        except (UserError, OSError) as error:  # of other settings than the table's now, or its base is gone
            kept, why = {}, why or str(error)
        results[row.name] = {seed: one for seed, one in kept.items() if seed <= asked}
        found += figures(paper, row, results[row.name], asked, why)
        if row.over is not None:
            against += gains(paper, row, by_name[row.over], results[row.name], results[row.over])
            _, apart = paired_seeds(results[row.name], results[row.over])
            if apart:
                told.append(
                    f"{row.name}: not compared with {row.over} on seed{'s' * (len(apart) > 1)} "
                    f"{', '.join(map(str, apart))}, since the stages before were made anew between their fits."
                )
    names = {row.name for row in chosen}
    print()
    show(paper.title, HEAD, figure_cells([figure for figure in found if figure.row in names]))
    by_family = families(paper, against)
    for family in by_family:
        part = [(gain, p) for gain, p in zip(family.gains, family.p_holm) if gain.row in names]
        if part:
            some = Family(family.title, [g for g, _ in part], [p for _, p in part])
            show(family.title, gains_head(paper.margin), gain_cells(some, paper.margin))
    for line in told[1:]:
        print(line)
    more = [folder / "drawing.png"] if draw_more(folder / "drawing.png", paper, found, results) else []
    for path in write(folder, paper, found, by_family, told, more):
        print(f"Written: {path}")


def _list() -> None:
    """Print the tables that there are."""
    for name in every_name():
        part = read_steps(name)
        if part is not None:
            made = f"the runs of {part.same_as}" if part.same_as else f"{len(part.steps)} command(s)"
            print(f"{name:20} {part.title}; {made}")
            continue
        paper = read_paper(name)[1]
        tuned = any(row.space for row in paper.rows)
        budgets = ", ".join(
            f"{key} ({one.trials} trials a row)" if tuned else key for key, one in paper.budgets.items()
        )
        print(f"{name:20} {paper.title}; {len(paper.rows)} rows; budgets: {budgets}")
