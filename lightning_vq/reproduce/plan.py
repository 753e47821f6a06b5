"""A plan: which rows of which tables are run within a number of hours, in which order."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from lightning_vq.errors import UserError
from lightning_vq.messages import SettingsParser
from lightning_vq.reproduce.files import part_file, part_name
from lightning_vq.reproduce.report import number, show
from lightning_vq.reproduce.steps import read_steps, run_steps
from lightning_vq.reproduce.table import Asked, Ran, run_table
from lightning_vq.runs import read_yaml, replacing

HEAD = ("part", "run", "not at hand", "core hours", "results")


@dataclass
class Part:
    """A table or figure of a plan.

    Args:
        name: of conf/papers, such as cage/table2.
        rows: patterns of names; none: all.
        seeds: fits of each; null: as the table says.
    """

    name: str
    rows: list[str] = field(default_factory=list)
    seeds: int | None = None


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

    @property
    def tuned_in(self) -> Path | None:
        return Path(self.tuned) if self.tuned is not None else None

    def check(self) -> None:
        """Refuse what no parser can.

        Raises:
            UserError: a part that is not there or stands twice, no hours.
        """
        names = [part.name for part in self.parts]
        for name in names:
            part_file(name)
            if names.count(name) > 1:
                raise UserError(f"parts: {name!r} stands twice")
        if not self.hours > 0:
            raise UserError(f"hours is {self.hours:g}; it must be above 0")


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
        made = Plan(**{**plain, "parts": [Part(**part) for part in plain["parts"]]})
        made.check()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return made


def run_plan(name: str, plan: Plan, asked: Asked) -> None:
    """Run what is missing of a plan's parts, and write what there is of each.

    Args:
        name: of the plan.
        plan: it.
        asked: but for the rows and seeds of each part.

    Raises:
        UserError: some rows could not run; the others have.
    """
    cells, failed = [], list[str]()
    print(f"{plan.title}. {plan.about}")
    for part in plan.parts:
        print(f"\n{part.name}", flush=True)
        seeds, report = asked.seeds or part.seeds, asked.report or asked.deadline.over
        steps = read_steps(part.name)
        if steps is not None and steps.same_as is not None:
            cells.append([part.name, f"the runs of {steps.same_as}", "", "", ""])
            continue
        try:
            if steps is not None:
                ran = run_steps(part.name, steps, replace(asked, report=report))
            else:
                ran = run_table(part.name, replace(asked, rows=part.rows, seeds=seeds, report=report, brief=True))
        except UserError as error:
            print(f"{part.name}: {error}", file=sys.stderr)
            failed.append(part.name)
            cells.append([part.name, "failed", "", "", str(error)])
            continue
        failed += [f"{part.name} {row!r}" for row in ran.failed]
        cells.append(_cells(part.name, ran, asked.out))
    show(plan.title, HEAD, cells)
    path = asked.out / f"{part_name(part_file(name))}.md"
    with replacing(path) as temporary:
        lines = [f"### {plan.title}", "", plan.about, "", f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
        temporary.write_text("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)]) + "\n")
    print(f"Written: {path}")
    if failed:
        raise UserError(f"{len(failed)} could not run: {', '.join(failed)}")


def _cells(name: str, ran: Ran, out: Path) -> list[str]:
    absent = str(ran.absent) if ran.absent else ""
    hours = number(ran.seconds / 3600) if ran.seconds else ""
    return [name, f"{ran.done} of {ran.of}", absent, hours, str(ran.written.relative_to(out))]
