"""`python -m lightning_vq reproduce cage/table2`: run what is missing of a paper's table, and say what came of it."""

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightning_vq.errors import UserError
from lightning_vq.parser import Parser
from lightning_vq.reproduce.deadline import Deadline
from lightning_vq.reproduce.files import ALL, FOLDER, every_name
from lightning_vq.reproduce.paper import read_paper
from lightning_vq.reproduce.plan import read_plan, run_plan
from lightning_vq.reproduce.steps import read_steps, run_steps
from lightning_vq.reproduce.table import Asked, run_table
from lightning_vq.runs import WORKER

YEAR = 24 * 365  # hours
OF_ONE = ("rows", "budget", "smoke")  # options of one table
OF_FITS = ("rows", "seeds", "budget", "parallel", "tuned", "smoke")  # and of fits


def main(arguments: list[str]) -> None:
    """Run the verb.

    Raises:
        UserError: a wrong argument, or a table that is not there or says what none may.
    """
    about = "Run what is missing of a paper's table, or of all of them, and hold it against the paper."
    parser = Parser(prog="python -m lightning_vq reproduce", description=about, allow_abbrev=False)
    which = f"of {FOLDER}, such as cage/table2; all: of all in a night; or a YAML of your own; none: list"
    parser.add_argument("table", nargs="?", help=which)
    parser.add_argument("--list", action="store_true", help="list what there is")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="these rows only; * and ? are wildcards")
    parser.add_argument("--seeds", type=int, metavar="N", help="fits of each tuned config; else as the table says")
    parser.add_argument("--budget", metavar="NAME", help="of the table, such as small or paper; else its first")
    parser.add_argument("--hours", type=float, metavar="H", help="stop after so many; the same command goes on")
    parser.add_argument("--parallel", type=int, metavar="N", help="fits at a time (default: 1)")
    parser.add_argument("--out", type=Path, default=Path("runs/papers"), metavar="DIR", help="where it all goes")
    parser.add_argument(
        "--tuned", type=Path, metavar="DIR", help="tune nothing that was tuned there, such as docs/evidence/papers"
    )
    parser.add_argument("--smoke", action="store_true", help="all rows on planted data, two epochs: do they run?")
    parser.add_argument("--report", action="store_true", help="run nothing: tell of what has run")
    options = parser.parse_args(arguments)
    if options.table is None or options.list:
        return _list()
    for key in ("seeds", "parallel"):
        value = getattr(options, key)
        if value is not None and value < 1:
            raise UserError(f"--{key} is {value}; it must be at least 1")
    name, plan = options.table, read_plan(options.table)
    steps = None if plan is not None else read_steps(name)
    if steps is not None and steps.same_as is not None:
        print(f"{steps.title}: the runs of {steps.same_as}. {steps.about}\n")
        name, steps = steps.same_as, read_steps(steps.same_as)
    if plan is not None:
        _refuse(options, OF_ONE, f"{name} is a plan of many tables")
    elif steps is not None:
        _refuse(options, OF_FITS, f"{name} has commands, not rows of fits")
    hours, tuned = options.hours, options.tuned
    if plan is not None:
        hours, tuned = plan.hours if hours is None else hours, tuned or plan.tuned
    if hours is not None and not 0 < hours <= YEAR:
        raise UserError(f"hours is {hours:g}; it must be above 0, and at most {YEAR}")
    if tuned is not None and not Path(tuned).is_dir():
        raise UserError(f"tuned is {tuned}: there is no such folder here; run it in a clone, or name one with --tuned")
    asked = Asked(
        out=options.out, rows=options.rows, seeds=options.seeds, budget=options.budget, smoke=options.smoke,
        parallel=options.parallel or 1, tuned=tuned and Path(tuned), report=options.report, deadline=Deadline(hours),
    )  # fmt: skip
    again = shlex.join(["python", "-m", "lightning_vq", "reproduce", *arguments])
    with _advised(again):
        if plan is not None:
            run_plan(name, plan, asked)
        elif steps is not None:
            run_steps(name, steps, asked)
        else:
            run_table(name, asked)
    if asked.deadline.over and not options.report and WORKER not in os.environ:
        print(f"{hours:g} hours are over. What is missing goes on with: {again}", file=sys.stderr)


def _refuse(options: Namespace, keys: Sequence[str], why: str) -> None:
    for key in keys:
        if getattr(options, key):
            raise UserError(f"--{key}: {why}")


@contextmanager
def _advised(again: str) -> Iterator[None]:
    """Tell who stops it how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if WORKER not in os.environ:
            print(f"To go on: {again}", file=sys.stderr)
        raise


def _list() -> None:
    """Print the tables that there are."""
    plan = read_plan(ALL)
    if plan is not None:
        print(f"{ALL:20} {plan.title}; {len(plan.parts)} of the parts below")
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
