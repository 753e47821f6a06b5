"""Speed of click-through rate on ml-100k (d=64, batch 5,000, three layers of 400) beside its products and RecBole.

    python benchmarks/clicks.py --out clicks.json --recbole PYTHON_OF_RECBOLES_ENVIRONMENT

A step is an epoch of Trainer.fit over its steps. Its floor is what its matrix products (forward and backward, counted)
take at the rate of a (5000, 400) x (400, 400) product in the same run. Also: evaluation of the dev rows, and what trees
of [1000, 10] on planted users and items add to DCN's step, which take turns with the plain one.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median

import torch
from contest import options, run
from ours import EpochClock, quiet_trainer
from rival import recbole
from timing import Row, divided, intervals, timed
from torch.utils.flop_counter import FlopCounterMode

from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.backbones.ctr.deepfm import DeepFM
from lightning_vq.backbones.ctr.fibinet import FiBiNET
from lightning_vq.backbones.ctr.finalmlp import FinalMLP
from lightning_vq.backbones.ctr.gdcn import GDCN
from lightning_vq.backbones.ctr.masknet import MaskNet
from lightning_vq.backbones.fields import FieldBackbone
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.data import ClickThroughData
from lightning_vq.modules import ClickThroughRate
from lightning_vq.quantizers import Cascaded
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.sources.schema import Schema

BATCH, HIDDEN, DIM = 5000, (400, 400, 400), 64
SIZES = (1000, 10)
BACKBONES: dict[str, Callable[[], FieldBackbone]] = {
    "DCN": partial(DCN, DIM, 3, HIDDEN),
    "DeepFM": partial(DeepFM, DIM, HIDDEN),
    "FiBiNET": partial(FiBiNET, DIM, hidden=HIDDEN),
    "FinalMLP": partial(FinalMLP, DIM, HIDDEN, HIDDEN),
    "MaskNet": partial(MaskNet, DIM, hidden=HIDDEN),
    "GDCN": partial(GDCN, DIM, hidden=HIDDEN),
}
RIVALS = ("DCN", "DeepFM")
ML_100K = ClickThroughData(
    "ml-100k", schema=Schema(categorical=["user", "item"], label="rating", label_above=3), batch_size=BATCH, seed=0
)
WORLDS = ((1100, 1700), (5000, 5000))  # users and items; ml-100k has fewer users than SIZES' first level has codes


def made(backbone: FieldBackbone, data: ClickThroughData = ML_100K) -> tuple[ClickThroughRate, ClickThroughData]:
    """Return a model and its data, built."""
    data.setup()
    module = ClickThroughRate(backbone)
    module.build(data.facts())
    return module, data


def product_rate() -> float:
    """Return multiplications and additions a second of a product as a step has them."""
    a, b = torch.randn(BATCH, HIDDEN[0]), torch.randn(HIDDEN[0], HIDDEN[1])
    return 2 * BATCH * HIDDEN[0] * HIDDEN[1] / timed(lambda: a @ b, 20)


def products(module: ClickThroughRate, data: ClickThroughData) -> float:
    """Return the multiplications and additions of a step's matrix products."""
    [batch] = next(iter(data.train_dataloader())).batches()
    with FlopCounterMode(display=False) as counted:
        torch.stack(list(module.step_losses(batch, []).values())).sum().backward()
    module.zero_grad()
    return float(counted.get_total_flops())


def epoch(module: ClickThroughRate, data: ClickThroughData, epochs: int) -> float:
    """Return the median seconds of a training step of Trainer.fit."""
    clock = EpochClock()
    quiet_trainer(clock, max_epochs=epochs + 2, limit_val_batches=0).fit(module, datamodule=data)
    return intervals(clock.starts) / len(data.train_dataloader())


@torch.inference_mode()
def evaluation(module: ClickThroughRate, data: ClickThroughData) -> None:
    """Score the dev rows, with AUC and log loss among what is measured."""
    module.eval()
    module.log_dict = lambda values: None  # type: ignore[assignment,method-assign,misc]  # no Trainer is there to take them
    module.on_validation_epoch_start()
    for i, batch in enumerate(data.val_dataloader()):
        module.validation_step(batch, i)
    module.on_validation_epoch_end()


