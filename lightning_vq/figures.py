"""Figures: a run's losses, ranking and code usage against epochs; how codes cover categories; how runs differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lightning_vq.agreement import Agreement
from lightning_vq.comparison import Comparison
from lightning_vq.runs import replacing
from lightning_vq.sources.interactions import Array

Rows = Sequence[Mapping[str, float]]


def _series(rows: Rows, name: str) -> tuple[list[float], list[float]]:
    points = [(row["epoch"] + 1, row[name]) for row in rows if name in row]
    return [x for x, _ in points], [y for _, y in points]


def _plot(path: Path, title: str, label: str, lines: Mapping[str, tuple[list[float], list[float]]], log: bool) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a run
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, (x, y) in lines.items():
        axes.plot(x, y, label=name, marker="." if len(x) < 60 else None, linewidth=1.5)
    axes.set(title=title, xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(frameon=False, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def draw(folder: Path, rows: Rows, monitor: str, baseline: Rows | None = None) -> None:
    """Write losses.png, ranking.png and, for a quantized model, usage.png into a folder.

    Args:
        folder: where to.
        rows: the run's metrics by epoch.
        monitor: the validation metric to draw.
        baseline: rows of the plain base model, drawn beside.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    losses = {n.removeprefix("loss/"): _series(rows, n) for n in names if n.startswith("loss/")}
    losses = {name: series for name, series in losses.items() if any(series[1])}  # a log axis has no zero
    _plot(folder / "losses.png", "Weighted loss terms, training mean per epoch", "loss", losses, log=True)
    ranking = {"quantized" if "loss/quantization" in names else "this run": _series(rows, monitor)}
    if baseline is not None:
        ranking["base"] = _series(baseline, monitor)
    _plot(folder / "ranking.png", "Validation", monitor, ranking, log=False)
    usage = {n[len("codes/") : -len("/used")]: _series(rows, n) for n in names if n.endswith("/used")}
    if usage:
        _plot(folder / "usage.png", "Codes in use, whole table", "share of codes", usage, log=False)


