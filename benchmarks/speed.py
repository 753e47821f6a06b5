"""Speed of lightning_vq on ml-100k (d=64), beside RecBole 1.2.1 and hand-written loops. See README.md.

    python benchmarks/speed.py --out speed.json --recbole PYTHON_OF_ITS_ENVIRONMENT

Within a repeat, ours, RecBole and the floor run one after the other, so that noise hits all alike.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule
from floor import floor_epoch, floor_evaluation, intervals

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.data import CollaborativeData
from lightning_vq.data.splits import DEV, TRAIN
from lightning_vq.metrics import hit_ratio, ndcg
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.quantizers import Cascaded
from lightning_vq.quantizers.search import nearest_code
from lightning_vq.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
DIM, THREADS, REPEATS = 64, 2, 3
FIRST_BATCH = """
import os, sys, time
from lightning_vq.cli import main
from lightning_vq.modules.base import Recommender
Recommender.on_train_batch_end = lambda *_: (print(time.time(), flush=True), os._exit(0))
main(sys.argv[1:])
"""


class Row(NamedTuple):
    """One line of the table; every list has one value per repeat."""

    name: str
    unit: str
    ours: list[float]
    rival: list[float]  # empty: there is none, or RecBole was not given
    floor: list[float]
    figure: list[float]  # what the target is about; empty: not measured
    says: str  # what the figure is
    target: float
    at_least: bool
    larger_is_better: bool = True  # of ours, rival and floor

    def met(self) -> bool | None:
        """Return whether the median figure meets the target; None where it was not measured."""
        if not self.figure:
            return None
        return median(self.figure) >= self.target if self.at_least else median(self.figure) <= self.target

    def of_floor(self) -> float | None:
        """Return the median over repeats of how many times slower than the floor ours is."""
        pairs = zip(self.ours, self.floor)
        slower = [f / o if self.larger_is_better else o / f for o, f in pairs]
        return median(slower) if slower else None


class EpochClock(Callback):
    """Notes the start of every epoch: the difference of two starts is all that an epoch costs."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self.starts.append(time.perf_counter())


def timed(work: Callable[[], Any], times: int) -> float:
    """Return the median seconds of one call over `times` of them, after one that does not count."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])


# -- ours --------------------------------------------------------------------------------------------------------------


def quiet_trainer(*callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", callbacks=list(callbacks), logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


def made(backbone: Backbone, source: str, batch: int) -> tuple[CollaborativeFiltering, CollaborativeData]:
    """Return a built module and its data, validation by full ranking alone."""
    torch.manual_seed(0)
    data = CollaborativeData(source=source, batch_size=batch, val_protocols=("full",), seed=0)
    data.prepare_data()
    data.setup("fit")
    module = CollaborativeFiltering(backbone, ks=(10,))
    module.build(data.facts())
    return module, data


def our_epoch(backbone: Backbone, batch: int, epochs: int) -> float:
    """Return the median seconds of a training epoch of Trainer.fit, draw of negatives and logging included."""
    module, data = made(backbone, "ml-100k", batch)
    clock = EpochClock()
    quiet_trainer(clock, max_epochs=epochs + 2, limit_val_batches=0).fit(module, datamodule=data)
    return intervals(clock.starts)


def our_evaluation(module: CollaborativeFiltering, data: CollaborativeData) -> None:
    """Rank every item for all users: loader, lookup, scores, mask, ranks, HR@10 and NDCG@10; no Trainer."""
    with torch.inference_mode():
        module.on_validation_epoch_start()
        for i, batch in enumerate(data.val_dataloader()):
            module.validation_step(batch, i)
        _, ranks = module.ranks["full"].compute()
        hit_ratio(ranks, 10).mean(), ndcg(ranks, 10).mean()


def quantizer_steps(backbone: type[Backbone], source: str, batch: int, steps: int, turns: int) -> tuple[float, float]:
    """Return the median seconds of a step plain and quantized (user and item, Cascaded [500, 10]).

    A direct loop over blocks: step_losses, backward, Adam, no Trainer; both take turns of `steps` mini-batches.
    """
    runs: list[Callable[[], None]] = []
    for sizes in ([], [500, 10]):
        module, data = made(backbone(dim=DIM), source, batch)  # type: ignore[call-arg]
        factories = {v: partial(Cascaded, codebook_sizes=sizes) for v in ("user", "item")} if sizes else {}
        callback = QuantizationCallback(factories)  # type: ignore[arg-type]
        callback.attach(module)
        batches = [b for block in data.train_dataloader() for b in block.batches()]
        runs.append(partial(_steps, module, callback, module.configure_optimizers(), batches[:steps]))
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for run, times in zip(runs, seconds):
            start = time.perf_counter()
            run()
            if turn:
                times.append((time.perf_counter() - start) / steps)
    return median(seconds[0]), median(seconds[1])


def _steps(module: CollaborativeFiltering, hook: Any, optimizer: torch.optim.Optimizer, batches: list[Any]) -> None:
    for batch in batches:
        terms = module.step_losses(batch, [hook])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()


def seconds_to(*command: str) -> float:
    """Return the seconds from the start of a Python process to the time.time() that it prints last."""
    start = time.time()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1]) - start


# -- RecBole -----------------------------------------------------------------------------------------------------------


def write_inter(data: CollaborativeData, folder: Path) -> Path:
    """Write the interactions as RecBole's atomic file; the time column is their order, ties resolved as ours."""
    raw = data.raw
    assert raw is not None
    assert raw.order is not None
    path = folder / "ml-100k" / "ml-100k.inter"
    path.parent.mkdir()
    rows = sorted(zip(raw.order.tolist(), range(len(raw.users)), raw.users.tolist(), raw.items.tolist()))
    lines = [f"{u}\t{i}\t{t}\n" for t, (_, _, u, i) in enumerate(rows)]
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    return path


