"""Speed of lightning_vq on ml-100k (d=64, two threads) beside RecBole 1.2.1 and hand-written loops. See README.md.

    python benchmarks/speed.py --out speed.json --recbole PYTHON_OF_RECBOLES_ENVIRONMENT

Within a repeat ours, RecBole and the floor run one after the other, so that noise hits all alike.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from contest import options, run
from ours import DIM, SOURCE, made
from rival import write_data
from rows_ranking import pair_ranking, ranking
from rows_training import training
from timing import Row, divided, timed

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.quantizers import Cascaded
from lightning_vq.quantizers.search import nearest_code

ROOT = Path(__file__).resolve().parents[1]
CODES = (500, 10)
FIRST_BLOCK = """
import os, sys, time
from lightning_vq.cli import main
from lightning_vq.modules.base import Recommender
Recommender.on_train_batch_end = lambda *_: (print(time.time(), flush=True), os._exit(0))
main(sys.argv[1:], time.time())
"""


def train_steps(module: CollaborativeFiltering, hook: Any, optimizer: torch.optim.Optimizer, batches: Any) -> None:
    for batch in batches:
        terms = module.step_losses(batch, [hook])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()


def seconds_to(*command: str) -> float:
    """Return the seconds from the start of a Python process to the time.time() that it prints last."""
    start = time.time()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1]) - start


def start(o: argparse.Namespace) -> Row:
    """Return seconds from process start to the end of the first training block, 16 mini-batches of 1024."""
    ours, floor = [], []
    with tempfile.TemporaryDirectory() as folder:
        options = ["fit", "--config=conf/bprmf.yaml", f"--data.init_args.source={SOURCE}"]
        options += [f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false"]
        for _ in range(o.repeats + 2):
            ours.append(seconds_to("-c", FIRST_BLOCK, *options))
            floor.append(seconds_to("-c", "import lightning.pytorch, time; print(time.time())"))
    more = [a - b for a, b in zip(ours, floor)]
    return Row("Start to first training block", "s", ours, [], floor, more, "s over the import", 1.5)


def search(codes: int, o: argparse.Namespace) -> Row:
    """Return milliseconds of the nearest of K codes to 4096 vectors; the floor is the product alone."""
    x, c = torch.randn(4096, DIM), torch.randn(codes, DIM)
    ours, floor = [], []
    for _ in range(o.repeats):
        ours.append(1e3 * timed(lambda: nearest_code(x, c), 50))
        floor.append(1e3 * timed(lambda: x @ c.T, 50))
    return Row(f"Code search, [4096, 64] x {codes}", "ms", ours, [], floor, divided(ours, floor), "x the product", 2)


def quantizer(backbone: type[Backbone], source: str, batch: int, turn: int, turns: int, o: argparse.Namespace) -> Row:
    """Return milliseconds of a step with both tables quantized; the floor is the same step plain.

    A direct loop, no Trainer: step_losses, backward, Adam. Both take turns of `turn` mini-batches.
    """
    runs: list[Callable[[], None]] = []
    for sizes in ((), CODES):
        module, data = made(backbone(), source, batch)
        hook = QuantizationCallback({v: partial(Cascaded, codebook_sizes=sizes) for v in ("user", "item") if sizes})
        hook.attach(module)
        batches = [part for block in data.train_dataloader() for part in block.batches()][:turn]
        runs.append(partial(train_steps, module, hook, module.configure_optimizers(), batches))
    ours, floor = [], []
    for _ in range(o.repeats):
        both = [[1e3 * timed(run, 1) / turn for run in runs] for _ in range(turns)]
        floor.append(median(plain for plain, _ in both))
        ours.append(median(quantized for _, quantized in both))
    share = [100 * (1 - plain / quantized) for plain, quantized in zip(floor, ours)]
    name = f"Step with {list(CODES)}, {backbone.__name__}, {source}, batch {batch}"
    return Row(name, "ms", ours, [], floor, share, "% of the step", 10)


def called(kind: Callable[[argparse.Namespace], Row | list[Row]]) -> str:
    """Return "training NGCF 2048 4" for a kind of rows."""
    if isinstance(kind, partial):
        return " ".join(str(getattr(part, "__name__", part)) for part in (kind.func, *kind.args))
    return kind.__name__


def main() -> None:
    o = options(__doc__ or "", epochs=5, only="kinds of rows that hold this: training NGCF, pair_ranking, start")
    kinds: list[Callable[[argparse.Namespace], Row | list[Row]]] = [
        partial(training, "BPRMF", 2048, 3), partial(training, "BPRMF", 256, 2.5),
        partial(training, "LightGCN", 2048, 4), partial(training, "NeuMF", 2048, 2), partial(training, "NGCF", 2048, 4),
        partial(training, "CFKG", 2048, 4), ranking, pair_ranking, start,
        *(partial(search, k) for k in (200, 500, 8000)),
        partial(quantizer, LightGCN, "ml-1m", 8192, 4, 5), partial(quantizer, BPRMF, SOURCE, 2048, 24, 10),
        partial(quantizer, BPRMF, SOURCE, 256, 96, 10),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        o.inter = write_data(Path(folder))
        run((kind(o) for kind in kinds if o.only in called(kind)), o)


if __name__ == "__main__":
    main()
