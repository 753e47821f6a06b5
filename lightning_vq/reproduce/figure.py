"""A table as a figure: the paper's and ours, side by side."""

import math
from collections.abc import Sequence
from pathlib import Path

from lightning_vq.reproduce.results import Figure
from lightning_vq.runs import replacing


def draw(path: Path, columns: Sequence[str], figures: Sequence[Figure]) -> None:
    """Write a PNG: for each column the paper's figure (hollow) and ours (dot, bar of one standard deviation)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a command
    from matplotlib.figure import Figure as Canvas

    rows = list(dict.fromkeys(f.row for f in figures if f.values))
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
        axes.locator_params(axis="x", nbins=5)  # labels of five digits side by side
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    panels[0].errorbar([], [], xerr=[], fmt="o", color="C0", label="obtained: mean ± standard deviation over seeds")
    if any(f.paper is not None and f.values for f in figures):
        panels[0].plot([], [], "D", color="C1", fillstyle="none", label="paper")
    canvas.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    with replacing(path) as temporary:
        canvas.savefig(temporary, format="png", dpi=130)
