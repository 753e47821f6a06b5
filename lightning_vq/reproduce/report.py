"""A table for readers: in the terminal, as Markdown and CSV, and as a figure."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lightning_vq.groups import DEFINITION
from lightning_vq.reproduce.paper import Budget, Paper
from lightning_vq.reproduce.results import Figure, Gain, corrected
from lightning_vq.runs import replacing

HEAD = ("row", "column", "paper", "obtained", "n", "difference", "verdict")
GAINS = ("row", "over", "column", "its mean", "paper", "gain [95 %]", "n", "p", "p Holm", "verdict")
Cells = list[list[str]]


def number(value: float | None) -> str:
    """Return a figure as text: as many places as a paper prints."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def figure_cells(figures: Sequence[Figure]) -> Cells:
    rows = []
    for f in figures:
        mean = number(f.mean) + (f" ± {number(f.spread)}" if not math.isnan(f.spread) else "")
        difference = "" if math.isnan(f.difference) else f"{f.difference:+.1%}"
        n = str(len(f.values)) if f.values else ""
        rows.append([f.row, f.column, number(f.paper), mean, n, difference, f.verdict])
    return rows


def gain_cells(gains: Sequence[Gain]) -> Cells:
    rows = []
    for g, holm in zip(gains, corrected(list(gains))):
        interval = "" if math.isnan(g.low) else f" [{g.low:+.1%}, {g.high:+.1%}]"
        said = "" if g.paper is None else f"{g.paper:+.1%}"
        tests = ["" if math.isnan(p) else f"{p:.3f}" for p in (g.p, holm)]
        gain = "" if math.isnan(g.gain) else f"{g.gain:+.1%}{interval}"
        rows.append([g.row, g.over, g.column, number(g.base), said, gain, str(g.n), *tests, g.verdict(holm)])
    return rows


def gain_blocks(paper: Paper, gains: Sequence[Gain]) -> list[tuple[str, Sequence[str], Cells]]:
    """Return title, head and text of the tables of gains: of the paper's columns, and by group."""
    by_title = {
        "Gains": [gain for gain in gains if gain.column in paper.columns],
        f"Gains by group: {next(iter(paper.columns))}": [gain for gain in gains if gain.column not in paper.columns],
    }
    return [(title, GAINS, gain_cells(some)) for title, some in by_title.items() if some]


def notes(name: str, paper: Paper, budget: tuple[str, Budget], seeds: int) -> list[str]:
    """Return what a reader of the tables must know."""
    tuned = [row for row in paper.rows if row.space]
    cost = f"budget {budget[0]}: "
    if tuned:
        cost += (
            f"{budget[1].trials} tuning trials for each of {len(tuned)} rows, base models and quantized ones alike; "
        )
    if len(tuned) < len(paper.rows):
        cost += f"{len(paper.rows) - len(tuned)} rows have fixed settings or no data; "
    said = [
        f"python -m lightning_vq reproduce {name} --budget {budget[0]} --seeds {seeds}",
        f"{cost}{seeds} seed{'s' if seeds > 1 else ''}"
        + (", of which the tuning's best trial is the first." if tuned else "."),
        "obtained: mean ± standard deviation over n seeds.",
    ]
    if paper.tolerance is not None:
        said[-1] += f" Its level is told beside the paper's: within {paper.tolerance:.0%}, above or below; whether a "
        said[-1] += "quantized row gains is told by the second table alone."
    said.append(
        "Gains: mean difference over the seeds of both rows, as a share of the base, with the 95 % interval by "
        "Student's t. p Holm: corrected over its table; better, worse (of seconds: more, less) where it is below 0.05."
    )
    said.append(f"Groups, {DEFINITION}.")
    return said + ([paper.about] if paper.about else [])


def show(title: str, head: Sequence[str], rows: Cells) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for name in head:
        table.add_column(name, justify="left" if name in ("row", "over", "column", "verdict") else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 140).print(table)


def write(folder: Path, paper: Paper, figures: list[Figure], gains: list[Gain], told: list[str]) -> list[Path]:
    """Write table.md, table.csv and, where anything ran, table.png, and return their paths."""
    paths = [folder / "table.md", folder / "table.csv"]
    blocks: list[tuple[str, Sequence[str], Cells]] = [("", HEAD, figure_cells(figures))]
    blocks += gain_blocks(paper, gains)
    with replacing(paths[0]) as temporary:
        lines = [f"### {paper.title}", ""]
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
    paths.append(folder / "gains.csv")
    with replacing(paths[-1]) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([*Gain._fields[:-1], "p_holm"])
        for gain, holm in zip(gains, corrected(gains)):
            table.writerow(["" if v is None or v != v else v for v in (*gain[:-1], holm)])
    if any(f.values for f in figures):
        paths.append(folder / "table.png")
        draw(paths[-1], paper, figures)
    return paths


def draw(path: Path, paper: Paper, figures: Sequence[Figure]) -> None:
    """Write a PNG: for each column the paper's figure (hollow) and ours (dot, bar of one standard deviation)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a command
    from matplotlib.figure import Figure as Canvas

    rows = list(dict.fromkeys(f.row for f in figures if f.values))
    columns = list(paper.columns)
    canvas = Canvas(figsize=(2.2 + 2.4 * len(columns), 1.2 + 0.32 * len(rows)), layout="constrained")
    FigureCanvasAgg(canvas)
    panels = canvas.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns):
        for f in figures:
            if f.column == column and f.values:
                at, spread = rows.index(f.row), 0.0 if math.isnan(f.spread) else f.spread
                axes.errorbar(f.mean, at, xerr=spread, fmt="o", color="C0", markersize=4, linewidth=1.5)
                if f.paper is not None:
                    axes.plot(f.paper, at, marker="D", color="C1", fillstyle="none", markersize=6)
        axes.set_title(column, fontsize=10)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    panels[0].plot([], [], "o", color="C0", label="obtained")
    panels[0].plot([], [], "D", color="C1", fillstyle="none", label="paper")
    canvas.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    with replacing(path) as temporary:
        canvas.savefig(temporary, format="png", dpi=130)
