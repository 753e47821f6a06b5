"""Speed of lightning_vq on ml-100k (d=64, two threads) beside RecBole 1.2.1 and hand-written loops. See README.md.

    python benchmarks/speed.py --out speed.json --recbole PYTHON_OF_RECBOLES_ENVIRONMENT

Within a repeat ours, RecBole and the floor run one after the other, so that noise hits all alike.
"""

import argparse
import json
import logging
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
from typing import Any

import torch
from floor import floor_epoch, floor_evaluation
from lightning.pytorch import Callback, LightningModule
from timing import Row, divided, intervals, table, timed

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
SOURCE, DIM, CODES = "ml-100k", 64, (500, 10)
FIRST_BLOCK = """
import os, sys, time
from lightning_vq.cli import main
from lightning_vq.modules.base import Recommender
Recommender.on_train_batch_end = lambda *_: (print(time.time(), flush=True), os._exit(0))
main(sys.argv[1:])
"""


class EpochClock(Callback):
    """Notes when epochs start: from one start to the next is all that an epoch costs."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: LightningModule) -> None:
        self.starts.append(time.perf_counter())


# -- ours --------------------------------------------------------------------------------------------------------------


def quiet_trainer(*callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", callbacks=list(callbacks), logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


def made(backbone: Backbone, source: str, batch: int) -> tuple[CollaborativeFiltering, CollaborativeData]:
    """Return a built module and its data, validated by full ranking alone."""
    torch.manual_seed(0)
    data = CollaborativeData(source=source, batch_size=batch, val_protocols=("full",), seed=0)
    data.prepare_data()
    data.setup("fit")
    module = CollaborativeFiltering(backbone, ks=(10,))
    module.build(data.facts())
    return module, data


def our_epoch(module: CollaborativeFiltering, data: CollaborativeData, epochs: int) -> float:
    """Return the median seconds of a training epoch of Trainer.fit, draw of negatives and logging included."""
    clock = EpochClock()
    quiet_trainer(clock, max_epochs=epochs + 2, limit_val_batches=0).fit(module, datamodule=data)
    return intervals(clock.starts)


@torch.inference_mode()
def our_evaluation(module: CollaborativeFiltering, data: CollaborativeData) -> list[float]:
    """Return HR@10 and NDCG@10 of full ranking: loader, mask, lookup, scores, ranks, metrics; no Trainer."""
    module.on_validation_epoch_start()
    for i, batch in enumerate(data.val_dataloader()):
        module.validation_step(batch, i)
    _, ranks = module.ranks["full"].compute()
    return [hit_ratio(ranks, 10).mean().item(), ndcg(ranks, 10).mean().item()]


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


# -- RecBole -----------------------------------------------------------------------------------------------------------


def write_inter(folder: Path) -> Path:
    """Write the interactions as RecBole's atomic file; its time column is their rank, so that ties go our way."""
    raw = made(BPRMF(DIM), SOURCE, 2048)[1].raw
    assert raw is not None
    assert raw.order is not None
    path = folder / SOURCE / f"{SOURCE}.inter"
    path.parent.mkdir()
    rows = sorted(zip(raw.order.tolist(), range(len(raw.users)), raw.users.tolist(), raw.items.tolist()))
    lines = [f"{u}\t{i}\t{t}\n" for t, (_, _, u, i) in enumerate(rows)]
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    return path


