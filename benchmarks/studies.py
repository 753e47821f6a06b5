"""A study of COVE-LightGCN against a study of LightGCN with the same budget, on planted data and on ml-100k.

    python benchmarks/studies.py OUT           # the sweeps of sweeps/, then their best configs with five seeds
    python benchmarks/studies.py OUT --tables  # Markdown of docs/evidence/studies

Resumable: a study goes on where it was stopped. Every trial is tested, as every fit is; of the test figures only those
of the study's best trial by dev are read. The seeds are others than the studies'.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from lightning_vq.report import paired_difference

PAIRS = {"planted": ("lgcn", "cove_lgcn_codebooks"), "ml-100k": ("ml_100k_lgcn", "ml_100k_cove_lgcn")}
SEEDS = (1, 2, 3, 4, 5)
METRIC = "ndcg@10/full"
EVIDENCE = Path("docs/evidence/studies")


def study(out: Path, name: str) -> dict:
    """Run a sweep to its end and return its summary."""
    folder = out / "runs" / "sweeps" / name
    command = [sys.executable, "-m", "lightning_vq", "sweep", "--config", f"sweeps/{name}.yaml", f"--root={out}"]
    if not (folder / "summary.json").is_file():
        subprocess.run(command + (["--resume"] if (folder / "study.journal").is_file() else []), check=True)
    return json.loads((folder / "summary.json").read_text())


def again(out: Path, name: str, seed: int) -> Path:
    """Train the best config of a study with a seed, on one thread, and return its run folder."""
    root = out / "seeds" / name / str(seed)
    run = root / "run"
    if not (run / "test_users.parquet").is_file():
        subprocess.run(
            [sys.executable, "-m", "lightning_vq", "fit", "--config", str(out / f"runs/sweeps/{name}/{name}_best.yaml"),
             "--baseline=false", f"--seed_everything={seed}", f"--trainer.default_root_dir={root}",
             "--trainer.enable_progress_bar=false"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "LIGHTNING_VQ_RUN_FOLDER": str(run.absolute())},
        )  # fmt: skip
    return run


def cases(run: Path) -> np.ndarray:
    """Return the metric of every test user (U,)."""
    return pq.read_table(run / "test_users.parquet")[METRIC].to_numpy()


def compare(out: Path, source: str) -> None:
    """Write docs/evidence/studies/<source>.json."""
    base, cove = PAIRS[source]
    summaries = {name: study(out, name) for name in (base, cove)}
    with ThreadPoolExecutor(2) as pool:
        runs = {name: list(pool.map(lambda seed, name=name: again(out, name, seed), SEEDS)) for name in (base, cove)}
    best = {name: cases(Path(summary["best"][0]["folder"])) for name, summary in summaries.items()}
    gap, half = paired_difference(best[cove], best[base])
    means = {name: [float(cases(run).mean()) for run in runs[name]] for name in runs}
    for summary in summaries.values():
        summary["best"][0].pop("folder")
    found = {
        "studies": summaries,
        "test": {name: float(values.mean()) for name, values in best.items()},
        "users": len(best[cove]),
        "paired": {"mean": gap, "half_95": half, "p": float(stats.ttest_rel(best[cove], best[base]).pvalue)},
        "seeds": means,
        "paired_seeds": {"mean": float(np.mean(np.subtract(means[cove], means[base]))),
                         "p": float(stats.ttest_rel(means[cove], means[base]).pvalue)},
    }  # fmt: skip
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    (EVIDENCE / f"{source}.json").write_text(json.dumps(found, indent=1) + "\n")


def tables() -> None:
    """Print Markdown."""
    print("| source | study | trials (pruned) | best dev | test, best trial | test, five seeds | best parameters |")
    print("|---|---|---|---|---|---|---|")
    for source, pair in PAIRS.items():
        path = EVIDENCE / f"{source}.json"
        found = json.loads(path.read_text()) if path.is_file() else None
        for name in pair:
            if found is None:
                print(f"| {source} | {name} | not run | | | | |")
                continue
            one = found["studies"][name]
            seeds = np.array(found["seeds"][name])
            params = ", ".join(f"{k.rpartition('.')[2]} {v:.3g}" for k, v in one["best"][0]["params"].items())
            print(
                f"| {source} | {name} | {sum(one['trials'].values())} ({one['trials']['pruned']}) "
                f"| {one['best'][0]['values'][0]:.4f} | {found['test'][name]:.4f} "
                f"| {seeds.mean():.4f} ± {seeds.std(ddof=1):.4f} | {params} |"
            )
    print("\n| source | best trials, paired over test users | p | five seeds, paired | p |\n|---|---|---|---|---|")
    for source in PAIRS:
        path = EVIDENCE / f"{source}.json"
        if path.is_file():
            found = json.loads(path.read_text())
            a, b = found["paired"], found["paired_seeds"]
            print(
                f"| {source} | {a['mean']:+.4f} ± {a['half_95']:.4f} ({found['users']:,} users) | {a['p']:.2g} "
                f"| {b['mean']:+.4f} | {b['p']:.2g} |"
            )
    print("\n| study | wall time | in trials, two at a time | in fits | of that training |\n|---|---|---|---|---|")
    for source in PAIRS:
        path = EVIDENCE / f"{source}.json"
        for name, one in (json.loads(path.read_text())["studies"] if path.is_file() else {}).items():
            wall, trials, fits, train = (
                one[k] for k in ("wall_seconds", "trial_seconds", "fit_seconds", "train_seconds")
            )
            print(f"| {name} | {wall / 60:.1f} min | {trials / 60:.1f} min | {fits / 60:.1f} min ({fits / trials:.0%}) "
                  f"| {train / 60:.1f} min ({train / trials:.0%}) |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    if options.tables:
        return tables()
    for source in PAIRS:
        compare(options.out.absolute(), source)
    return None


if __name__ == "__main__":
    main()
