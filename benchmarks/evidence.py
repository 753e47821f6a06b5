"""Runs the rows of docs/results.md in order, each an ordinary `fit`, resumable: a finished row is skipped.

    python benchmarks/evidence.py OUT [--workers 2] [--hours 6] [--only grocery]
    python benchmarks/evidence.py OUT --tables        # Markdown of what has run; the rest is listed as not run

Every worker has one thread; two of them on two cores finish more rows an hour than one with both.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

MODELS = ("bprmf", "cove_bprmf", "lgcn", "cove_lgcn")
NAMES = {"bprmf": "BPRMF", "cove_bprmf": "COVE-BPRMF", "lgcn": "LightGCN", "cove_lgcn": "COVE-LightGCN"}
SEEDS = (0, 1, 2)
DRAWS = (0, 1, 2, 3, 4)
LRS, DECAYS = ("5e-4", "1e-3", "2e-3"), ("1e-8", "1e-6")  # the fixed six-point grid, the same for every model
RECHORUS = {"bprmf": ("1e-3", "1e-6"), "lgcn": ("1e-3", "1e-8")}
COVE = {  # codebook sizes by source; every other setting as in conf/cove_*.yaml, which the planted data chose
    "amazon-grocery": "[200,10]", "ml-100k": "[40,8]", "ml-1m": "[200,10]", "planted": "[40,8]",
}  # fmt: skip
SAMPLED = ("--monitor=val/ndcg@5/uni99", "--data.init_args.val_protocols=[sampled]", "--patience=10")


class Row(NamedTuple):
    """One training run."""

    group: str
    model: str
    lr: str
    decay: str
    seed: int
    options: tuple[str, ...]
    variant: str = ""  # of the quantizer

    @property
    def name(self) -> str:
        variant = f"-{self.variant}" if self.variant else ""
        return f"{self.group}/{self.model}{variant}-lr{self.lr}-wd{self.decay}-seed{self.seed}"

    def command(self, folder: Path) -> list[str]:
        stopped = sorted(folder.glob(f"runs/{self.model}/*/last.ckpt"), key=lambda path: path.stat().st_mtime)
        if stopped:  # an earlier call was stopped in the middle: go on
            return [sys.executable, "-m", "lightning_vq", "fit", "--run", str(stopped[-1].parent)]
        sizes = next(COVE[source] for source in COVE if f"--data.init_args.source={source}" in self.options)
        tree = [f"--quantization.quantizers.{v}.init_args.codebook_sizes={sizes}" for v in ("user", "item")]
        return [
            sys.executable, "-m", "lightning_vq", "fit", "--config", f"conf/{self.model}.yaml",
            f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false", "--baseline=false",
            f"--model.init_args.lr={self.lr}", f"--model.init_args.weight_decay={self.decay}",
            f"--seed_everything={self.seed}", *(tree if "cove" in self.model else []), *self.options,
        ]  # fmt: skip


def data(source: str, batch: int, epochs: int = 200) -> tuple[str, ...]:
    return (
        f"--data.init_args.source={source}", f"--data.init_args.batch_size={batch}", f"--trainer.max_epochs={epochs}",
    )  # fmt: skip


def grid(group: str, model: str, options: tuple[str, ...]) -> list[Row]:
    return [Row(group, model, lr, decay, 0, options) for lr, decay in product(LRS, DECAYS)]


def both(key: str, value: str) -> tuple[str, ...]:
    """Return the options that set a quantizer's argument for users and items."""
    return tuple(f"--quantization.quantizers.{v}.init_args.{key}={value}" for v in ("user", "item"))


RESTART = ("--quantization.restart_dead_codes=true",)
STARTS = {  # where codes start, and whether dead ones are moved
    "normal": both("init", "normal"),
    "table_std": both("init", "table_std"),
    "table_std, restart": (*both("init", "table_std"), *RESTART),
    "kmeans": both("init", "kmeans"),
    "kmeans, restart": (*both("init", "kmeans"), *RESTART),
}
ESTIMATORS = ("straight_through", "codebook", "both", "rotation")


