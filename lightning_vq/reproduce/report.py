"""A table for readers: in the terminal, as Markdown and CSV."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from lightning_vq.groups import DEFINITION
from lightning_vq.reproduce.figure import draw
from lightning_vq.reproduce.gains import Family, Gain
from lightning_vq.reproduce.paper import Budget, Paper
from lightning_vq.reproduce.results import Figure
from lightning_vq.reproduce.smoke import BUDGET as SMOKE
from lightning_vq.runs import replacing
from lightning_vq.terminal import console

HEAD = ("row", "column", "paper", "obtained", "n", "difference", "verdict")
GAINS = ("row", "over", "column", "base mean", "paper", "gain [95 %]", "n", "p", "p Holm", "verdict")
LEFT = ("row", "over", "column", "verdict", "part", "run", "results")  # columns of words
Cells = list[list[str]]


def above(margin: float) -> str:
    """Return the head of the column that tells whether a loss is small enough."""
    return f"above -{margin:.0%}"


def gains_head(margin: float | None) -> tuple[str, ...]:
    return GAINS if margin is None else (*GAINS, above(margin))


def number(value: float | None) -> str:
    """Return a figure as text: as many places as a paper prints."""
    if value is None or math.isnan(value):
        return ""
    places = 4 if abs(value) < 10 else 2 if abs(value) < 100 else 1 if abs(value) < 1e4 else 0
    return f"{value:,.{places}f}"


def figure_cells(figures: Sequence[Figure]) -> Cells:
    """Return the table; why a row has no figures stands in its first line alone."""
    rows, before = [], ("", "")
    for f in figures:
        mean = number(f.mean) + (f" ± {number(f.spread)}" if f.spread > 0 else "")  # what no seed changes has none
        difference = "" if math.isnan(f.difference) else f"{f.difference:+.1%}"
        n = str(len(f.values)) if f.values else ""
        verdict = "" if f.status and (f.row, f.status) == before else f.verdict
        rows.append([f.row, f.column, number(f.paper), mean, n, difference, verdict])
        before = (f.row, f.status)
    return rows


def gain_cells(family: Family, margin: float | None) -> Cells:
    rows = []
    for g, holm in zip(family.gains, family.p_holm):
        low = max(g.low, -1.0)  # nothing that is told can fall below zero
        interval = f" [{low:+.1%}, {g.high:+.1%}]" if g.low < g.high else ""
        said = "" if g.paper is None else f"{g.paper:+.1%}"
        tests = ["" if math.isnan(p) else "<0.001" if p < 0.0005 else f"{p:.3f}" for p in (g.p, holm)]
        gain = "" if math.isnan(g.gain) else f"{g.gain:+.1%}{interval}"
        within = [] if margin is None else [g.within(margin)]
        rows.append([g.row, g.over, g.column, number(g.base), said, gain, str(g.n), *tests, g.verdict(holm), *within])
    return rows


def notes(
    name: str, paper: Paper, budget: tuple[str, Budget], seeds: int | None, tuned_in: Mapping[str, str]
) -> list[str]:
    """Return what a reader of the tables must know.

    Args:
        name: as the table is called for.
        paper: the table.
        budget: of it.
        seeds: that were asked for; None: as the table says.
        tuned_in: row -> folder of results from which its settings were taken.
    """
    tuned = [row for row in paper.rows if row.space]
    told = f"budget {budget[0]}: "
    if tuned:
        told += f"at most {budget[1].trials} tuning trial{'s' if budget[1].trials > 1 else ''} "
        told += f"for each of {len(tuned)} rows, "
        told += "base models and quantized ones alike; "
    if len(tuned) < len(paper.rows):
        told += f"{len(paper.rows) - len(tuned)} rows have fixed settings or no data; "
    asked = {row.name: paper.asked(row, seeds) for row in paper.rows}
    numbers = sorted(set(asked.values()), reverse=True)
    told += f"{' or '.join(map(str, numbers))} seed{'s' if numbers[0] > 1 else ''}"
    if tuned:
        told += ", from 1: tuning has seed 0, whose best trial owes some of its figure to having been chosen"
    option = "--smoke" if budget[1] is SMOKE else f"--budget {budget[0]}"
    before = {there: [row for row, of in tuned_in.items() if of == there] for there in sorted(set(tuned_in.values()))}
    more = [f"--seeds {seeds}"] if seeds else []
    more += [f"--tuned {there}" for there in before]
    said = [
        " ".join(["python -m lightning_vq reproduce", name, option, *more]),
        f"{told}.",
        "obtained: mean ± standard deviation over n seeds.",
    ]
    said[1:1] = [f"Settings tuned before, in {there}, of: {', '.join(rows)}." for there, rows in before.items()]
    if paper.tolerance is not None:
        said[-1] += f" Its level is told beside the paper's: within {paper.tolerance:.0%}, above or below."
    if any(row.over for row in paper.rows):
        tests = f"the tests of {', '.join(paper.tested)}, chosen beforehand" if paper.tested else "that table"
        said += [
            "Whether a quantized row gains is told by the table of gains alone: mean difference over the seeds of both "
            "rows, as a share of the base mean (that of the row under `over`), with the 95 % interval by Student's t. "
            f"p Holm: corrected over {tests}; better, worse (of costs: more, less) where it is below 0.05.",
            f"Groups, {DEFINITION}.",
        ]
    if paper.margin is not None:
        said.append(
            f"{above(paper.margin)}: whether that interval, which is over seeds and corrected for nothing, leaves no "
            "larger loss (of three seeds or more)."
        )
    return said + ([paper.about] if paper.about else [])


def show(title: str, head: Sequence[str], rows: Cells) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for name in head:
        table.add_column(name, justify="left" if name in LEFT else "right")
    for row in rows:
        table.add_row(*row)
    console(140).print(table)


def write(
    folder: Path, paper: Paper, figures: list[Figure], families: list[Family], told: list[str], more: list[Path]
) -> list[Path]:
    """Write table.md, table.csv, gains.csv and, where anything ran, table.png, and return their paths and `more`."""
    paths = [folder / "table.md", folder / "table.csv", folder / "gains.csv"]
    drawn = [folder / "table.png"] if any(f.values for f in figures) else []
    blocks: list[tuple[str, Sequence[str], Cells]] = [("", HEAD, figure_cells(figures))]
    blocks += [(family.title, gains_head(paper.margin), gain_cells(family, paper.margin)) for family in families]
    with replacing(paths[0]) as temporary:
        lines = [f"### {paper.title}", ""]
        lines += ["![Figures obtained, and the paper's where they are of that level](table.png)", ""] if drawn else []
        for picture in more:
            lines += [f"![{paper.title}]({picture.name})", ""]
        for title, head, rows in blocks:
            lines += [title, ""] if title else []
            lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            lines += ["| " + " | ".join(row) + " |" for row in rows]
            lines.append("")
        lines += [f"`{told[0]}`", ""] + [f"- {line}" for line in told[1:]]
        notes_of = [f"- {row.name}: {row.note}" for row in paper.rows if row.note]
        temporary.write_text("\n".join([*lines, *notes_of]) + "\n")
    with replacing(paths[1]) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["row", "column", "paper", "mean", "spread", "n", "difference", "verdict"])
        for f in figures:
            values = [f.row, f.column, f.paper, f.mean, f.spread, len(f.values), f.difference]
            table.writerow(["" if v is None or v != v else v for v in values] + [f.verdict])
    with replacing(paths[2]) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        head = [*Gain._fields[:3], "metric", "paper", "base_mean", *Gain._fields[5:-1], "p_holm", "verdict"]
        table.writerow(head)
        for family in families:
            for gain, holm in zip(family.gains, family.p_holm):
                metric = paper.columns.get(gain.column, f"test/{paper.grouped()}")
                values = [*gain[:3], metric, *gain[3:-1], holm, gain.verdict(holm)]
                table.writerow(["" if v is None or v != v else v for v in values])
    for path in drawn:
        draw(path, list(paper.columns), figures)
    return paths + drawn + more
