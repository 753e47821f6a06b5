"""What a trial costs over its fit: 20 one-epoch trials of conf/cove_lgcn.yaml, two at a time, from the warm process.

    python benchmarks/sweeps.py [--repeats 3]

Prints the wall time against the fits' own seconds over two, and against as many fits started as commands.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

TRIALS, PARALLEL = 20, 2
FIT = [sys.executable, "-m", "lightning_vq"]


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def sweep(root: Path) -> dict[str, float]:
    """Return the seconds of one sweep: of the command, of the loop, of its trials' fits and of their training."""
    told = {
        "base": ["conf/cove_lgcn.yaml"], "fixed": {"trainer.max_epochs": 1},
        "space": {"quantization.omega_q": {"low": 0.01, "high": 0.1}},
        "objectives": {"val/ndcg@10/full": "maximize"}, "trials": TRIALS, "parallel": PARALLEL, "root": str(root),
    }  # fmt: skip
    (root / "tax.yaml").write_text(yaml.safe_dump(told))
    wall = timed([*FIT, "sweep", "--config", str(root / "tax.yaml")])
    summary = json.loads((root / "runs/sweeps/tax/summary.json").read_text())
    return {
        "wall": wall,
        "loop": summary["wall_seconds"],
        "fits": summary["fit_seconds"],
        "train": summary["train_seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    found: list[dict[str, float]] = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            one = sweep(Path(folder))
            options = ["--trainer.max_epochs=1", "--baseline=false", f"--trainer.default_root_dir={folder}"]
            one["cold"] = timed([*FIT, "fit", "--config", "conf/cove_lgcn.yaml", *options])
        found.append(one)
    s = {name: statistics.median(one[name] for one in found) for name in found[0]}
    ideal, cold = s["fits"] / PARALLEL, s["cold"] * TRIALS / PARALLEL
    print(f"{TRIALS} one-epoch trials, {PARALLEL} at a time, medians of {repeats}:")
    print(f"  command {s['wall']:.1f} s, of it the trials {s['loop']:.1f} s")
    print(f"  fits, all in, over {PARALLEL}: {ideal:.1f} s (training alone {s['train'] / PARALLEL:.1f} s)")
    print(f"  over the fits: trials {s['loop'] / ideal:.2f} times, command {s['wall'] / ideal:.2f} times")
    print(f"  as commands of {s['cold']:.1f} s each: {cold:.0f} s, {cold / s['wall']:.1f} times the sweep")


if __name__ == "__main__":
    main()