def draw_calibration(path: Path, bins: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    """Write a PNG of predicted chances beside the share of clicks, and of how many rows there are of each chance.

    Args:
        path: of the PNG.
        bins: model -> "predicted", "observed" and "rows" of each bin that has rows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a run
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color="black", linewidth=0.8, linestyle="--", label="as predicted")
    for i, (name, of) in enumerate(bins.items()):
        upper.plot(of["predicted"], of["observed"], marker="o", markersize=4, linewidth=1.2, color=f"C{i}", label=name)
        lower.plot(of["predicted"], of["rows"], marker="o", markersize=3, linewidth=1, color=f"C{i}")
    upper.set(title="Calibration on test", ylabel="share of clicks", xlim=(0, 1), ylim=(0, 1))
    upper.legend(frameon=False, fontsize=9)
    lower.set(xlabel="predicted chance of a click (bins of equal width)", ylabel="rows", ylim=(0, None))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def draw_frequencies(path: Path, title: str, counts: Mapping[str, Array]) -> None:
    """Write a PNG of how often entities occur, the most frequent first (MGQE, figure 4).

    Args:
        path: of the PNG.
        title: of the figure.
        counts: vocabulary -> interactions of each entity, each above 0.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a command
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 4.2 * len(counts), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for axes, (name, of) in zip(figure.subplots(1, len(counts), squeeze=False)[0], counts.items()):
        ordered = -np.sort(-of)
        head = ordered[: round(0.1 * len(ordered))].sum() / ordered.sum()
        axes.plot(np.arange(1, len(ordered) + 1), ordered, linewidth=1.8)
        axes.axvline(0.1 * len(ordered), color="black", linewidth=0.8, linestyle="--")
        axes.set(
            title=f"{len(of):,} {name}s: the first 10 % have {100 * head:.0f} %",
            xlabel="rank",
            yscale="log",
            xscale="log",
        )
        axes.set_ylabel("interactions")
        axes.grid(alpha=0.3)
        for axis, most in ((axes.xaxis, len(ordered)), (axes.yaxis, ordered[0] / ordered[-1])):
            axis.set_major_formatter("{x:,.0f}")
            # Of a short axis 2 and 5 times the powers of ten have labels too.
            axis.set_minor_formatter(lambda x, _, few=most < 100: f"{x:,.0f}" if few and f"{x:e}"[0] in "25" else "")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def draw_coverage(path: Path, title: str, levels: Sequence[Agreement]) -> None:
    """Write a PNG of cove's figure 5: the share of each of the largest categories that its first i codes hold.

    Args:
        path: of the PNG.
        title: of the figure.
        levels: a panel each; beside every curve the mean (dashed) and 95 % band of shuffled codes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a run
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(1.2 + 4.6 * len(levels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    for i, (axes, level) in enumerate(zip(figure.subplots(1, len(levels), squeeze=False)[0], levels)):
        at = np.arange(1, level.codes + 1)
        for j, name in enumerate(level.largest):
            (line,) = axes.plot(at, level.coverage[j], label=_plain(name), linewidth=1.5)
            axes.plot(at, level.null[0, j], color=line.get_color(), linestyle="--", linewidth=0.8)
            axes.fill_between(at, level.null[1, j], level.null[2, j], color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set(title=f"level {i + 1}, {level.codes} codes in use", xlabel="first i codes", ylim=(0, 1.02))
        axes.set_ylabel("share of the category" if i == 0 else "")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8, title="dashed: shuffled codes", title_fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def draw_comparison(path: Path, rows: Sequence[Comparison], metric: str) -> None:
    """Write a PNG of differences with their 95 % intervals: a panel of the metrics, one of a metric by group.

    Args:
        path: of the PNG.
        rows: of one run or several, a colour each; filled where the difference survives the correction.
        metric: of the groups.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, needed once a command
    from matplotlib.figure import Figure

    runs, against = list(dict.fromkeys(row.run for row in rows)), rows[0].against
    panels = [panel for whole in (True, False) if (panel := [row for row in rows if (row.of == "all") is whole])]
    labels = [list(dict.fromkeys(_label(row) for row in panel)) for panel in panels]
    heights = [(0.12 + 0.14 * len(runs)) * len(names) for names in labels]
    figure = Figure(figsize=(6.4, 1.7 + 0.22 * len(runs) + sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    titles = (f"Difference, 95 % interval, from\n{_plain(against)}", f"{metric} by group (n)")
    drawn = figure.subplots(len(panels), height_ratios=heights, squeeze=False)[:, 0]
    for axes, title, panel, names in zip(drawn, titles, panels, labels):
        axes.axvline(0, color="black", linewidth=0.8)
        for i, run in enumerate(runs):
            ours = [row for row in panel if row.run == run]
            at = [names.index(_label(row)) + (i - (len(runs) - 1) / 2) * 0.7 / len(runs) for row in ours]
            axes.hlines(at, [row.low for row in ours], [row.high for row in ours], color=f"C{i}", linewidth=1.5)
            faces = [f"C{i}" if row.verdict else "white" for row in ours]
            axes.scatter([row.difference for row in ours], at, c=faces, edgecolors=f"C{i}", s=22, zorder=3)
        axes.set_title(title, fontsize=10)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(labelsize=8)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="x", alpha=0.3)
    dots = [figure.axes[0].scatter([], [], color=f"C{i}", label=_plain(run)) for i, run in enumerate(runs)]
    figure.legend(handles=dots, loc="outside lower center", frameon=False, fontsize=8, title_fontsize=8,
                  title="filled: survives the correction")  # fmt: skip
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # no formulas


def _label(row: Comparison) -> str:
    return row.metric if row.of == "all" else f"{row.group} {row.of} ({row.n:,})"