def study(source: str, batch: int, patience: int) -> list[Row]:
    """Return five seeds of BPRMF, of each gradient estimator under it, and of each start with straight_through."""
    options = (*data(source, batch), *SAMPLED, f"--patience={patience}")
    group, where = f"{source}-codebooks", ("1e-3", "1e-6")
    made = [Row(group, "bprmf", *where, s, options) for s in range(5)]
    variants = {e: both("gradient", e) for e in ESTIMATORS}
    variants |= {f"straight_through, {s}": STARTS[s] for s in ("table_std, restart", "kmeans", "kmeans, restart")}
    for name, extra in variants.items():
        made += [Row(group, "cove_bprmf", *where, s, (*options, *extra), name.replace(", ", "-")) for s in range(5)]
    return made


def rows(out: Path) -> list[list[Row]]:
    """Return the rows in the order of the issue; a later stage may depend on the results of an earlier one."""
    grocery = (*data("amazon-grocery", 256), *SAMPLED)
    wide = (*data("amazon-grocery", 1024), *SAMPLED)  # COVE's own batch size for LightGCN
    anchors = [Row("grocery-rechorus", m, *RECHORUS[m], s, grocery) for m in ("bprmf", "lgcn") for s in SEEDS]
    bpr_grid = [r for m in ("bprmf", "cove_bprmf") for r in grid("grocery-grid", m, grocery)]
    graph_grid = [r for m in ("lgcn", "cove_lgcn") for r in grid("grocery-grid", m, wide)]
    bpr_tuned, graph_tuned = [], []
    for stage, model, options in (
        (bpr_tuned, "bprmf", grocery),
        (bpr_tuned, "cove_bprmf", grocery),
        (graph_tuned, "lgcn", wide),
        (graph_tuned, "cove_lgcn", wide),
    ):
        best = chosen(out, grid("grocery-grid", model, options))
        if best is not None:
            stage += [best._replace(seed=s) for s in SEEDS[1:]]
    small = (*data("ml-100k", 256), *SAMPLED)
    hundred = [Row("ml-100k", m, *RECHORUS[m.removeprefix("cove_")], s, small) for m in MODELS for s in SEEDS]
    million = (*data("ml-1m", 256), *SAMPLED, "--patience=5")
    large = [Row("ml-1m", m, *RECHORUS["bprmf"], s, million) for m in ("bprmf", "cove_bprmf") for s in SEEDS]
    graph = (*data("ml-1m", 8192, 60), *SAMPLED, "--patience=5")
    large += [Row("ml-1m", m, "5e-3", RECHORUS["lgcn"][1], 0, graph) for m in ("lgcn", "cove_lgcn")]
    planted = (*data("planted", 1024), "--patience=30")
    ones = ["--quantization.omega_q=1", "--quantization.beta=1"]
    ones += [f"--quantization.quantizers.{v}.init_args.alpha=1" for v in ("user", "item")]
    embedded = [Row("planted", m, "5e-3", "1e-8", s, planted) for m in ("lgcn", "cove_lgcn") for s in SEEDS]
    embedded += [Row("planted-all-weights-1", "cove_lgcn", "5e-3", "1e-8", s, (*planted, *ones)) for s in SEEDS]
    whole = (*data("ml-1m", 2048, 15), *SAMPLED, "--patience=null")
    collapse = [
        Row("ml-1m-collapse", "cove_bprmf", "1e-3", "1e-6", 0, (*whole, *start, *both("codebook_sizes", "[500,10]")),
            name.replace(", ", "-"))
        for name, start in STARTS.items()
    ]  # fmt: skip
    codebooks = [study("amazon-grocery", 256, 10), study("ml-1m", 2048, 5)]
    return [anchors, bpr_grid, bpr_tuned, graph_grid, graph_tuned, hundred, large, embedded, collapse, *codebooks]


def result(out: Path, row: Row) -> dict | None:
    path = out / f"{row.name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def chosen(out: Path, candidates: list[Row]) -> Row | None:
    """Return the row with the best validation metric, once all have run."""
    results = [(result(out, row), row) for row in candidates]
    if any(found is None for found, _ in results):
        return None
    return max(results, key=lambda pair: pair[0]["best"][pair[0]["monitor"]])[1]


