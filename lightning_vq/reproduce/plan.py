"""A plan: which rows of which tables are run within a number of hours, in which order."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from lightning_vq.child import run_beside
from lightning_vq.errors import UserError
from lightning_vq.messages import SettingsParser
from lightning_vq.reproduce.files import part_file, part_name
from lightning_vq.reproduce.report import number, show
from lightning_vq.reproduce.steps import Steps, read_steps, run_steps, tell_steps
from lightning_vq.reproduce.table import Asked, Table
from lightning_vq.runs import WORKER, read_yaml, replacing
from lightning_vq.sweep.devices import threads

HEAD = ("part", "run", "not at hand", "hours of fits", "results")


@dataclass
class Part:
    """A table or figure of a plan.

    Args:
        name: of conf/papers, such as cage/table2.
        rows: patterns of names; none: all.
        seeds: fits of each; null: as the table says.
        smoke: on planted data, two epochs, since its own data is not to be had.
        alone: before all others, one fit at a time: its figures are seconds.
    """

    name: str
    rows: list[str] = field(default_factory=list)
    seeds: int | None = None
    smoke: bool = False
    alone: bool = False


@dataclass
class Plan:
    """Parts of papers, run in order until the hours are over.

    Args:
        title: what a list tells.
        parts: in the order in which they run.
        hours: after which it ends, whatever has run.
        about: what a reader must know.
        tuned: folder of results whose tuned settings are taken; null: every row is tuned.
    """

    title: str
    parts: list[Part]
    hours: float
    about: str = ""
    tuned: str | None = None


class Opened(NamedTuple):
    """A part and what its file says."""

    part: Part
    table: Table | None
    steps: Steps | None  # of a part without a table


def read_plan(name: str) -> Plan | None:
    """Return the plan of a name; None where it is one part.

    Raises:
        UserError: there is no such file, or it says what none may.
    """
    path = part_file(name)
    told = read_yaml(path)
    if not isinstance(told, dict) or "parts" not in told:
        return None
    parser = SettingsParser()
    parser.add_class_arguments(Plan, as_group=False)
    try:
        plain = parser.parse_object(told).as_dict()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return Plan(**{**plain, "parts": [Part(**part) for part in plain["parts"]]})


def run_plan(name: str, plan: Plan, asked: Asked) -> None:
    """Run what is missing of a plan's parts, and write what there is of each.

    Args:
        name: of the plan.
        plan: it.
        asked: but for the rows of each part, and seeds where None are asked for.

    Raises:
        UserError: the plan names what is not there; some rows could not run, and the others have.
    """
    try:
        parts = [_opened(part, plan, replace(asked, parallel=1)) for part in plan.parts]
        _check_names(parts)
    except UserError as error:
        raise UserError(f"{part_file(name)}: {error}") from None
    parts.sort(key=lambda one: not one.part.alone)
    failed: list[str] = []
    if WORKER in os.environ:
        failed += _run([one for one in parts if not one.part.alone], asked)
    else:
        print(f"{plan.title}. {plan.about}".strip())
        try:
            if not asked.report and asked.parallel > 1:
                failed += _run([one for one in parts if one.part.alone], asked)
                failed += [] if asked.deadline.over else _run_beside(name, asked)
            elif not asked.report:
                failed += _run(parts, asked)
        finally:  # whatever ended it
            _tell(name, plan, parts, asked)
    if failed:
        raise UserError(f"could not run: {', '.join(failed)}")


def _opened(part: Part, plan: Plan, asked: Asked) -> Opened:
    """Return a part and what its file says.

    Raises:
        UserError: it names what is not there, or what a part of its kind has not.
    """
    if read_plan(part.name) is not None:
        raise UserError(f"parts: {part.name!r} is a plan itself")
    if part.seeds is not None and part.seeds < 1:
        raise UserError(f"parts: {part.name!r} has seeds {part.seeds}; it must be at least 1")
    steps = read_steps(part.name)
    if steps is None:
        seeds, tuned = (None, None) if part.smoke else (asked.seeds or part.seeds, asked.tuned)
        try:
            return Opened(
                part, Table(part.name, replace(asked, rows=part.rows, seeds=seeds, tuned=tuned, smoke=part.smoke)), None
            )
        except UserError as error:
            raise UserError(f"parts: {part.name!r}: {error}") from None
    if part.rows or part.seeds or part.smoke:
        raise UserError(f"parts: {part.name!r} has no rows of fits, and takes neither rows, seeds nor smoke")
    there = [part_name(part_file(other.name)) for other in plan.parts]
    if steps.same_as is not None and steps.same_as not in there:
        raise UserError(f"parts: {part.name!r} is the runs of {steps.same_as!r}, which the plan has not")
    return Opened(part, None, steps)


def _check_names(parts: Sequence[Opened]) -> None:
    names = [part_name(part_file(one.part.name)) for one in parts]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"parts: {name!r} stands twice")


def _run(parts: Sequence[Opened], asked: Asked) -> list[str]:
    """Run what is missing of parts, and return what could not run."""
    failed = []
    for place, (part, table, steps) in enumerate(parts, start=1):
        if asked.deadline.over:
            break
        left = asked.deadline.hours
        more = f", {left:.1f} hours left" if left is not None else ""
        print(f"\n{part.name} (part {place} of {len(parts)}{more})", flush=True)
        try:
            if steps is not None and steps.same_as is None:
                run_steps(part.name, steps, asked)
            elif table is not None and table.ran().left:
                refused = table.refused()
                failed += [f"{part.name} {row!r}" for row in {**refused, **table.run(besides=refused)}]
        except (UserError, OSError, RuntimeError) as error:  # the others may run all the same
            print(f"{part.name}: {error}", file=sys.stderr)
            failed.append(part.name)
    return failed


def _run_beside(name: str, asked: Asked) -> list[str]:
    """Run a plan in several processes, each of which passes over the rows that another is at."""
    words = {"out": asked.out, "seeds": asked.seeds, "tuned": asked.tuned, "hours": asked.deadline.hours}
    options = [f"--{key}={value}" for key, value in words.items() if value is not None]
    command = [sys.executable, "-m", "lightning_vq", "reproduce", name, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads(asked.parallel, 1)), WORKER: "1"}
    statuses = run_beside([command] * asked.parallel, environment)
    if 130 in statuses:
        raise KeyboardInterrupt
    return ["what is told above"] if any(statuses) else []


def _tell(name: str, plan: Plan, parts: Sequence[Opened], asked: Asked) -> None:
    """Write the tables of all parts, and one of what there is of each."""
    cells = []
    for one in parts:
        try:
            cells.append(_cells(one, asked))
        except (UserError, OSError) as error:
            cells.append([one.part.name, "cannot be told", "", "", str(error)])
    about = [plan.about, ""] if plan.about else []
    lines = [f"### {plan.title}", "", *about, f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    path = asked.out / f"{part_name(part_file(name))}.md"
    with replacing(path) as temporary:
        temporary.write_text("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)]) + "\n")
    show(plan.title, HEAD, cells)
    print(f"Written: {path}")


def _cells(one: Opened, asked: Asked) -> list[str]:
    """Return what there is of a part, its table written anew if any of it has run."""
    part, table, steps = one
    if steps is not None and steps.same_as is not None:
        return [part.name, f"the runs of {steps.same_as}", "", "", ""]
    written = None
    if table is not None:
        ran = table.ran()
        if ran.seconds:  # of all seeds that have run, in whatever night: a plan's seeds say what is run
            written = table.tell({}, asked.seeds, brief=True)
    else:
        assert steps is not None
        folder, ran = tell_steps(part.name, steps, asked.out, say=lambda line: None)
        written = folder if ran.done else None
    run = f"{ran.done} of {ran.of}" + (", smoke test" if part.smoke else "")
    hours = number(ran.seconds / 3600) if ran.seconds else ""
    where = str(written.relative_to(asked.out)) if written is not None else ""
    return [part.name, run, str(ran.absent or ""), hours, where]
