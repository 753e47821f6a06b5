"""Tables and figures of the training runs that have been made; the rest are listed as not run."""

from pathlib import Path

import numpy as np
from evidence_rows import NAMES, result, rows
from scipy import stats


def spread(values: list[float]) -> str:
    mean = float(np.mean(values))
    return f"{mean:.4f} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else f"{mean:.4f}"


def tables(out: Path) -> None:
    """Print a Markdown table per group: mean ± standard deviation over seeds (of means over draws)."""
    everything = [row for stage in rows(out) for row in stage]
    for group in dict.fromkeys(row.group for row in everything):
        members = [row for row in everything if row.group == group]
        print(f"\n### {group}\n")
        keys = dict.fromkeys((r.model, r.variant, r.lr, r.decay) for r in members)
        names = ["hr@5/uni99", "ndcg@5/uni99", "hr@10/uni99", "ndcg@10/uni99", "hr@10/full", "ndcg@10/full"]
        print("| model | lr | weight decay | seeds | dev NDCG@5 | " + " | ".join(names) + " | best epoch | samples/s |")
        print("|" + "---|" * (7 + len(names)))
        for model, variant, lr, decay in keys:
            key = (model, variant, lr, decay)
            found = [result(out, r) for r in members if (r.model, r.variant, r.lr, r.decay) == key]
            done = [f for f in found if f is not None]
            title = NAMES[model] + (f" ({variant})" if variant else "")
            if not done:
                print(f"| {title} | {lr} | {decay} | 0 of {len(found)} | not run |" + " |" * (2 + len(names)))
                continue
            cells = [spread([f["best"][f["monitor"]] for f in done])]
            for name in names:
                metric = f"test/{name}"
                drawn = [
                    [d[metric] for d in f["draws"]] if metric in f.get("draws", [{}])[0] else [f["test"][metric]]
                    for f in done
                ]
                cells.append(spread([float(np.mean(d)) for d in drawn]))
            epochs = "/".join(str(int(f["best"]["epoch"]) + 1) for f in done)
            rate = f"{np.median([f['samples_per_second'] for f in done]):,.0f}"
            print(
                f"| {title} | {lr} | {decay} | {len(done)} of {len(found)} | "
                + " | ".join([*cells, epochs, rate])
                + " |"
            )


DEFAULT = "straight_through"  # with table_std


def paired(out: Path) -> None:
    """Print differences to the base model, and of each variant to the default one, seed by seed."""
    for stage in rows(out):
        if not stage or not stage[0].group.endswith("codebooks"):
            continue
        values = {(row.variant, row.seed): result(out, row) for row in stage}
        variants = list(dict.fromkeys(row.variant for row in stage if row.variant))
        for other, title in (("", "the base model"), (DEFAULT, f"COVE-BPRMF ({DEFAULT}), the default")):
            print(f"\n### {stage[0].group}: test NDCG@5 (uni99) less that of {title}, same seeds\n")
            print("| COVE-BPRMF | seeds | difference | 95 % interval | p | p, Holm |\n|---|---|---|---|---|---|")
            gaps = {v: _gaps(values, v, other) for v in variants if v != other}
            tests = {v: stats.ttest_1samp(gap, 0.0) for v, gap in gaps.items() if len(gap) > 1}
            corrected = holm({v: test.pvalue for v, test in tests.items()})
            for variant, gap in gaps.items():
                if variant not in tests:
                    print(f"| {variant} | {len(gap)} of 5 | not run | | | |")
                    continue
                low, high = tests[variant].confidence_interval(0.95)
                print(
                    f"| {variant} | {len(gap)} of 5 | {np.mean(gap):+.4f} | [{low:+.4f}, {high:+.4f}] "
                    f"| {tests[variant].pvalue:.3f} | {corrected[variant]:.3f} |"
                )


def _gaps(values: dict, variant: str, other: str) -> list[float]:
    pairs = [(values[other, seed], values[variant, seed]) for seed in range(5)]
    return [q["test"]["test/ndcg@5/uni99"] - b["test"]["test/ndcg@5/uni99"] for b, q in pairs if b and q]


def holm(p: dict[str, float]) -> dict[str, float]:
    """Return p values corrected for looking at several, by Holm's step-down."""
    corrected, least = {}, 0.0
    for i, name in enumerate(sorted(p, key=lambda n: p[n])):
        least = max(least, min(1.0, (len(p) - i) * p[name]))
        corrected[name] = least
    return corrected


def draw_collapse(out: Path, path: Path) -> None:
    """Draw the effective number of level-1 codes against epochs, a line for each start."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = [(row, result(out, row)) for stage in rows(out) for row in stage if row.group.endswith("collapse")]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, table in zip(figure.subplots(1, 2, sharey=True), ("user", "item")):
        for row, summary in found:
            if summary is not None:
                history = summary["usage"][f"codes/{table}/level1/perplexity"]
                first = int(summary["epochs"]) - len(history) + 1  # a warm-up has no codes
                axes.plot(range(first, first + len(history)), history, label=row.variant, marker=".")
        axes.set(title=f"ml-1m {table}s, 500 codes", xlabel="epoch", ylabel="perplexity (codes in effective use)")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
