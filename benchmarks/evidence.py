"""Runs the rows of docs/results.md in order, each an ordinary `fit`, resumable: a finished row is skipped.

    python benchmarks/evidence.py OUT [--workers 2] [--hours 6] [--only grocery]
    python benchmarks/evidence.py OUT --tables        # Markdown of what has run; the rest is listed as not run

Every worker has one thread; two of them on two cores finish more rows an hour than one with both.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evidence_rows import Row, result, rows
from evidence_tables import draw_collapse, paired, tables

BEGIN, END = "## Training runs\n", "## Speed\n"  # the tables' place in docs/results.md
DRAWS = (0, 1, 2, 3, 4)  # seeds of the 99 negatives of Grocery's users


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--only", default="", help="groups that start with this")
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--into", type=Path, help="with --tables: put them into this file, under its 'Training runs'")
    parser.add_argument("--figure", type=Path, help="write the figure of the collapse rows")
    parser.add_argument("--draws", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draws:
        return draws(options.draws)
    if options.figure:
        return draw_collapse(options.out, options.figure)
    if options.tables:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            tables(options.out)
            paired(options.out)
        if options.into is None:
            print(text.getvalue())
        else:
            before, _, rest = options.into.read_text().partition(BEGIN)
            options.into.write_text(before + BEGIN + text.getvalue() + "\n" + END + rest.partition(END)[2])
        return None
    deadline = time.time() + 3600 * options.hours
    for stage in range(len(rows(options.out))):
        with ThreadPoolExecutor(options.workers) as pool:
            chosen_rows = [row for row in rows(options.out)[stage] if row.group.startswith(options.only)]
            for future in [pool.submit(run, options.out, row, deadline) for row in chosen_rows]:
                future.result()
    return None


if __name__ == "__main__":
    main()
