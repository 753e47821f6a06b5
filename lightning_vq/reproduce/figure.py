"""A table as a figure: the paper's and ours, side by side; and what else it is drawn as."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_vq.reproduce.drawing import curves, draw_lines, draw_similarity
from lightning_vq.reproduce.paper import Paper
from lightning_vq.reproduce.results import Figure, Results
from lightning_vq.runs import replacing

ACROSS = 4  # panels side by side, at most
LEVEL = 0.5  # share of the paper's figure that ours may differ by to be drawn beside it


def draw(path: Path, columns: Sequence[str], figures: Sequence[Figure]) -> None:
    """Write a PNG: for each column the paper's figure (hollow) and ours (dot, bar of one standard deviation)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a command
    from matplotlib.figure import Figure as Canvas

    by_column = {column: [f for f in figures if f.column == column and f.values] for column in columns}
    columns = [column for column in columns if _drawable(by_column[column])] or columns
    told = {column for column in columns if _has_paper(by_column[column])}
    rows = list(dict.fromkeys(f.row for f in figures if f.values))
    across, down = min(len(columns), ACROSS), math.ceil(len(columns) / ACROSS)
    canvas = Canvas(figsize=(2.2 + 2.4 * across, 0.4 + (0.8 + 0.32 * len(rows)) * down), layout="constrained")
    FigureCanvasAgg(canvas)
    panels = canvas.subplots(down, across, sharey=True, squeeze=False).flatten()
    for axes in panels[len(columns) :]:
        axes.remove()
    for axes, column in zip(panels, columns):
        for f in by_column[column]:
            at, spread = rows.index(f.row), 0.0 if math.isnan(f.spread) else f.spread
            axes.errorbar(f.mean, at, xerr=spread, fmt="o", color="C0", markersize=4, linewidth=1.5)
            if column in told and f.paper is not None and f.comparable:
                axes.plot(f.paper, at, marker="D", color="C1", fillstyle="none", markersize=6)
        axes.set_title(column, fontsize=10)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)  # labels of five digits side by side
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    panels[0].errorbar([], [], xerr=[], fmt="o", color="C0", label="obtained: mean ± standard deviation over seeds")
    if told:
        panels[0].plot([], [], "D", color="C1", fillstyle="none", label="paper")
    canvas.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    with replacing(path) as temporary:
        canvas.savefig(temporary, format="png", dpi=130)


def _has_paper(column: Sequence[Figure]) -> bool:
    """Return whether the paper's figures are drawn in a column: those of another level would make one dot of ours."""
    gaps = [abs(f.difference) for f in column if not math.isnan(f.difference)]
    return bool(gaps) and max(gaps) <= LEVEL


def _drawable(column: Sequence[Figure]) -> bool:
    """Return whether a column tells rows apart, or ours from the paper's: what all have alike is for the table."""
    means = [f.mean for f in column]
    alike = len(means) > 1 and math.isclose(min(means), max(means), rel_tol=1e-4)
    return _has_paper(column) or not alike


def draw_more(path: Path, paper: Paper, figures: Sequence[Figure], results: Mapping[str, Results]) -> bool:
    """Write the table's drawing as a PNG, curves of training of the first seed; return whether there was anything."""
    drawing = paper.drawing
    if drawing is None:
        return False
    kept = {row: [one.drawn for one in seeds.values()] for row, seeds in results.items() if seeds}
    if drawing.kind == "similarity":
        told = {row: [one for one in seeds if "similarity" in one] for row, seeds in kept.items()}
        found = {row: seeds for row, seeds in told.items() if seeds}
        if found:
            with replacing(path) as temporary:
                draw_similarity(temporary, found)
        return bool(found)
    over = {row.name: row.over for row in paper.rows}
    if drawing.kind == "epochs":
        epochs = {row: seeds[0][drawing.y] for row, seeds in kept.items() if drawing.y in seeds[0]}
        lines = {row: ([float(i) for i in range(1, len(ys) + 1)], ys) for row, ys in epochs.items()}
    else:
        lines = curves(drawing, over, {(f.row, f.column): f.mean for f in figures if f.values})
    if lines:
        with replacing(path) as temporary:
            draw_lines(temporary, drawing, lines)
    return bool(lines)