def recbole(o: argparse.Namespace, model: str, batch: int, epochs: int, **more: int) -> dict[str, Any]:
    """Return what rival_recbole.py wrote, given more of its options."""
    out = o.inter.parent / "times.json"
    numbers = {"batch": batch, "epochs": epochs, "threads": o.threads} | more
    command = [o.recbole, str(ROOT / "benchmarks/rival_recbole.py"), f"--inter={o.inter}", f"--model={model}"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in numbers.items()] + [f"--out={out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=None if o.verbose else subprocess.DEVNULL)
    return json.loads(out.read_text())


# -- rows --------------------------------------------------------------------------------------------------------------


def training(model: str, batch: int, target: float, o: argparse.Namespace) -> Row:
    """Return training speed, in samples/s for BPRMF and in steps/s for LightGCN."""
    ours, rival, floor = [], [], []
    for _ in range(o.repeats):
        backbone = LightGCN(DIM) if model == "LightGCN" else BPRMF(DIM)
        module, data = made(backbone, SOURCE, batch)
        users, items = data.parts[TRAIN]
        graph = backbone._adjacency if isinstance(backbone, LightGCN) else None
        work = len(users) if graph is None else -(-len(users) // batch)
        ours.append(work / our_epoch(module, data, o.epochs))
        if o.recbole:
            theirs = recbole(o, model.removesuffix("MF"), batch, o.epochs)
            assert (theirs["rows"], len(theirs["epochs"])) == (len(users), o.epochs), theirs
            rival.append(work / median(theirs["epochs"]))
        shape = (data.user_count, data.item_count)
        floor.append(work / floor_epoch(users, items, shape, graph, DIM, batch, o.epochs))
    unit = "samples/s" if graph is None else "steps/s"
    name = f"{model} training, batch {batch}"
    return Row(name, unit, ours, rival, floor, divided(ours, rival), "x RecBole", target)


def ranking(o: argparse.Namespace) -> list[Row]:
    """Return milliseconds of ranking all items for all users: our evaluation alone, and all of trainer.validate."""
    module, data = made(BPRMF(DIM), SOURCE, 2048)
    trainer = quiet_trainer()
    users, positives = data.parts[DEV]
    [batch] = data.val_dataloader()
    assert batch.seen is not None
    mask = batch.seen
    hidden, keys, bias = (module.tables[n].detach() for n in ("user", "item", "item_bias"))
    ours, whole, default, tuned, floor = [], [], [], [], []
    for _ in range(o.repeats):
        ours.append(1e3 * timed(lambda: our_evaluation(module, data), 20))
        if o.recbole:
            for rival, size in ((default, 4096), (tuned, 1 << 21)):
                rival.append(1e3 * median(recbole(o, "BPR", 2048, 1, evaluations=5, eval_batch=size)["evaluate"]))
        floor.append(1e3 * timed(lambda: floor_evaluation(hidden[users], keys, bias[:, 0], mask, positives), 20))
        whole.append(1e3 * timed(lambda: trainer.validate(module, datamodule=data, verbose=False), 5))
    return [
        Row(
            f"Full ranking, {len(users)} users, {what}", "ms", mine, rival, floor, divided(rival, mine), "x RecBole", 10
        )
        for what, mine, rival in (
            ("evaluation loop; RecBole as it comes", ours, default),
            ("trainer.validate; RecBole as it comes", whole, default),
            ("evaluation loop; RecBole in one batch", ours, tuned),
        )
    ]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--recbole", help="Python of RecBole's environment; without it RecBole is left out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5, help="timed in each repeat, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose kind holds this: training, ranking, start, search, ...")
    parser.add_argument("--verbose", action="store_true", help="show RecBole's messages")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    kinds: list[Callable[[argparse.Namespace], Row | list[Row]]] = [
        partial(training, "BPRMF", 2048, 3), partial(training, "BPRMF", 256, 2.5),
        partial(training, "LightGCN", 2048, 4), ranking, start, *(partial(search, k) for k in (200, 500, 8000)),
        partial(quantizer, LightGCN, "ml-1m", 8192, 4, 5), partial(quantizer, BPRMF, SOURCE, 2048, 24, 10),
        partial(quantizer, BPRMF, SOURCE, 256, 96, 10),
    ]  # fmt: skip
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        o.inter = write_inter(Path(folder))
        for kind in kinds:
            if o.only in (kind.func if isinstance(kind, partial) else kind).__name__:
                made_rows = kind(o)
                rows += [made_rows] if isinstance(made_rows, Row) else made_rows
                print(f"done: {rows[-1].name}", file=sys.stderr, flush=True)
    about = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": o.threads,
        "repeats": o.repeats,
    }
    content = [r._asdict() | {"times_floor": r.times_floor(), "met": r.met()} for r in rows]
    o.out.write_text(json.dumps({"about": about, "rows": content}, indent=1))
    print(table(rows, "RecBole"))


if __name__ == "__main__":
    main()