def steps(name: str, o: argparse.Namespace) -> list[Row]:
    """Return milliseconds of a step, and of an evaluation."""
    ours, rival, floor, passes, theirs = [], [], [], [], []
    for _ in range(o.repeats):
        module, data = made(BACKBONES[name]())
        work = products(module, data)
        ours.append(1e3 * epoch(module, data, o.epochs))
        floor.append(1e3 * work / product_rate())
        passes.append(1e3 * timed(lambda m=module, d=data: evaluation(m, d), 10))  # type: ignore[misc]
        if o.recbole and name in RIVALS:
            told = recbole(o, name, BATCH, o.epochs, evaluations=5, eval_batch=20_000)
            rival.append(1e3 * median(told["epochs"]) / told["steps"])
            theirs.append(1e3 * median(told["evaluate"]))
    what = f"{name} step, batch {BATCH}, layers {list(HIDDEN)}"
    rows = [Row(f"{what}: products", "ms", ours, [], floor, divided(ours, floor), "x its products", 1.5)]
    if rival:
        rows.append(Row(what, "ms", ours, rival, floor, divided(rival, ours), "x RecBole", 1))
        rows.append(
            Row(f"{name} evaluation of dev rows", "ms", passes, theirs, [], divided(theirs, passes), "x RecBole", 3)
        )
    return rows


def trees(world: tuple[int, int], o: argparse.Namespace) -> Row:
    """Return milliseconds of DCN's step with trees on so many users and items, the floor being the plain one."""
    schema, options = Schema(categorical=["user", "item"]), PlantedOptions(*world)
    planted = ClickThroughData(schema=schema, batch_size=BATCH, seed=0, planted=options)
    runs = []
    for sizes in ((), SIZES):
        module, data = made(BACKBONES["DCN"](), planted)
        hook = QuantizationCallback({v: partial(Cascaded, codebook_sizes=sizes) for v in ("user", "item") if sizes})
        hook.attach(module)
        optimizer = module.configure_optimizers()
        batches = [batch for block in data.train_dataloader() for batch in block.batches()][:8]

        def walk(module=module, hook=hook, optimizer=optimizer, batches=batches) -> None:  # type: ignore[no-untyped-def]
            for batch in batches:
                optimizer.zero_grad()
                torch.stack(list(module.step_losses(batch, [hook]).values())).sum().backward()
                optimizer.step()

        runs.append(walk)
    ours, floor = [], []
    for _ in range(o.repeats):
        both = [[1e3 * timed(run, 1) / 8 for run in runs] for _ in range(5)]
        floor.append(median(plain for plain, _ in both))
        ours.append(median(quantized for _, quantized in both))
    share = [100 * (a / b - 1) for a, b in zip(ours, floor)]
    what = f"DCN step with {list(SIZES)} on {world[0]:,} users and {world[1]:,} items, batch {BATCH}"
    return Row(what, "ms", ours, [], floor, share, "% of DCN's step", 10)


def write_rows(folder: Path) -> Path:
    """Write ml-100k as RecBole's file of samples and return its path."""
    path = folder / "clicks" / "clicks.inter"
    path.parent.mkdir()
    data = ClickThroughData("ml-100k")
    feed, _ = data.read()
    lines = ["user_id:token\titem_id:token\tlabel:float\n"]
    for part in feed.parts(["user", "item", "rating"]):
        columns = (part.rows[name].to_pylist() for name in ("user", "item", "rating"))
        lines += [f"{user}\t{item}\t{float(float(rating) > 3):g}\n" for user, item, rating in zip(*columns)]
    path.write_text("".join(lines))
    return path


def main() -> None:
    o = options(__doc__ or "", epochs=3, only="models whose name holds this")
    names = [name for name in BACKBONES if o.only in name]
    with tempfile.TemporaryDirectory() as folder:
        o.inter = write_rows(Path(folder))
        run(chain((trees(world, o) for world in WORLDS), (steps(name, o) for name in names)), o)


if __name__ == "__main__":
    main()