def run(out: Path, row: Row, deadline: float) -> None:
    if result(out, row) is not None or time.time() > deadline:
        return
    folder = out / row.name
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    folder.mkdir(parents=True, exist_ok=True)
    began = time.time()
    with (folder / "log.txt").open("w") as log:
        done = subprocess.run(row.command(folder), env=environment, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        print(f"{row.name}: status {done.returncode}, see {folder}/log.txt", flush=True)
        return
    made = sorted((folder / "runs" / row.model).iterdir(), key=lambda p: int(p.name))[-1]
    summary = json.loads((made / "metrics.json").read_text())
    describe = ["git", "describe", "--always", "--dirty"]
    summary["commit"] = subprocess.run(describe, capture_output=True, text=True).stdout.strip()
    if row.group.endswith("collapse"):
        summary["usage"] = usage_history(made)
    if row.group.startswith("grocery"):
        draws = subprocess.run(
            [sys.executable, __file__, str(out), "--draws", str(made)], env=environment, capture_output=True, text=True
        )
        summary["draws"] = json.loads(draws.stdout.splitlines()[-1])
    (out / f"{row.name}.json").write_text(json.dumps(summary, indent=1))
    print(f"{row.name}: {summary['epochs']} epochs, {time.time() - began:.0f} s", flush=True)


def usage_history(folder: Path) -> dict[str, list[float]]:
    """Return share and perplexity of level-1 codes of a run, by table and epoch."""
    from lightning_vq.callbacks.history import read_history

    names = [f"codes/{table}/level1/{what}" for table in ("user", "item") for what in ("used", "perplexity")]
    return {name: [epoch[name] for epoch in read_history(folder) if name in epoch] for name in names}


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


def draws(folder: Path) -> None:
    """Print, as JSON, the test metrics of a run's best checkpoint under each draw of the 99 negatives."""
    from lightning_vq.data import CollaborativeData
    from lightning_vq.modules import CollaborativeFiltering
    from lightning_vq.trainer import Trainer

    module = CollaborativeFiltering.load_from_checkpoint(folder / "best.ckpt")
    trainer = Trainer(logger=False, enable_progress_bar=False, enable_checkpointing=False)
    found = []
    for draw in DRAWS:
        held = CollaborativeData(source="amazon-grocery", eval_protocols=("sampled",), eval_seed=draw)
        found.append(trainer.test(module, datamodule=held, verbose=False)[0])
    print(json.dumps(found))


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


def paired(out: Path) -> None:
    """Print differences to the base model seed by seed: mean, 95 % t interval, p of the paired t-test."""
    from scipy import stats

    for stage in rows(out):
        if not stage or not stage[0].group.endswith("codebooks"):
            continue
        print(f"\n### {stage[0].group}: test NDCG@5 (uni99) less the base model's, same seeds\n")
        print("| COVE-BPRMF | seeds | difference | 95 % interval | p |\n|---|---|---|---|---|")
        values = {(row.variant, row.seed): result(out, row) for row in stage}
        for variant in dict.fromkeys(row.variant for row in stage if row.variant):
            pairs = [(values["", seed], values[variant, seed]) for seed in range(5)]
            gaps = [q["test"]["test/ndcg@5/uni99"] - b["test"]["test/ndcg@5/uni99"] for b, q in pairs if b and q]
            if len(gaps) < 2:
                print(f"| {variant} | {len(gaps)} of 5 | not run | | |")
                continue
            mean, test = float(np.mean(gaps)), stats.ttest_1samp(gaps, 0.0)
            low, high = test.confidence_interval(0.95)
            print(f"| {variant} | {len(gaps)} of 5 | {mean:+.4f} | [{low:+.4f}, {high:+.4f}] | {test.pvalue:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--only", default="", help="groups that start with this")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--figure", type=Path, help="write the figure of the collapse rows")
    parser.add_argument("--draws", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draws:
        return draws(options.draws)
    if options.figure:
        return draw_collapse(options.out, options.figure)
    if options.tables:
        tables(options.out)
        return paired(options.out)
    deadline = time.time() + 3600 * options.hours
    for stage in range(len(rows(options.out))):
        with ThreadPoolExecutor(options.workers) as pool:
            chosen_rows = [row for row in rows(options.out)[stage] if row.group.startswith(options.only)]
            for future in [pool.submit(run, options.out, row, deadline) for row in chosen_rows]:
                future.result()
    return None


if __name__ == "__main__":
    main()
