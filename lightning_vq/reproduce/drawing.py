"""What a table is drawn as beside its figures: curves over a setting, curves of training, similarity of codes.

Shapes: N items, G categories, L columns of codes.
"""

import csv
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightning_vq.agreement import Array, code_similarity, members
from lightning_vq.errors import UserError
from lightning_vq.runs import checked_run
from lightning_vq.vocabulary import read_vocabulary

Kind = Literal["curves", "epochs", "similarity"]
NUMBERED = re.compile(r"(.+) (\d+(?:\.\d+)?)")


@dataclass
class Drawing:
    """A picture of a table.

    Args:
        kind: "curves": a row whose name ends with a number is a point of a curve, which the rest of its name names: the
            column y against the column x, or that number.
            "epochs": y, a column of metrics.csv such as loss/task, by epoch: a curve for each row, a panel for each
            model, which rows name before a comma.
            "similarity": mean share of equal codes between items of two categories, over the row's runs; y is the
            vocabulary.
        y: see kind.
        x: a column; none: the number in the rows' names.
        panels: of curves: each has a panel of its own, of one scale of y, and its numbers stand on a logarithmic axis.
        relative: of curves: y as a gain over the row's `over`, which stands at 0; rows without one and that are none's
            are left out.
        categories: of similarity, which.
    """

    kind: Kind
    y: str
    x: str | None = None
    relative: bool = False
    panels: bool = False
    categories: list[str] = field(default_factory=list)

    def check(self, columns: Sequence[str], rows: Sequence[str]) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UserError: with what is wrong.
        """
        if self.kind == "similarity" and len(self.categories) < 2:
            raise UserError("drawing.categories must name two or more")
        if self.kind != "curves":
            return
        for name in [self.y] if self.x is None else [self.y, self.x]:
            if name not in columns:
                raise UserError(f"drawing: {name!r} is no column of the table: {', '.join(columns)}")
        if not any(NUMBERED.fullmatch(name) for name in rows):
            raise UserError("drawing: no row's name ends with a number")

    def kept_of(self) -> dict[str, Any] | None:
        """Return what `keep` depends on; None where it keeps nothing."""
        return None if self.kind == "curves" else {"kind": self.kind, "y": self.y, "categories": self.categories}

    def keep(self, run: Path) -> dict[str, Any]:
        """Return what results.json keeps of a run for the picture; its folder may be gone later."""
        if self.kind == "epochs":
            with (run / "metrics.csv").open() as file:
                return {self.y: [float(row[self.y]) for row in csv.DictReader(file) if row.get(self.y)]}
        if self.kind == "similarity" and (codes := codes_of(run, self.y)) is not None:
            known = read_vocabulary(run, self.y)
            if known.metadata is None:
                raise UserError(f"{run}: its {self.y}s have no categories, which the table's drawing is of")
            of = members([[c for c in some if c in self.categories] for some in known.metadata.categories])
            return {"categories": of.names, "similarity": (code_similarity(codes, of) / codes.shape[1]).tolist()}
        return {}


def codes_of(run: Path, name: str) -> Array | None:
    """Return the codes (N, L) of a table of a run's best model, a scalar quantizer's too; None if it has none."""
    from lightning_vq.modules.base import Recommender  # not to be imported where nothing is drawn of it

    module = Recommender.load_from_checkpoint(checked_run(run, "best.ckpt")[1])
    if name not in module.quantizers or not module.quantizers[name].codebook_sizes:
        return None
    codes: Array = module.lookup().all_codes(name).numpy()
    return codes


Lines = dict[str, tuple[list[float], list[float]]]  # label -> x, y


def curves(drawing: Drawing, over: Mapping[str, str | None], means: Mapping[tuple[str, str], float]) -> Lines:
    """Return the points of the curves that have some.

    Args:
        drawing: of kind "curves".
        over: the row that each row is a gain over, or none.
        means: of rows that ran, by (row, column).

    >>> rows = {"a 0": None, "a 0.5": "a 0"}
    >>> curves(Drawing("curves", "N", relative=True), rows, {("a 0", "N"): 0.2, ("a 0.5", "N"): 0.25})["a"]
    ([0.0, 0.5], [0.0, 0.25])
    """
    lines: Lines = {}
    for row, base in over.items():
        found, beside = NUMBERED.fullmatch(row), base or (row if row in over.values() else None)
        if found is None or (row, drawing.y) not in means:
            continue
        value = means[row, drawing.y]
        if drawing.relative:
            if beside is None or (beside, drawing.y) not in means:
                continue
            value = value / means[beside, drawing.y] - 1
        xs, ys = lines.setdefault(found[1], ([], []))
        xs.append(float(found[2]) if drawing.x is None else means[row, drawing.x])
        ys.append(round(value, 12))
    return lines


def draw_lines(path: Path, drawing: Drawing, lines: Lines) -> None:
    """Write curves as a PNG."""
    from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter  # slow to import, needed once a command

    epochs = drawing.kind == "epochs"

    def panel(label: str) -> str:
        return label.partition(", ")[0] if epochs else label if drawing.panels else ""

    names = list(dict.fromkeys(map(panel, lines)))
    canvas, [panels] = _canvas(1, len(names), (1.6 + 4.6 * len(names), 4.2))
    markers = itertools.cycle("osD^v<>p")
    for label, (xs, ys) in lines.items():
        axes = panels[names.index(panel(label))]
        order = np.argsort(xs, kind="stable")
        axes.plot(np.array(xs)[order], np.array(ys)[order], marker=None if epochs else next(markers), label=label)
        if drawing.panels:
            axes.set_xscale("log", base=2)
            axes.set_xticks(xs, [f"{x:g}" for x in xs])
    limits = [axes.get_ylim() for axes in panels]
    for name, axes in zip(names, panels):
        axes.set_xlabel("epoch" if epochs else drawing.x or name or "value")
        if drawing.panels:
            axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        axes.set_ylabel(f"gain of {drawing.y}" if drawing.relative else drawing.y)
        if epochs:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        elif drawing.x == "bytes":
            axes.xaxis.set_major_formatter(EngFormatter(unit="B"))
        if drawing.relative:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.3)
        if not drawing.panels:
            axes.legend(fontsize=8, frameon=False)
    canvas.savefig(path, format="png", dpi=130)


def within(similarity: Array) -> float:
    """Return by how much more the items of a category are alike than those of two, of similarity (G, G).

    >>> round(within(np.array([[0.3, 0.2], [0.2, 0.2]])), 3)
    0.25
    """
    alone = np.eye(len(similarity), dtype=bool)
    return float(similarity[alone].mean() / similarity[~alone].mean() - 1)


def draw_similarity(path: Path, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write a matrix for each row as a PNG, the mean over its seeds: categories by categories, each on its own scale.

    Rows of a model, which they name before a comma, are beside each other. Over each stands what `within` tells, mean
    and standard deviation over seeds.

    Args:
        path: of the PNG.
        found: what `keep` has kept of each seed, by row.
    """
    models: dict[str, list[str]] = {}
    for row in found:
        models.setdefault(row.partition(", ")[0], []).append(row)
    wide = max(len(rows) for rows in models.values())
    canvas, grid = _canvas(len(models), wide, (1.2 + 3.6 * wide, 3.6 * len(models)))
    for axes in grid.flat:
        axes.set_axis_off()
    for line, rows in zip(grid, models.values()):
        for axes, row in zip(line, rows):
            seeds = [np.array(one["similarity"]) for one in found[row]]
            more = [100 * within(one) for one in seeds]
            spread = f" ± {np.std(more, ddof=1):.1f}" if len(more) > 1 else ""
            title = f"{row}\n{np.mean(more):+.1f}{spread} % within, n = {len(more)}"
            _draw_matrix(axes, title, np.mean(seeds, 0), found[row][0]["categories"])
    canvas.suptitle("Share of equal codes; by how much larger it is within a category than between two")
    canvas.savefig(path, format="png", dpi=130)


def _draw_matrix(axes: Any, title: str, values: Array, names: Sequence[str]) -> None:
    axes.set_axis_on()
    axes.imshow(values, cmap="Blues", vmin=values.min(), vmax=values.max())
    places = 2 - math.floor(math.log10(values.max())) if values.max() > 0 else 1  # three digits of the largest
    for i, j in np.ndindex(values.shape):
        color = "w" if values[i, j] - values.min() > 0.6 * np.ptp(values) else "k"
        axes.text(j, i, f"{values[i, j]:.{places}f}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(names)), names, fontsize=8, rotation=20)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title(title, fontsize=10)


def _canvas(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a command
    from matplotlib.figure import Figure

    canvas = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas, canvas.subplots(rows, columns, squeeze=False)