def recbole(python: str, inter: Path, model: str, batch: int, epochs: int, evaluations: int) -> dict[str, Any]:
    """Return what rival_recbole.py wrote."""
    out = inter.parent / "times.json"
    numbers = {"batch": batch, "epochs": epochs, "evaluations": evaluations, "threads": THREADS}
    command = [python, str(ROOT / "benchmarks/rival_recbole.py"), "--inter", str(inter), "--model", model]
    command += [f"--{name}={value}" for name, value in numbers.items()] + [f"--out={out}"]
    subprocess.run(command, check=True, capture_output=True)
    return json.loads(out.read_text())


# -- the table ---------------------------------------------------------------------------------------------------------


def training_row(model: str, batch: int, target: float, o: argparse.Namespace, inter: Path) -> Row:
    """Return training speed in samples/s (BPRMF) or steps/s (LightGCN)."""
    graph = model == "LightGCN"
    ours, rival, floor = [], [], []
    for _ in range(o.repeats):
        backbone = LightGCN(DIM) if graph else BPRMF(DIM)
        module, data = made(backbone, "ml-100k", batch)
        users, items = data.parts[TRAIN]
        work = -(-len(users) // batch) if graph else len(users)
        ours.append(work / our_epoch(module, data, o.epochs))
        if o.recbole:
            theirs = recbole(o.recbole, inter, model.removesuffix("MF"), batch, o.epochs, 0)
            if theirs["rows"] != len(users):
                raise SystemExit(f"RecBole trains on {theirs['rows']} interactions, not {len(users)}")
            rival.append(work / median(theirs["epochs"]))
        adjacency = backbone._adjacency if isinstance(backbone, LightGCN) else None
        shape = (data.user_count, data.item_count)
        floor.append(work / floor_epoch(users, items, shape, adjacency, DIM, batch, o.epochs))
    unit = "steps/s" if graph else "samples/s"
    return Row(f"{model} training, batch {batch}", unit, ours, rival, floor, "x RecBole", target)


def ranking_rows(o: argparse.Namespace, inter: Path) -> list[Row]:
    """Return seconds of ranking all items for all users, by our evaluation alone and by trainer.validate."""
    module, data = made(BPRMF(DIM), "ml-100k", 2048)
    trainer = quiet_trainer()
    users, positives = data.parts[DEV]
    [batch] = data.val_dataloader()
    ours, whole, rival, floor = [], [], [], []
    for _ in range(o.repeats):
        ours.append(timed(lambda: our_evaluation(module, data), 20))
        whole.append(timed(lambda: trainer.validate(module, datamodule=data, verbose=False), 5))
        if o.recbole:
            rival.append(median(recbole(o.recbole, inter, "BPR", 2048, 1, 5)["evaluate"]))
        with torch.inference_mode():
            vectors = [module.tables[n].detach() for n in ("user", "item", "item_bias")]
            vectors = [vectors[0][users], vectors[1], vectors[2].squeeze(1)]
            floor.append(timed(lambda: floor_evaluation(*vectors, batch.seen, positives), 20))  # noqa: B023
    name = "Full ranking of 943 users"
    return [
        Row(f"{name}: evaluation loop", "s", ours, rival, floor, "x RecBole", 10),
        Row(f"{name}: trainer.validate", "s", whole, rival, floor, "x RecBole", 10),
    ]


def start_row(o: argparse.Namespace) -> Row:
    """Return seconds from process start to the end of the first training block, 16 mini-batches of 1024."""
    ours, floor = [], []
    with tempfile.TemporaryDirectory() as folder:
        options = ["fit", "--config", "conf/bprmf.yaml", "--data.init_args.source=ml-100k"]
        options += [f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false"]
        for _ in range(5 if o.repeats >= 3 else o.repeats):
            ours.append(seconds_to("-c", FIRST_BATCH, *options))
            floor.append(seconds_to("-c", "import lightning.pytorch, time; print(time.time())"))
    return Row("Start to first training block, against importing Lightning", "s", ours, [], floor, "s more", 1.5)


def search_row(codes: int, o: argparse.Namespace) -> Row:
    """Return milliseconds of nearest_code on [4096, 64], against the bare product."""
    x, c = torch.randn(4096, DIM), torch.randn(codes, DIM)
    ours, floor = [], []
    for _ in range(o.repeats):
        ours.append(1e3 * timed(lambda: nearest_code(x, c), 50))
        floor.append(1e3 * timed(lambda: x @ c.T, 50))
    return Row(f"Code search, 4096 vectors, {codes} codes", "ms", ours, [], floor, "x the product", 2)


def quantizer_row(backbone: type[Backbone], source: str, batch: int, steps: int, turns: int, repeats: int) -> Row:
    """Return milliseconds of a quantized step; the floor is the same step plain."""
    pairs = [quantizer_steps(backbone, source, batch, steps, turns) for _ in range(repeats)]
    name = f"Quantized step, {backbone.__name__}, {source}, batch {batch}"
    return Row(name, "ms", [1e3 * q for _, q in pairs], [], [1e3 * p for p, _ in pairs], "% of the step", 10)
